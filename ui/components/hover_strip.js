const FLAT = 1.5;  // a map whose largest number is below so many times the mean points at nothing
const MANY = 150;  // tokens, from which on they are written smaller
let value = null, rows = new Map(), seen = new Map(), numbers = null, hidden = null;
let glyphs = [], fills = [], viewed = null, pinned = null, top_of_map = 1, is_fixed = false;

// Colour goes up to the largest number of the map that is viewed; for comparing maps, or where the colours stay, its
// strength is the square root of the share, fixed from 0 to 100 %.
const has_fixed_scale = () => is_fixed || value.is_compared || is_reading();
const strength = (x) => (has_fixed_scale() ? Math.sqrt(Math.min(1, Math.abs(x))) : Math.min(1, Math.abs(x) / top_of_map));
const colour = (x) => (x === 0 ? "transparent" : `rgba(${x > 0 ? FOR : AGAINST}, ${STRONGEST * strength(x)})`);
const percent = (x) => `${(100 * x).toFixed(Math.abs(x) < 0.1 ? 1 : 0)}%`;
const figure = (x) => (value.is_percent ? percent(x) : String(Number(x.toPrecision(3))));
const is_reading = () => value.readings !== undefined;  // fixed colours and a line per token, no matrix
const cell = (position) => {
  if (is_reading()) return value.fills[position] || 0;
  const row = rows.get(viewed);
  return row === undefined || position >= value.width ? 0 : numbers[row * value.width + position];
};

const minus = (text) => text.replace("-", "−");
const total_of = (parts) => parts.reduce((sum, position) => sum + cell(position), 0);
const tell = (x) => minus(value.is_share ? String(Math.round(100 * x)) : (x * value.scale).toPrecision(2));

const paint = () => {
  const whole = is_reading() || !value.is_joined;  // else the tokens of a glyph have one number between them
  const sizes = whole ? fills.map((_, position) => cell(position)) : glyphs.map(({ parts }) => total_of(parts));
  top_of_map = Math.max(0, ...sizes.map((x) => Math.abs(x || 0))) || 1;
  for (const { parts, number } of glyphs) {
    const total = total_of(parts);
    for (const position of parts) fills[position].style.backgroundColor = colour(whole ? cell(position) : total);
    if (is_reading()) continue;
    const own = parts.includes(viewed) && rows.get(viewed);
    if (own !== false && own !== undefined) number.textContent = figure(value.values[own]);
    else number.textContent = Math.abs(total) >= 0.005 && is_seen(parts[0]) ? tell(total) : "";
  }
  draw_legend();
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
const name_of = (position) => fill_in(value.words.quoted, { text: value.names[position] });
// What the map of the viewed token says: the word that most of it comes from, or that none stands out.
const read_output = () => {
  if (is_reading()) return value.readings[viewed] || "";
  const row = rows.get(viewed);
  if (row === undefined) return "";
  const values = { token: name_of(viewed), position: viewed, target: value.words.target, value: figure(value.values[row]) };
  const places = [...seen.get(viewed)], totals = new Map();
  for (const position of places) totals.set(value.word_of[position], (totals.get(value.word_of[position]) || 0) + cell(position));
  const [word, most] = [...totals].reduce((best, one) => (one[1] > best[1] ? one : best), [null, 0]);
  if (word === null) return fill_in(value.words.output, values);
  const sizes = places.map((position) => Math.abs(cell(position)));
  const largest = Math.max(...sizes), mean = sizes.reduce((a, b) => a + b, 0) / sizes.length;
  const size = (x) => (value.is_share ? percent(x) : tell(x));
  if (sizes.length > 2 && totals.size > 1 && largest < FLAT * mean) return fill_in(value.words.flat, { ...values, most: size(largest) });
  return fill_in(value.words.finding, { ...values, word: value.word_names[word], share: size(most) });
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
  // The address names the token of the first model, also where one of the second's is chosen.
  const first = value.pins ? value.pins[rows.get(position)] : position;
  if (first !== null) window.eccolens.pin(first);
  view(position);
  trigger("select", { index: position });
};

const draw_legend = () => {
  const legend = element.querySelector(".legend");
  if (!legend) return;
  if (is_reading()) {
    if (legend.childNodes.length || !value.legend.length) return;
    const swatches = make("span", "swatches");
    for (const { label, fill } of value.legend) {
      const swatch = make("span", "swatch", label);
      swatch.style.backgroundColor = colour(fill);
      swatches.append(swatch);
    }
    legend.append(swatches, make("span", "", value.words.legend));
    return;
  }
  const most = has_fixed_scale() ? 1 : top_of_map;
  const figure_of = (x) => (value.is_share ? `${Math.round(100 * x)} %` : minus(String(Number((x * value.scale).toPrecision(2)))));
  const steps = [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1].filter((step) => value.is_signed || step >= 0);
  const ramp = make("span", "ramp");
  const fine = Array.from({ length: 33 }, (_, i) => (value.is_signed ? (i - 16) / 16 : i / 32));
  ramp.dataset.ramp = JSON.stringify(fine.map((step) => colour(step * most)));  // for a picture of it
  ramp.style.background = `linear-gradient(to right, ${steps.map((step) => colour(step * most)).join(", ")})`;
  const ends = value.is_signed
    ? [`${value.words.against} ${figure_of(most)}`, `${figure_of(most)} ${value.words.for}`]
    : ["0", figure_of(most)];
  const button = make("button", "", value.words.fixed);
  button.type = "button";
  button.setAttribute("aria-pressed", String(is_fixed));
  button.addEventListener("click", () => { is_fixed = !is_fixed; paint(); });
  const is_at_it = legend.contains(document.activeElement);
  legend.replaceChildren(make("span", "", ends[0]), ramp, make("span", "", ends[1]), make("span", "", value.words.legend));
  if (value.is_share && !value.is_compared) legend.append(button);
  if (is_at_it) button.focus();
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
  const text = make("div", value.names.length > MANY ? "text dense" : "text");
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", value.words.label);
  for (const drawn of value.glyphs) {
    if (drawn.side) text.append(make("div", "side", drawn.side));
    if (drawn.arrow) {
      const arrow = make("span", "arrow", "»");
      arrow.setAttribute("aria-hidden", "true");
      text.append(arrow);
    }
    const glyph = make("span", ["glyph", ...["starts", "joined", "special", "written"].filter((name) => drawn[name])].join(" "));
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
    glyph.append(under, show_text(drawn));
    if (!is_reading()) glyph.append(number);
    if (over.childNodes.length) glyph.append(over);
    text.append(glyph);
    if (drawn.breaks) text.append(make("span", "break"));
    glyphs.push({ parts: drawn.parts, number });
  }
  home.append(text);
  const reading = make("div", "reading", "");
  reading.setAttribute("aria-live", "polite");
  home.append(reading);
  home.append(make("div", "legend"), make("div", "help", value.words.help));
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
  if (event.key === "Escape" && value && numbers && pinned !== null) view(pinned);
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
