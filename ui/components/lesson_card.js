const page = window.eccolens, SEEN = "eccolens-lessons-seen", OPEN = "eccolens-guide", MOST_TITLE = 120, MOST_NOTE = 2000;
const button = (name, text, does) => {
  const made = make("button", name, text);
  made.type = "button";
  made.addEventListener("click", () => does(made));
  return made;
};
const opener = (name, text, id, is_it, does) => {
  const made = button(name, text, does);
  made.setAttribute("aria-expanded", String(is_it));
  made.setAttribute("aria-controls", id);
  return made;
};
const seen = () => new Set((page.kept(SEEN) || "").split(" ").filter(Boolean).map(Number));
const field = (label, tag, most) => {
  const line = make("label", "field", label), box = make(tag, "");
  box.maxLength = most;
  line.append(box);
  return { line, box };
};
// What it shows of a lesson: nothing that needs the server, which is asked by the buttons of the examples.
let card = null, is_menu = false, tell = () => {};
const open_lesson = (number) => {
  const lesson = card.lessons.find((one) => one.number === number);
  page.follow_lesson(number);
  is_menu = false;
  redraw();
  if (lesson.steps.length) press(lesson.steps[0].id);
};
const press = (id) => document.getElementById(id)?.click();
const draw_menu = (home, words) => {
  const list = make("ol", "menu"), known = seen();
  list.id = "lesson-menu";
  for (const { number, question, steps } of card.lessons) {
    const line = make("li"), made = button("", `${number} · ${question}`, () => open_lesson(number));
    if (known.has(number)) {
      const tick = make("span", "tick", " ✓");
      tick.setAttribute("aria-label", words.seen);
      made.append(tick);
    }
    if (!steps.length) made.append(make("small", "", ` ${words.not_here}`));
    made.setAttribute("aria-current", String(number === page.lesson));
    line.append(made);
    list.append(line);
  }
  home.append(list);
};
const draw_own = (home, words) => {
  const box = make("details", "own");
  box.append(make("summary", "", words.own), make("p", "", words.own_help));
  const title = field(words.own_title, "input", MOST_TITLE), note = field(words.own_note, "textarea", MOST_NOTE);
  const copy = button("", words.own_copy, async (made) => {
    const is_copied = await page.copy(page.address({ title: title.box.value.trim(), note: note.box.value.trim() }));
    made.textContent = is_copied ? words.copied : words.by_hand;
    setTimeout(() => { made.textContent = words.own_copy; }, 2500);
  });
  box.append(title.line, note.line, copy);
  home.append(box);
};
const draw_guide = (home, lesson, words) => {
  const guide = make("div", "guide"), parts = make("dl", "parts");
  guide.id = "lesson-guide";
  const add = (name, text) => {
    const part = make("div", "part"), told = make("dd", "", text);
    part.append(make("dt", "", name), told);
    parts.append(part);
    return { part, told };
  };
  for (const part of card.parts) if (part !== "do") add(words[part], lesson[part]);
  const other = add(words.other_model, ""), shows = add(words.shows, "");
  tell = () => {
    const shown = page.shown[page.tab];
    const is_other = Boolean(shown) && shown.model !== lesson.tried;
    other.part.hidden = !is_other;
    if (is_other) other.told.textContent = lesson.instead || fill_in(words.other, { tried: lesson.tried_name, model: shown.model_name });
    shows.part.hidden = !shown?.findings?.length;
    if (shown?.findings) shows.told.replaceChildren(...shown.findings.map((line) => make("p", "", line)));
  };
  tell();
  guide.append(parts);
  draw_own(guide, words);
  home.append(guide);
};
const draw = (home) => {
  const words = card.words, lesson = card.lessons.find((one) => one.number === page.lesson), row = make("div", "row");
  const at = lesson ? card.lessons.indexOf(lesson) : -1, is_open = page.kept(OPEN) === "1";
  tell = () => {};
  const move = (name, text, step) => {
    const made = button("move", text, () => open_lesson(card.lessons[at + step].number));
    made.setAttribute("aria-label", name);
    made.title = name;
    made.disabled = !card.lessons[at + step];
    return made;
  };
  const number = lesson ? fill_in(words.name, { number: lesson.number, total: card.lessons.length }) : words.all;
  const all = opener("all", number, "lesson-menu", is_menu, () => { is_menu = !is_menu; redraw(".all"); });
  row.append(move(words.previous, "‹", -1), all, move(words.next, "›", 1));
  row.append(make("h2", "question", page.note ? page.note.title || words.own_from : lesson ? lesson.question : words.choose));
  if (lesson && !page.note) {
    const toggle = () => { page.keep(OPEN, is_open ? "" : "1"); redraw(".opens"); };
    row.append(opener("opens", words.guide, "lesson-guide", is_open, toggle));
  }
  home.append(row);
  if (page.note) {
    home.append(make("p", "note", page.note.note));
  } else if (lesson) {
    const line = make("p", "do", lesson.do);
    if (lesson.steps.length > 1) for (const { id, name } of lesson.steps) line.append(" ", button("step", name, () => press(id)));
    if (!lesson.steps.length) line.append(" ", make("b", "", words.not_here));
    home.append(line);
  }
  if (is_menu) draw_menu(home, words);
  if (lesson && !page.note && is_open) draw_guide(home, lesson, words);
};
const redraw = (focused) => {
  const home = element.querySelector(".ecco-lesson-card");
  if (!home || !card) return;
  home.replaceChildren();
  draw(home);
  if (focused) home.querySelector(focused)?.focus();
};
draw_each_value(".ecco-lesson-card", (home, value) => {
  if (!value || !Array.isArray(value.lessons)) return;
  card = value;
  page.lesson_texts = Object.fromEntries(value.lessons.map(({ number, texts }) => [number, texts]));
  draw(home);
});
const hear = () => {
  if (!element.isConnected) { window.removeEventListener("eccolens-shown", hear); return; }
  if (page.lesson !== null && !page.note) page.keep(SEEN, [...seen().add(page.lesson)].join(" "));
  tell();
};
window.addEventListener("eccolens-shown", hear);
// An example's own button begins its lesson too.
document.addEventListener("click", (event) => {
  const id = event.target.closest?.("#examples button")?.id;
  const lesson = id && card?.lessons.find(({ steps }) => steps.some((step) => step.id === id));
  if (!lesson || lesson.number === page.lesson && !page.note) return;
  page.follow_lesson(lesson.number);
  redraw();
});
window.addEventListener("eccolens-lesson", () => redraw());
