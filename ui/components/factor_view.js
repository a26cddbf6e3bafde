const SVG = "http://www.w3.org/2000/svg";
let value = null, numbers = null, fills = [], viewed = 0, pinned = 0;
const at = (factor, position) => numbers[factor * value.width + position];
const safe_colour = (colour) => (/^#[0-9a-f]{6}$/.test(colour) ? colour : "#888888");
const tint = (colour, x) => {
  const channels = [1, 3, 5].map((i) => parseInt(safe_colour(colour).slice(i, i + 2), 16));
  const most = document.body.classList.contains("dark") ? 0.75 * STRONGEST : STRONGEST;  // white letters stay readable
  return x > 0 ? `rgba(${channels.join(", ")}, ${most * Math.min(1, x)})` : "transparent";
};
const view = (factor) => {
  viewed = factor;
  fills.forEach((fill, position) => { fill.style.backgroundColor = tint(value.factors[factor].colour, at(factor, position)); });
  for (const row of element.querySelectorAll(".row")) {
    const number = Number(row.dataset.factor);
    row.classList.toggle("pinned", number === pinned);
    row.setAttribute("aria-pressed", String(number === pinned));
    row.tabIndex = number === viewed ? 0 : -1;
  }
  say(value.factors[factor].reading);
};
const name_factors = (position) => {
  const strengths = value.factors.map((factor, number) => [at(number, position), factor.label]);
  const token = fill_in(value.words.quoted, { text: value.names[position] });
  if (Number.isNaN(strengths[0][0])) return fill_in(value.words.left_out, { token, position });
  const named = strengths.filter(([x]) => x >= 0.05).sort((a, b) => b[0] - a[0]).slice(0, 4);
  const factors = named.map(([x, label]) => `${label} ${(100 * x).toFixed(0)}%`).join(", ") || "–";
  return fill_in(value.words.token, { token, position, factors });
};
const sparkline = (factor) => {
  const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", `0 0 ${value.width} 1`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  let line = "M0 1";
  for (let i = 0; i < value.width; i++) {
    const height = (1 - (at(factor, i) || 0)).toFixed(4);
    line += `L${i} ${height}L${i + 1} ${height}`;
  }
  path.setAttribute("d", `${line}L${value.width} 1Z`);
  path.setAttribute("fill", safe_colour(value.factors[factor].colour));
  svg.append(path);
  return svg;
};
const draw_ghost = () => {
  const ghost = make("div", "ghost");
  for (const [colour, heights] of [["#e6761b", [0, 3, 0, 9, 4, 0, 0, 7, 0, 2, 10, 0]], ["#3b82f6", [8, 0, 2, 0, 0, 6, 9, 0, 0, 5, 0, 1]]]) {
    const row = make("div");
    for (const height of heights) {
      const bar = make("i");
      bar.style.height = `${10 * height}%`;
      bar.style.backgroundColor = colour;
      row.append(bar);
    }
    ghost.append(row);
  }
  return ghost;
};
const draw = (home, given) => {
  value = given;
  fills = [];
  if (!value || !Array.isArray(value.factors)) {
    if (value && value.empty) draw_empty(home, value, draw_ghost());
    return;
  }
  numbers = unpack(value.matrix);
  const heads = make("div", "heads");
  heads.append(make("span", ""), make("span", ""), make("span", "", value.words.shares));
  const rows = make("div", "rows"), side = make("div", "side");
  rows.append(heads);
  value.factors.forEach((factor, number) => {
    const row = make("button", "row"), label = make("span", ""), dot = make("span", "dot"), shares = make("span", "shares");
    row.type = "button";
    row.dataset.factor = number;
    row.setAttribute("aria-label", factor.reading);
    dot.style.backgroundColor = safe_colour(factor.colour);
    label.append(dot, make("b", "", String(number + 1)), make("span", "named", factor.named));
    label.title = factor.reading;
    const largest = Math.max(...factor.shares, 1e-9);
    for (const share of factor.shares) {
      const bar = make("i");
      bar.style.height = `${(100 * share) / largest}%`;
      bar.style.backgroundColor = safe_colour(factor.colour);
      bar.title = `${(100 * share).toFixed(1)}%`;
      shares.append(bar);
    }
    row.append(label, sparkline(number), shares);
    rows.append(row);
  });
  const text = make("div", "text");
  text.tabIndex = 0;  // a long one is scrolled by keyboard
  for (const drawn of value.glyphs) {
    const glyph = make("span", `glyph${drawn.special ? " special" : ""}`), under = make("span", "fills");
    for (const position of drawn.parts) {
      const fill = make("span", "fill");
      fill.dataset.position = position;
      fills[position] = fill;
      under.append(fill);
    }
    glyph.append(under, show_text(drawn));
    text.append(glyph);
    for (let i = 0; i < drawn.breaks; i++) text.append(document.createElement("br"));
  }
  const reading = make("div", "reading", "");
  reading.setAttribute("aria-live", "polite");
  side.append(text, reading);
  home.append(rows, side, make("div", "help", value.words.help));
  pinned = window.eccolens.factor = value.pinned || 0;
  view(pinned);
};
const row_of = (event) => (event.target instanceof Element ? event.target.closest(".row") : null);
const look = (event) => {
  if (!value || !numbers) return;
  const row = row_of(event);
  if (row) view(Number(row.dataset.factor));
  const part = event.target instanceof Element ? event.target.closest("[data-position]") : null;
  if (part) say(name_factors(Number(part.dataset.position)));
};
element.addEventListener("mouseover", look);
element.addEventListener("focusin", look);
element.addEventListener("mouseleave", () => { if (value && numbers) view(pinned); });
element.addEventListener("click", (event) => {
  const row = row_of(event);
  if (!row) { look(event); return; }
  pinned = Number(row.dataset.factor);
  view(pinned);
  window.eccolens.pin_factor(pinned);
  trigger("select", { index: pinned });
});
element.addEventListener("keydown", (event) => {
  const row = row_of(event);
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!row || !step) return;
  const next = element.querySelector(`.row[data-factor="${Number(row.dataset.factor) + step}"]`);
  if (!next) return;
  event.preventDefault();
  next.focus();
});
draw_each_value(".ecco-factor-view", draw);
