const page = window.eccolens;
draw_each_value(".ecco-top-bar", (home, value) => {
  if (!value || !Array.isArray(value.languages)) return;
  const languages = make("div", "languages");
  languages.setAttribute("role", "group");
  languages.setAttribute("aria-label", value.words.languages);
  for (const { code, name } of value.languages) {
    const button = make("button", "", name);
    button.type = "button";
    button.lang = code;
    button.setAttribute("aria-pressed", String(code === page.language));
    button.addEventListener("click", () => page.speak(code));
    languages.append(button);
  }
  const large = make("button", "large-switch", "A+");
  large.type = "button";
  large.title = value.words.large;
  large.setAttribute("aria-label", value.words.large);
  large.setAttribute("aria-pressed", String(document.documentElement.classList.contains("large")));
  large.addEventListener("click", () => large.setAttribute("aria-pressed", String(page.enlarge())));
  const link = make("button", "link", value.words.link);
  link.type = "button";
  link.addEventListener("click", async () => {
    const is_copied = await page.copy(page.address());
    link.textContent = is_copied ? value.words.copied : value.words.by_hand;
    setTimeout(() => { link.textContent = value.words.link; }, 2500);
  });
  home.append(link, large, languages);
});
const go = () => {
  if (!element.isConnected) { window.removeEventListener("hashchange", go); return; }
  page.is_opening = true;
  page.reread_address();
  const asked = new URLSearchParams(page.given()), lang = asked.get("lang");
  if (lang && lang !== page.language) { location.reload(); return; }
  trigger("select", { index: page.given() });
};
window.addEventListener("hashchange", go);
