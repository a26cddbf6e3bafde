const LAST = 12, WORD = /[\p{L}\p{N}]/u;
const shows = { all: false, faded: true };
const step_of = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [-1, 0], ArrowUp: [1, 0] };
const cell_of = (event) => (event.target instanceof Element ? event.target.closest("button[data-row]") : null);
const place = (row, column) => element.querySelector(`button[data-row="${row}"][data-column="${column}"]`);
const draw_cell = (value, row, i, j) => {
  const cell = row.cells[j], box = make("td");
  if (!cell) return box;
  const button = make("button", cell.is_actual ? "actual" : "", ""), shown = Math.round(100 * cell.probability);
  button.append(make("span", WORD.test(cell.text) ? "" : "sign", cell.text || " "), make("small", "", shown ? String(shown) : ""));
  button.type = "button";
  button.dataset.row = i;
  button.dataset.column = j;
  button.tabIndex = -1;
  const named = value.cell.replace("{layer}", row.label).replace("{position}", value.heads[j].position);
  button.title = `${named}: ${cell.text} · ${value.probability} ${(100 * cell.probability).toFixed(1)}%`;
  button.setAttribute("aria-label", button.title);
  button.style.backgroundColor = `rgba(${FOR}, ${STRONGEST * Math.sqrt(Math.min(1, cell.probability))})`;
  box.append(button);
  return box;
};
const draw_switch = (text, is_on, does) => {
  const made = make("button", "switch", text);
  made.type = "button";
  made.setAttribute("aria-pressed", String(is_on));
  made.addEventListener("click", () => { does(); redraw(); });
  return made;
};
// The last layer on top: that is where the answer is. At first no more layers than fit beside the text.
const draw = (home, value) => {
  if (!value || !Array.isArray(value.body)) return;
  const is_read = value.body[0].cells.length > 0, bar = make("div", "bar");
  bar.append(make("span", "title", value.title));
  if (value.body.length > LAST) {
    bar.append(draw_switch(fill_in(value.last, { n: LAST }), !shows.all, () => { shows.all = false; }));
    bar.append(draw_switch(value.all, shows.all, () => { shows.all = true; }));
  }
  bar.append(draw_switch(value.words, shows.faded, () => { shows.faded = !shows.faded; }));
  const table = make("table", shows.faded ? "faded" : ""), head = make("thead"), body = make("tbody"), top = make("tr");
  top.append(make("th", "", value.corner));
  for (const column of value.heads) {
    top.append(make("th", column.position === value.around ? "around" : "", `${column.position} ${column.label}`));
  }
  head.append(top);
  const from = shows.all ? 0 : Math.max(0, value.body.length - LAST);
  for (let i = value.body.length - 1; i >= from; i--) {
    const line = make("tr");
    line.append(make("th", "", value.body[i].label));
    value.heads.forEach((_, j) => line.append(draw_cell(value, value.body[i], i, j)));
    body.append(line);
  }
  table.append(head, body);
  table.setAttribute("aria-busy", String(!is_read));
  const scroll = make("div", "scroll");
  scroll.append(table);
  home.append(bar, scroll, make("div", "note", is_read ? value.note : value.reading));
  const first = table.querySelector("button[data-row]");
  if (first) first.tabIndex = 0;
  const looked_at = table.querySelector("th.around");
  if (looked_at) scroll.scrollLeft = looked_at.offsetLeft + looked_at.offsetWidth - scroll.clientWidth;
};
const redraw = () => {
  const home = element.querySelector(".ecco-lens-grid");
  home.replaceChildren();
  draw(home, JSON.parse(props.value));
};
element.addEventListener("click", (event) => {
  const cell = cell_of(event);
  if (!cell) return;
  const drawnValue = JSON.parse(props.value);
  const row = drawnValue.body[Number(cell.dataset.row)], head = drawnValue.heads[Number(cell.dataset.column)];
  trigger("select", { index: [row.layer, head.position] });
});
element.addEventListener("keydown", (event) => {
  const cell = cell_of(event), step = step_of[event.key];
  if (!cell || !step) return;
  event.preventDefault();
  const next = place(Number(cell.dataset.row) + step[0], Number(cell.dataset.column) + step[1]);
  if (!next) return;
  cell.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});
draw_each_value(".ecco-lens-grid", draw);
