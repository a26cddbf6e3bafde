// Runs before Gradio's own scripts: the page's language, its address, and what every tab's script shares.
(() => {
  const { languages, space, skip, questions } = window.eccolens_start;
  const KEPT = "eccolens-language", LARGE = "eccolens-large";
  const keep = (name, value) => { try { localStorage.setItem(name, value); } catch { /* a browser that keeps nothing */ } };
  const kept = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  // The address: after # on a machine of one's own; on a Space the parent page hands on its query as well.
  const given = () => {
    if (location.hash.length > 1) return location.hash.slice(1);
    const query = new URLSearchParams(location.search);
    return ["text", "lesson", "lang"].some((name) => query.has(name)) ? query.toString() : "";
  };
  // A lesson of ours by its number, or a teacher's own: a title and a note, which hold for the text they came with.
  const read_lesson = () => {
    const asked = new URLSearchParams(given()), number = Number(asked.get("lesson"));
    const title = (asked.get("title") || "").slice(0, 120), note = (asked.get("note") || "").slice(0, 2000);
    const lesson = Number.isInteger(number) && number > 0 && number < 100 ? number : given() ? null : 1;
    return { lesson, note: title || note ? { title, note, text: asked.get("text") } : null };
  };
  // Which group of neurons is looked at, from 0.
  const read_factor = () => {
    const number = Number(new URLSearchParams(given()).get("factor"));
    return Number.isInteger(number) && number > 0 && number < 100 ? number - 1 : 0;
  };
  const known = (code) => (languages.includes(code) ? code : null);
  const of_browser = () => (navigator.languages || []).map((code) => code.toLowerCase().split("-")[0]).find(known) || languages[0];
  const chosen = known(new URLSearchParams(given()).get("lang")) || known(kept(KEPT));
  const language = chosen || of_browser();
  if (chosen) {
    Object.defineProperty(navigator, "language", { get: () => language });
    Object.defineProperty(navigator, "languages", { get: () => [language] });
  }
  // Under each tab's name, by a rule of the style sheet: what Gradio draws there, it draws anew when it likes.
  for (const [tab, question] of Object.entries(questions[language])) {
    document.documentElement.style.setProperty(`--question-${tab}`, JSON.stringify(question));
  }
  const set_lang = () => { if (document.documentElement.lang !== language) document.documentElement.lang = language; };
  set_lang();
  new MutationObserver(set_lang).observe(document.documentElement, { attributes: true, attributeFilter: ["lang"] });
  // Where the line is full, the page asks again before it says so.
  const TRIES = 5, PAUSE = 1500, asked_once = window.fetch.bind(window);
  const plain_fetch = async (...given) => {
    for (let n = 1; ; n++) {
      const reply = await asked_once(...given);
      if (reply.status !== 503 || n === TRIES || typeof given[1]?.body !== "string") return reply;
      await new Promise((again) => setTimeout(again, PAUSE * (0.5 + Math.random())));
    }
  };
  window.fetch = (input, options) => {
    const url = new URL(input instanceof Request ? input.url : String(input), location.href);
    if (url.origin !== location.origin || !url.pathname.includes("/gradio_api/")) return plain_fetch(input, options);
    const headers = new Headers(options?.headers || (input instanceof Request ? input.headers : undefined));
    headers.set("x-eccolens-language", language);
    return plain_fetch(input, { ...options, headers });
  };
  if (kept(LARGE)) document.documentElement.classList.add("large");

  const page = window.eccolens = {
    now: {}, asked: {}, asked_at: {}, shown: {}, touched: 0, links: {}, tab: null, pinned: null, language, given, keep, kept,
    ...read_lesson(), lesson_texts: {}, factor: read_factor(),
    is_opening: true,  // the view that is shown next is the one that the address asks for: no step of its own
  };
  for (const kind of ["pointerdown", "keydown", "input"]) {
    const touch = (event) => { if (event.isTrusted) page.touched = performance.now(); };
    document.addEventListener(kind, touch, { capture: true, passive: true });
  }
  // The first stop of the keyboard: past the controls, to the picture.
  document.addEventListener("DOMContentLoaded", () => {
    const link = document.createElement("a");
    link.href = "#";
    link.className = "skip-link";
    link.textContent = skip[language];
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const stage = [...document.querySelectorAll(".stage")].find((one) => one.getClientRects().length);
      (stage?.querySelector("button[tabindex='0']") || stage?.querySelector("button"))?.focus();
    });
    const place = document.createElement("nav");
    place.append(link);
    document.body.prepend(place);
  });
  // A chart that is wider than the page is scrolled by keyboard as well.
  window.addEventListener("eccolens-shown", () => {
    for (const wait of [500, 2000]) {
      setTimeout(() => { for (const chart of document.querySelectorAll("[data-testid=altair]")) chart.tabIndex = 0; }, wait);
    }
  });
  const words_of = (own = {}) => {
    const words = new URLSearchParams(page.links[page.tab] || "");
    const text = words.get("text");
    if (page.pinned !== null && page.links[page.tab]) words.set("pin", page.pinned);
    if (page.tab === "neuron-factors" && page.factor) words.set("factor", page.factor + 1);
    if (page.note && page.note.text === text) own = { ...page.note, ...own };
    else if (page.lesson_texts[page.lesson]?.includes(text)) words.set("lesson", page.lesson);
    for (const name of ["title", "note"]) if (own[name]) words.set(name, own[name]);
    words.set("lang", language);
    return words.toString().replaceAll("+", "%20");
  };
  // A new question is a step that Back takes back; another token or tab of it is not.
  page.write = (is_new = false) => {
    if (!page.links[page.tab]) return;
    const hash = `#${words_of()}`;
    if (hash === location.hash) { page.is_opening = false; return; }
    const address = location.pathname + hash;
    if (is_new && !page.is_opening) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    page.is_opening = false;
    if (space && window.parent !== window) {
      window.parent.postMessage({ queryString: `?${hash.slice(1)}` }, "https://huggingface.co");
    }
  };
  page.show_link = (tab, link, pin) => {
    const is_new = page.links[tab] !== link;
    page.links[tab] = link;
    if (pin !== undefined) page.pinned = pin;
    page.tab ||= tab;
    if (page.tab === tab) page.write(is_new);
  };
  page.follow_lesson = (number) => Object.assign(page, { lesson: number, note: null });
  page.reread_address = () => {
    Object.assign(page, read_lesson(), { factor: read_factor() });
    window.dispatchEvent(new Event("eccolens-lesson"));
  };
  page.select_tab = (tab) => { page.tab = tab; page.write(); };
  page.pin = (position) => { page.pinned = position; page.write(); };
  page.pin_factor = (number) => { page.factor = number; page.write(); };
  page.address = (own) => {
    const words = page.links[page.tab] ? words_of(own) : given();
    if (!words) return space ? `https://huggingface.co/spaces/${space}` : location.href;
    return space ? `https://huggingface.co/spaces/${space}?${words}` : `${location.origin}${location.pathname}#${words}`;
  };
  page.copy = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* not on https, or not allowed */ }
    const box = document.createElement("textarea");
    box.value = text;
    box.style.position = "fixed";
    document.body.append(box);
    box.select();
    const is_copied = document.execCommand("copy");
    box.remove();
    return is_copied;
  };
  page.speak = (code) => {
    if (!known(code) || code === language) return;
    keep(KEPT, code);
    const words = new URLSearchParams(page.links[page.tab] ? words_of() : given());
    words.set("lang", code);
    history.replaceState(null, "", `${location.pathname}#${words.toString().replaceAll("+", "%20")}`);
    location.reload();
  };
  page.enlarge = () => {
    const is_large = document.documentElement.classList.toggle("large");
    keep(LARGE, is_large ? "1" : "");
    window.dispatchEvent(new Event("resize"));
    return is_large;
  };
})();
