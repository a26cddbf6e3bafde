draw_each_value(".ecco-notice", (home, value) => {
  if (!value || !Array.isArray(value.lines)) return;
  if (value.kind === "check") {
    const [summary, ...details] = value.lines, chip = make("details", "ecco-check");
    chip.append(make("summary", "", String(summary)), ...details.map((line) => make("p", "info", String(line))));
    home.append(chip);
    return;
  }
  for (const line of value.lines) {
    home.append(make("p", ["info", "busy", "warning", "error"].includes(value.kind) ? value.kind : "info", String(line)));
  }
});
