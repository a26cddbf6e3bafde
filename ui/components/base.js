const FOR = "234, 88, 12", AGAINST = "37, 99, 235", STRONGEST = 0.76;
const make = (tag, name, text) => {
  const part = document.createElement(tag);
  if (name) part.className = name;
  if (text !== undefined) part.textContent = text;
  return part;
};
// float32, little-endian, in base64
const unpack = (packed) => {
  if (typeof packed !== "string") return null;
  const raw = atob(packed), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Float32Array(bytes.buffer);
};
const fill_in = (template, values) => template.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
const say = (text) => {
  const reading = element.querySelector(".reading");
  if (reading) reading.textContent = text;
};
// The characters of a glyph, its leading white space fainter; `gap` is a space that the distance to the one before shows.
const show_text = (drawn) => {
  const shown = make("span", "shown");
  const lead = drawn.special ? 0 : drawn.text.length - drawn.text.replace(/^[␣↵⇥⍽□]+/, "").length;
  if (lead) shown.append(make("span", drawn.gap ? "space gap" : "space", drawn.text.slice(0, lead)));
  shown.append(document.createTextNode(drawn.text.slice(lead)));
  return shown;
};
// Before the first run: what will stand here, in outline.
const draw_empty = (home, value, ghost) => {
  const empty = make("div", "empty");
  ghost.setAttribute("aria-hidden", "true");
  empty.append(make("b", "", value.empty), ghost, make("p", "", value.how || ""));
  home.append(empty);
};
// Has `draw(home, value)` called with each value; a value that is null clears the component.
const draw_each_value = (selector, draw) => {
  let drawn;
  const redraw = () => {
    drawn = props.value;
    const home = element.querySelector(selector);
    if (!home) return;
    home.replaceChildren();
    const given = drawn ? JSON.parse(drawn) : null;
    home.given = given && !given.empty ? drawn : null;  // for whoever takes it home
    draw(home, given);
  };
  watch("value", redraw);
  redraw();
  // When two values come within one tick, `watch` can miss the second: look again now and then.
  const looking = setInterval(() => {
    if (!element.isConnected) clearInterval(looking);
    else if (props.value !== drawn) redraw();
  }, 250);
};
