draw_each_value(".ecco-notice", (home, value) => {
  if (!value || !Array.isArray(value.lines)) return;
  for (const line of value.lines) {
    home.append(make("p", ["info", "busy", "warning", "error"].includes(value.kind) ? value.kind : "info", String(line)));
  }
});
