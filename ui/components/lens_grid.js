const draw = (home, value) => {
  if (!value || !Array.isArray(value.body)) return;
  home.append(make("div", "title", value.title), make("div", "note", value.note));
  const table = make("table"), head = make("thead"), body = make("tbody"), top = make("tr");
  top.append(make("th", "", value.corner));
  for (const column of value.heads) top.append(make("th", "", `${column.position} ${column.label}`));
  head.append(top);
  value.body.forEach((row, i) => {
    const line = make("tr");
    line.append(make("th", "", row.label));
    row.cells.forEach((cell, j) => {
      const place = make("td"), button = make("button", cell.is_actual ? "actual" : "", cell.text || " ");
      button.type = "button";
      button.dataset.row = i;
      button.dataset.column = j;
      button.tabIndex = i === value.body.length - 1 && j === 0 ? 0 : -1;
      const named = value.cell.replace("{layer}", row.label).replace("{position}", value.heads[j].position);
      button.title = `${named}: ${cell.text} · ${value.probability} ${(100 * cell.probability).toFixed(1)}%`;
      button.setAttribute("aria-label", button.title);
      button.style.backgroundColor = `rgba(${FOR}, ${STRONGEST * Math.sqrt(Math.min(1, cell.probability))})`;
      place.append(button);
      line.append(place);
    });
    body.append(line);
  });
  table.append(head, body);
  const scroll = make("div", "scroll");
  scroll.append(table);
  home.append(scroll);
};
const cell_of = (event) => (event.target instanceof Element ? event.target.closest("button[data-row]") : null);
element.addEventListener("click", (event) => {
  const cell = cell_of(event);
  if (!cell) return;
  const drawnValue = JSON.parse(props.value);
  const row = drawnValue.body[Number(cell.dataset.row)], head = drawnValue.heads[Number(cell.dataset.column)];
  trigger("select", { index: [row.layer, head.position] });
});
element.addEventListener("keydown", (event) => {
  const cell = cell_of(event);
  const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
  if (!cell || !step) return;
  const next = element.querySelector(
    `button[data-row="${Number(cell.dataset.row) + step[0]}"][data-column="${Number(cell.dataset.column) + step[1]}"]`);
  if (!next) return;
  event.preventDefault();
  cell.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});
draw_each_value(".ecco-lens-grid", draw);
