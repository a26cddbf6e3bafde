const SVG = "http://www.w3.org/2000/svg", INK = "#1f2328", MUTED = "#57606a";
const FONT = "system-ui, 'Noto Sans', 'Noto Sans CJK JP', sans-serif";
const DRAWN = ".ecco-hover-strip, .ecco-factor-view, .ecco-lens-grid";
const page = window.eccolens;
const part = (tag, attributes, text) => {
  const made = document.createElementNS(SVG, tag);
  for (const [name, given] of Object.entries(attributes)) made.setAttribute(name, String(given));
  if (text !== undefined) made.textContent = text;
  return made;
};
const stage = () => element.closest(".apart, .stage");
const is_seen = (node) => node.getClientRects().length > 0;
const seen_of = (selector) => [...stage().querySelectorAll(selector)].filter((node) => is_seen(node));
// What stands on the stage: the texts that scripts of ours draw, and the charts.
const seen_texts = () => seen_of(DRAWN).filter((node) => node.given);
const seen_charts = () => seen_of(".vega-embed svg.marks");

// What is drawn from boxes of the page, as SVG: data colours stand in the boxes' own style, everything else is ink on white.
const SKIPPED = ".outputs, .help, .legend button, .empty, .title, .note";
// Boxes are as they are without the page's enlargement: the sizes of letters are given so too.
const box_in = (zoom) => (node) => {
  const { x, y, width, height } = node.getBoundingClientRect();
  return new DOMRect(x / zoom, y / zoom, width / zoom, height / zoom);
};
const draw_boxes = (node) => {
  const box_of = box_in(node.currentCSSZoom || 1), origin = box_of(node), drawn = part("g", {});
  const width = Math.max(node.scrollWidth, origin.width), height = Math.max(node.scrollHeight, origin.height);
  const write = (text, box, style, opacity) => {
    const written = part("text", {
      x: box.left - origin.left, y: box.top - origin.top + box.height / 2, "dominant-baseline": "central", fill: INK, "fill-opacity": opacity,
      "font-size": style.fontSize, "font-weight": style.fontWeight, textLength: box.width, lengthAdjust: "spacingAndGlyphs",
    }, text);
    written.setAttribute("style", "white-space: pre");
    drawn.append(written);
  };
  const walk = (parent, seen) => {
    const style = getComputedStyle(parent);
    for (const child of parent.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) {
        for (const run of child.data.matchAll(/\S+/g)) {
          const range = document.createRange();
          range.setStart(child, run.index);
          range.setEnd(child, run.index + run[0].length);
          const box = box_of(range);
          if (box.width) write(run[0], box, style, seen);
        }
        continue;
      }
      if (!(child instanceof Element) || child.matches(SKIPPED)) continue;
      const its = getComputedStyle(child), opacity = seen * Number(its.opacity);
      if (its.display === "none" || its.visibility === "hidden" || !opacity) continue;
      const box = box_of(child), x = box.left - origin.left, y = box.top - origin.top;
      if (child instanceof SVGElement) {
        const copy = child.cloneNode(true);
        for (const [name, given] of Object.entries({ x, y, width: box.width, height: box.height })) copy.setAttribute(name, given);
        drawn.append(copy);
        continue;
      }
      const size = { x, y, width: box.width, height: box.height, rx: Math.min(7, parseFloat(its.borderTopLeftRadius) || 0) };
      const colour = child.style.backgroundColor;
      if (colour && colour !== "transparent") drawn.append(part("rect", { ...size, fill: colour }));
      if (child.dataset.ramp) {
        const steps = JSON.parse(child.dataset.ramp), wide = box.width / steps.length;
        steps.forEach((fill, i) => drawn.append(part("rect", { x: x + i * wide, y, width: wide, height: box.height, fill })));
        drawn.append(part("rect", { ...size, fill: "none", stroke: MUTED, "stroke-width": 0.5 }));
      }
      if (child.matches(".written, .special .shown, .actual")) {
        const edge = child.matches(".written, .actual") ? 2 : 1;
        drawn.append(part("rect", { ...size, fill: "none", stroke: INK, "stroke-width": edge }));
      }
      if (child.matches(".joined")) {
        drawn.append(part("line", { x1: x, x2: x, y1: y, y2: y + box.height, stroke: MUTED, "stroke-dasharray": "3 2" }));
      }
      walk(child, opacity);
    }
  };
  walk(node, 1);
  return { drawn, width, height };
};
const draw_chart = (svg) => {
  const copy = svg.cloneNode(true), box = box_in(svg.currentCSSZoom || 1)(svg);
  copy.setAttribute("color", INK);
  copy.setAttribute("style", `color: ${INK}`);
  const width = Number(svg.getAttribute("width")) || box.width, height = Number(svg.getAttribute("height")) || box.height;
  const inner = part("g", {});
  inner.append(copy);
  return { drawn: inner, width, height };
};
const wrap = (text, size, most) => {
  const pen = document.createElement("canvas").getContext("2d"), lines = [];
  pen.font = `${size}px ${FONT}`;
  let line = "";
  for (const piece of text.match(/\S+\s*|\s+/g) || []) {
    for (const bit of pen.measureText(piece).width > most ? [...piece] : [piece]) {
      if (line && pen.measureText(line + bit).width > most) { lines.push(line); line = ""; }
      line += bit;
    }
  }
  return line ? [...lines, line] : lines;
};
// A picture that explains itself: title above, what it is of beneath, on white.
const captioned = ({ drawn, width, height }, value) => {
  const EDGE = 16, whole = Math.ceil(Math.max(width, 420)) + 2 * EDGE, svg = part("svg", { xmlns: SVG, "font-family": FONT });
  const white = part("rect", { width: "100%", height: "100%", fill: "white" });
  svg.append(white);
  let y = EDGE;
  const write = (text, size, fill, weight) => {
    for (const line of wrap(text, size, whole - 2 * EDGE)) {
      svg.append(part("text", { x: EDGE, y: y + size, "font-size": size, fill, "font-weight": weight }, line));
      y += 1.4 * size;
    }
  };
  write(value.title, 16, INK, 600);
  y += 8;
  const moved = part("g", { transform: `translate(${EDGE} ${y})` });
  moved.append(drawn);
  svg.append(moved);
  y += height + 10;
  for (const line of value.caption) write(line, 12, MUTED, 400);
  const total = Math.ceil(y + EDGE);
  for (const [name, given] of Object.entries({ width: whole, height: total, viewBox: `0 0 ${whole} ${total}` })) svg.setAttribute(name, given);
  return svg;
};
const pictures = (value) => {
  const found = [
    ...seen_texts().map((node) => ({ kind: "text", name: value.words.text, make: () => draw_boxes(node) })),
    ...seen_charts().map((svg) => ({ kind: "chart", name: value.words.chart, make: () => draw_chart(svg) })),
  ], times = {};
  return found.map((one) => {
    times[one.kind] = (times[one.kind] || 0) + 1;
    const number = found.filter((other) => other.kind === one.kind).length > 1 ? times[one.kind] : "";
    return { ...one, name: `${one.name}${number && ` ${number}`}`, file: `${one.kind}${number}` };
  });
};
const save = (blob, name) => {
  const link = make("a"), url = URL.createObjectURL(blob);
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
};
const as_text = (svg) => new XMLSerializer().serializeToString(svg);
const save_svg = (svg, name) => save(new Blob([as_text(svg)], { type: "image/svg+xml" }), `${name}.svg`);
const save_png = async (svg, name) => {
  const image = new Image(), canvas = make("canvas"), url = URL.createObjectURL(new Blob([as_text(svg)], { type: "image/svg+xml" }));
  image.src = url;
  await image.decode();
  canvas.width = 2 * svg.getAttribute("width");
  canvas.height = 2 * svg.getAttribute("height");
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(url);
  canvas.toBlob((blob) => save(blob, `${name}.png`), "image/png");
};

// One file that needs nothing else: what is drawn by a script comes with that script and its value, as data.
const PAGE_CSS = `
:root { color-scheme: light dark; --body-text-color: #1f2328; --body-background-fill: #fff; }
@media (prefers-color-scheme: dark) { :root { --body-text-color: #e6e6e6; --body-background-fill: #17171a; } }
body { margin: 0 auto; max-width: 1100px; padding: 24px; font-family: ${FONT}; color: var(--body-text-color); background: var(--body-background-fill); line-height: 1.5; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } .of { opacity: .8; font-size: .9rem; margin: 0; overflow-wrap: anywhere; }
figure { margin: 20px 0; overflow-x: auto; } figure svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } .numbers td, .numbers th { border: 1px solid #8886; padding: 2px 8px; text-align: left; white-space: pre-wrap; overflow-wrap: anywhere; }
@media print { @page { size: A4; margin: 14mm; } :root { --body-text-color: #000; --body-background-fill: #fff; } body { padding: 0; max-width: none; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } figure, tr { break-inside: avoid; } .help { display: none; } }
`;
const as_data = (text) => text.replaceAll("<", "\\u003c");
const build_page = (value) => {
  const made = document.implementation.createHTMLDocument(value.title), body = made.body;
  const add = (tag, text, name) => {
    const node = made.createElement(tag);
    if (name) node.className = name;
    if (text !== undefined) node.textContent = text;
    body.append(node);
    return node;
  };
  made.documentElement.lang = page.language;
  const guard = made.createElement("meta");
  guard.httpEquiv = "Content-Security-Policy";
  guard.content = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
  const charset = made.createElement("meta"), fits = made.createElement("meta"), style = made.createElement("style");
  charset.setAttribute("charset", "utf-8");
  fits.name = "viewport";
  fits.content = "width=device-width, initial-scale=1";
  made.head.prepend(charset, guard, fits);
  add("h1", value.title);
  for (const line of value.caption) add("p", line, "of");
  const components = window.gradio_config.components, sheets = [], scripts = [];
  seen_texts().forEach((node, number) => {
    const name = node.className.split(" ")[0];
    const { js_on_load, css_template } = components.find((one) => one.props?.html_template?.includes(`class="${name}"`)).props;
    const figure = add("figure"), home = made.createElement("div");
    figure.id = `view-${number}`;
    home.className = name;
    figure.append(home);
    sheets.push(css_template);
    const its = JSON.parse(node.given), pinned = Number(page.pinned);
    if (page.pinned !== null && its.explained?.includes(pinned)) its.pinned = pinned;
    if (its.factors) its.pinned = page.factor;
    const given = JSON.stringify(JSON.stringify(its));
    scripts.push(`(() => { const element = document.getElementById("view-${number}"), props = { value: ${as_data(given)} };
      const watch = () => {}, trigger = () => {};\n${js_on_load}\n})();`);
  });
  for (const svg of seen_charts()) {
    const copy = made.importNode(svg, true), width = Number(svg.getAttribute("width")), height = Number(svg.getAttribute("height"));
    if (width && !copy.getAttribute("viewBox")) copy.setAttribute("viewBox", `0 0 ${width} ${height}`);
    copy.setAttribute("role", "img");
    copy.setAttribute("aria-label", svg.querySelector("text")?.textContent || value.title);
    add("figure").append(copy);
  }
  const rows = table_of();
  if (rows) {
    const table = add("table", undefined, "numbers");
    for (const [i, line] of [rows.headers, ...rows.rows].entries()) {
      const row = made.createElement("tr");
      for (const cell of line) {
        const box = made.createElement(i ? "td" : "th");
        box.textContent = cell ?? "";
        row.append(box);
      }
      table.append(row);
    }
  }
  for (const paragraph of value.help) add("p", paragraph);
  const link = made.createElement("a"), end = add("p", `${value.words.made_with} `, "of");
  link.href = page.address();
  link.textContent = page.address();
  end.append(link);
  style.textContent = PAGE_CSS + [...new Set(sheets)].join("\n");
  made.head.append(style);
  if (scripts.length) {
    const script = made.createElement("script");
    script.textContent = `window.eccolens = { pin() {}, pin_factor() {}, language: ${JSON.stringify(page.language)} };\n${scripts.join("\n")}`;
    body.append(script);
  }
  return `<!doctype html>\n${made.documentElement.outerHTML}`;
};
const table_of = () => stage().querySelector(".ecco-table-rows")?.rows || null;
const as_cell = (text) => String(text ?? "").replace(/[\t\n\r]+/g, " ");
const copy_table = () => {
  const { headers, rows } = table_of() || { headers: [], rows: [] };
  return page.copy([headers, ...rows].map((row) => row.map(as_cell).join("\t")).join("\n"));
};
const button = (name, does, parent) => {
  const made = make("button", "", name);
  made.type = "button";
  made.addEventListener("click", () => does(made));
  parent.append(made);
  return made;
};

draw_each_value(".ecco-take-home", (home, value) => {
  if (!value || !value.words) return;
  const panel = make("div", "panel"), openers = [];
  const confirm = async (made, copied) => {
    const name = made.textContent;
    if (!(await copied)) return;
    made.textContent = value.words.copied;
    setTimeout(() => { made.textContent = name; }, 2000);
  };
  const opens = (name, fill) => {
    const made = button(name, () => {
      const is_open = made.getAttribute("aria-expanded") === "true";
      for (const other of openers) other.setAttribute("aria-expanded", "false");
      panel.replaceChildren();
      if (is_open) return;
      made.setAttribute("aria-expanded", "true");
      fill();
    }, home);
    made.setAttribute("aria-expanded", "false");
    openers.push(made);
  };
  const code = (text) => () => {
    const lines = make("pre", "", text);
    lines.tabIndex = 0;
    button(value.words.copy, (made) => confirm(made, page.copy(text)), panel);
    panel.append(lines);
  };
  home.append(make("span", "name", value.words.title));
  button(value.words.page, () => save(new Blob([build_page(value)], { type: "text/html" }), `${value.name}.html`), home);
  opens(value.words.picture, () => {
    for (const picture of pictures(value)) {
      const name = `${value.name}-${picture.file}`, line = make("span", "picture", `${picture.name} `);
      button("SVG", () => save_svg(captioned(picture.make(), value), name), line);
      button("PNG", () => save_png(captioned(picture.make(), value), name), line);
      panel.append(line);
    }
  });
  button(value.words.table, (made) => confirm(made, copy_table()), home);
  opens(value.words.python, code(value.python));
  opens(value.words.command, code(value.command));
  home.append(panel);
});
