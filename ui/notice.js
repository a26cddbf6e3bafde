const draw = () => {
  const home = element.querySelector(".ecco-notice");
  if (!home) return;
  home.replaceChildren();
  const value = props.value ? JSON.parse(props.value) : null;
  if (!value || !Array.isArray(value.lines)) return;
  for (const line of value.lines) {
    const paragraph = document.createElement("p");
    paragraph.className = ["info", "busy", "warning", "error"].includes(value.kind) ? value.kind : "info";
    paragraph.textContent = String(line);
    home.append(paragraph);
  }
};
let drawn;
const redraw = () => {
  drawn = props.value;
  draw();
};
watch("value", redraw);
redraw();
// When two values come within one tick, `watch` can miss the second: look again now and then.
const looking = setInterval(() => {
  if (!element.isConnected) clearInterval(looking);
  else if (props.value !== drawn) redraw();
}, 250);
