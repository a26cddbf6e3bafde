const SETTLE = 400;  // milliseconds in which what an example fills in has reached every setting
const page = window.eccolens;
let tab = null, is_pending = false;
const mark = () => {
  const stage = element.closest(".stage"), shown = page.shown[tab];
  if (!stage || !shown) return;
  const has_moved = shown.id in page.asked && page.asked[shown.id] !== page.now[tab];
  stage.classList.toggle("pending", is_pending);
  stage.classList.toggle("moved", has_moved && !is_pending);
};
// Which settings a question was asked with: those of now, of a moment later, and what comes before the visitor does anything:
// on a busy machine it takes long until what an example fills in has reached every setting.
const note = (id) => {
  page.asked[id] = page.now[tab];
  page.asked_at[id] = performance.now();
  setTimeout(() => { page.asked[id] = page.now[tab]; mark(); }, SETTLE);
};
draw_each_value(".ecco-heading", (home, value) => {
  if (!value || typeof value.id !== "string") return;
  tab = value.tab;
  const is_begun = value.line === null, is_known = value.id in page.asked;
  if (is_begun ? !value.is_over : !is_known) note(value.id);
  if (!is_begun) {
    page.shown[tab] = value;
    if (value.link) page.show_link(tab, value.link, value.pin);
    window.dispatchEvent(new Event("eccolens-shown"));
  }
  const shown = page.shown[tab];
  if (is_begun && tab === "neuron-factors" && shown && shown.id !== value.id && !page.is_opening) page.factor = 0;
  is_pending = is_begun && !value.is_over && shown !== undefined && shown.id !== value.id;
  if (shown) home.append(make("p", "of", shown.line), make("p", "stale", shown.moved));
  mark();
});
const hear = () => {
  const id = page.shown[tab]?.id;
  if (id in page.asked_at && page.touched < page.asked_at[id]) page.asked[id] = page.now[tab];
  if (element.isConnected) mark();
  else window.removeEventListener("eccolens-settings", hear);
};
window.addEventListener("eccolens-settings", hear);
