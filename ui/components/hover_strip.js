let value = null, rows = new Map(), seen = new Map(), numbers = null, hidden = null;
let glyphs = [], fills = [], viewed = null, pinned = null;

// The strength of a colour is the square root of the share: fixed from 0 to 100 %, the same for every text.
const colour = (x) => (x === 0 ? "transparent" : `rgba(${x > 0 ? FOR : AGAINST}, ${STRONGEST * Math.sqrt(Math.min(1, Math.abs(x)))})`);
const percent = (x) => `${(100 * x).toFixed(Math.abs(x) < 0.1 ? 1 : 0)}%`;
const figure = (x) => (value.is_percent ? percent(x) : String(Number(x.toPrecision(3))));
const is_reading = () => value.readings !== undefined;  // fixed colours and a line per token, no matrix
const cell = (position) => {
  if (is_reading()) return value.fills[position] || 0;
  const row = rows.get(viewed);
  return row === undefined || position >= value.width ? 0 : numbers[row * value.width + position];
};

const minus = (text) => text.replace("-", "−");
// A number that would run into the one before it stands a line lower; where there is no room either, it waits to be hovered.
const make_room = () => {
  const shown = glyphs.filter(({ number }) => number.textContent);
  for (const { number } of shown) number.className = "number";
  const boxes = shown.map(({ number }) => number.getBoundingClientRect());
  const ends = [-Infinity, -Infinity];
  let line = null;
  shown.forEach(({ number }, i) => {
    const box = boxes[i];
    if (line === null || Math.abs(box.top - line) > 4) { line = box.top; ends.fill(-Infinity); }
    const level = ends.findIndex((end) => box.left > end + 1);
    if (level < 0) number.textContent = "";
    else { ends[level] = box.right; if (level) number.classList.add("lower"); }
  });
};

const paint = () => {
  for (const { parts, number } of glyphs) {
    let total = 0;
    for (const position of parts) {
      const x = cell(position);
      total += x;
      fills[position].style.backgroundColor = colour(x);
    }
    if (is_reading()) continue;
    const big = Math.abs(total) >= 0.005 && is_seen(parts[0]);
    number.textContent = !big ? "" : minus(value.is_share ? String(Math.round(100 * total)) : (total * value.scale).toPrecision(2));
  }
  if (!is_reading()) make_room();
  for (const button of element.querySelectorAll(".output")) {
    const position = Number(button.dataset.position);
    button.classList.toggle("viewed", position === viewed);
    button.classList.toggle("pinned", position === pinned);
    button.setAttribute("aria-pressed", String(position === pinned));
    button.tabIndex = position === viewed ? 0 : -1;
  }
};
// Whether the viewed token rests on this one: on those before it, or (masked) on all that is not hidden.
const is_seen = (position) => !is_reading() && viewed !== null && seen.has(viewed) && seen.get(viewed).has(position);
const name_of = (position) => `“${value.names[position]}”`;
const read_output = () => {
  if (is_reading()) return value.readings[viewed] || "";
  const row = rows.get(viewed);
  if (row === undefined) return "";
  return fill_in(value.words.output, { token: name_of(viewed), position: viewed, target: value.words.target, value: figure(value.values[row]) });
};
const read_input = (position) => {
  const row = rows.get(viewed), x = cell(position);
  const line = value.is_share
    ? fill_in(value.words.share, { token: name_of(position), position, share: percent(Math.abs(x)) })
    : fill_in(value.words.score, { token: name_of(position), position, score: String(Number((x * value.scale).toPrecision(3))) });
  if (!hidden) return line;
  const effect = { target: value.words.target, before: figure(value.values[row]), after: figure(hidden[row * value.width + position]) };
  return `${line} · ${fill_in(value.words.hidden, effect)}`;
};
const view = (position) => {
  if (!rows.has(position)) return;
  viewed = position;
  paint();
  say(read_output());
};
const pin = (position) => {
  if (!rows.has(position)) return;
  pinned = position;
  view(position);
  trigger("select", { index: position });
};

const draw_legend = (home) => {
  const legend = make("div", "legend");
  const swatches = make("span", "swatches");
  if (is_reading()) {
    if (!value.legend.length) return;
    for (const { label, fill } of value.legend) {
      const swatch = make("span", "swatch", label);
      swatch.style.backgroundColor = colour(fill);
      swatches.append(swatch);
    }
    legend.append(swatches, make("span", "", value.words.legend));
    home.append(legend);
    return;
  }
  const marks = value.is_signed ? [-1, -0.3, -0.1, 0, 0.1, 0.3, 1] : [0, 0.1, 0.3, 1];
  for (const mark of marks) {
    const swatch = make("span", "swatch", value.is_share ? `${Math.round(100 * Math.abs(mark))}%` : String(Number((mark * value.scale).toPrecision(2))));
    swatch.style.backgroundColor = colour(mark);
    swatches.append(swatch);
  }
  if (value.is_signed) legend.append(make("span", "", `◀ ${value.words.against}`));
  legend.append(swatches);
  if (value.is_signed) legend.append(make("span", "", `${value.words.for} ▶`));
  legend.append(make("span", "", value.words.legend));
  home.append(legend);
};

const GHOST = [[56, 0.3], [70, 0.5], [24, 0], [74, 0.05], [26, 0], [34, 0], [40, 0.25], [26, 0.08], [80, 0]];
const draw_ghost = () => {
  const ghost = make("div", "ghost");
  for (const [width, strength] of GHOST) {
    const word = make("i");
    word.style.width = `${width}px`;
    if (strength) word.style.backgroundColor = `rgba(${FOR}, ${strength})`;
    ghost.append(word);
  }
  return ghost;
};
const draw = (home, given) => {
  value = given;
  glyphs = []; fills = []; rows = new Map();
  if (!value || !Array.isArray(value.glyphs)) {
    if (value && value.empty) draw_empty(home, value, draw_ghost());
    return;
  }
  numbers = is_reading() ? new Float32Array(0) : unpack(value.matrix);
  hidden = unpack(value.hidden);
  value.explained.forEach((position, row) => rows.set(position, row));
  seen = new Map(is_reading() ? [] : value.explained.map((position, row) => [position, new Set(value.seen[row])]));
  const text = make("div", "text");
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", value.words.label);
  for (const drawn of value.glyphs) {
    if (drawn.side) text.append(make("div", "side", drawn.side));
    const glyph = make("span", `glyph${drawn.starts ? " starts" : ""}${drawn.special ? " special" : ""}`);
    const under = make("span", "fills"), over = make("span", "outputs");
    for (const position of drawn.parts) {
      const fill = make("span", "fill");
      fill.dataset.position = position;
      fills[position] = fill;
      under.append(fill);
      if (rows.has(position)) {
        const button = make("button", "output");
        button.type = "button";
        button.dataset.position = position;
        button.setAttribute("aria-label", is_reading() ? value.readings[position] : fill_in(value.words.output, {
          token: name_of(position), position, target: value.words.target, value: figure(value.values[rows.get(position)]),
        }));
        over.append(button);
      }
    }
    const number = make("span", "number", "");
    number.setAttribute("aria-hidden", "true");
    glyph.append(under, show_text(drawn), number);
    if (over.childNodes.length) glyph.append(over);
    text.append(glyph);
    for (let i = 0; i < drawn.breaks; i++) text.append(document.createElement("br"));
    glyphs.push({ parts: drawn.parts, number });
  }
  home.append(text);
  const reading = make("div", "reading", "");
  reading.setAttribute("aria-live", "polite");
  home.append(reading);
  draw_legend(home);
  home.append(make("div", "help", value.words.help));
  // A value that pins nothing brings more tokens of the same run: what is pinned stays.
  if (value.pinned !== null) pinned = rows.has(value.pinned) ? value.pinned : null;
  else if (!rows.has(pinned)) pinned = null;
  view(pinned === null ? value.explained[0] : pinned);
};

const part_at = (event) => {
  const target = event.target;
  if (!(target instanceof Element)) return null;
  const part = target.closest("[data-position]");
  return part && element.contains(part) ? Number(part.dataset.position) : null;
};
element.addEventListener("mouseover", (event) => {
  if (!value || !numbers) return;
  const position = part_at(event);
  if (position === null) return;
  if (rows.has(position)) view(position);
  else if (is_seen(position)) say(read_input(position));
});
element.addEventListener("mouseleave", () => { if (value && numbers && pinned !== null) view(pinned); });
element.addEventListener("focusin", (event) => {
  const position = part_at(event);
  if (position !== null && rows.has(position) && position !== viewed) view(position);
});
element.addEventListener("click", (event) => {
  const position = part_at(event);
  if (position === null || !value || !numbers) return;
  if (rows.has(position)) pin(position);
  else if (is_seen(position)) say(read_input(position));
});
element.addEventListener("keydown", (event) => {
  const position = part_at(event);
  if (position === null || !rows.has(position)) return;
  const order = value.explained, here = order.indexOf(position);
  const there = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: order.length - 1 }[event.key];
  if (there === undefined || there < 0 || there >= order.length) return;
  event.preventDefault();
  view(order[there]);
  const next = element.querySelector(`.output[data-position="${order[there]}"]`);
  if (next) next.focus();
});
draw_each_value(".ecco-hover-strip", draw);
