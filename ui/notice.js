const draw = () => {
  const home = element.querySelector(".ecco-notice");
  if (!home) return;
  home.replaceChildren();
  const value = props.value;
  if (!value || !Array.isArray(value.lines)) return;
  for (const line of value.lines) {
    const paragraph = document.createElement("p");
    paragraph.className = ["info", "busy", "warning", "error"].includes(value.kind) ? value.kind : "info";
    paragraph.textContent = String(line);
    home.append(paragraph);
  }
};
watch("value", draw);
draw();
