/** What is around every view: the bar, the state of the connection, login, the page of keys. */
import { Failure, logIn, login, lost, tryAgain } from "./api.js";
import { useCell } from "./cell.js";
import { Dialog } from "./dialog.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { Icon } from "./icons.js";
import { LANGUAGES, language, speak, t } from "./language.js";
import { otherVersion } from "./live.js";
import { step } from "./make/tour.js";
import { THEMES, theme } from "./theme.js";
import { Toasts, sentence, undoLast, unheard } from "./toasts.js";

const ICONS = { system: "half", light: "sun", dark: "moon" };
const KEYS = {
  everywhere: ["go", "undo", "help"], make: ["generate"], timeline: ["step", "leap", "ends", "remove"],
  library: ["grid", "frames"], queue: ["move"],
};

export function Shell({ name, views, children }) {
  const [keys, setKeys] = useState(false), top = useRef();
  useEffect(() => {
    const press = (event) => {
      if (event.target.matches("input, textarea, select") || event.target.closest("dialog") || event.altKey) return;
      if (event.ctrlKey || event.metaKey) {
        if (event.key === "z" && undoLast()) event.preventDefault();
        return;
      }
      if (event.key === "?") setKeys(true);
      const at = Number(event.key) - 1;
      if (views[at]) location.hash = views[at];
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  useLayoutEffect(() => {
    const watch = new ResizeObserver(() => document.documentElement.style.setProperty("--top", `${top.current.offsetHeight}px`));
    watch.observe(top.current);
    return () => watch.disconnect();
  }, []);
  useEffect(() => top.current.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }), [name]);
  const skip = (event) => { event.preventDefault(); document.querySelector("main").focus(); };
  return html`
    <a class="skip" href="#${name}" onClick=${skip}>${t("skip")}</a>
    <div class="top" ref=${top}><header class="bar">
      <a class="mark" href="#make"><${Mark} />minisora</a>
      <nav aria-label=${t("nav")}>${views.map((each) => html`
        <a href="#${each}" key=${each} aria-current=${each === name ? "page" : null}>${t(`nav.${each}`)}</a>`)}
      </nav>
      <div class="tools"><${Tools} onKeys=${() => setKeys(true)} /></div>
    </header><${Banners} /></div>
    <${Toasts} />
    <main tabindex="-1">${children}</main>
    <${Login} />
    ${keys && html`<${Keys} onClose=${() => setKeys(false)} />`}`;
}

/** Clean stretch, falling into noise. */
function Mark() {
  return html`<svg viewBox="0 0 26 16" aria-hidden="true"><path d="M0 0h4v16H0zm6 0h4v16H6zm6 0h3v3h-3zm0 5h3v6h-3zm0 8h3v3h-3zm5-12h2v3h-2zm1 6h2v3h-2zm-1 6h2v2h-2zm5-9h2v2h-2zm1 5h2v2h-2zm-1 5h1v1h-1z" /></svg>`;
}

function Tools({ onKeys }) {
  const words = useCell(language), chosen = useCell(theme);
  const next = (list, one) => list[(list.indexOf(one) + 1) % list.length];
  const other = next(LANGUAGES, words), nextTheme = next(THEMES, chosen);
  return html`
    <button class="icon" lang=${other} aria-label=${t("language.next")} title=${t("language.next")}
      onClick=${() => speak(other).catch(unheard)}>${t("language.short")}</button>
    <button class="icon" aria-label=${t(`theme.${chosen}`)} title=${t(`theme.${chosen}`)} data-theme-choice=${chosen}
      onClick=${() => theme.set(nextTheme)}><${Icon} name=${ICONS[chosen]} /></button>
    <button class="icon" aria-label=${t("keys.title")} title=${t("keys.title")} onClick=${onKeys}>?</button>`;
}

function Banners() {
  const gone = useCell(lost), version = useCell(otherVersion);
  return html`<div role="status">
    ${gone && html`<p class="banner">${t("lost")} <button class="text" onClick=${tryAgain}>${t("lost.now")}</button></p>`}
    ${version && html`<p class="banner">${t("version", { version })}
      <button class="text" onClick=${() => location.reload()}>${t("version.reload")}</button></p>`}
  </div>`;
}

function Login() {
  const needed = useCell(login);
  const [wrong, setWrong] = useState("");
  if (!needed) return null;
  const send = async (event) => {
    event.preventDefault();
    try {
      await logIn(new FormData(event.target).get("token").trim());
      setWrong("");
    } catch (error) {
      setWrong(error instanceof Failure ? sentence(error.message) : t("error.noAnswer"));
    }
  };
  return html`<${Dialog} title=${t("login.title")} onClose=${null}>
    <p>${t("login.why")}</p>
    <form onSubmit=${send}>
      <label>${t("login.token")}<input name="token" type="password" autocomplete="current-password" required autofocus /></label>
      ${wrong && html`<p class="wrong" role="alert">${wrong}</p>`}
      <button class="main">${t("login.send")}</button>
    </form>
  <//>`;
}

function Keys({ onClose }) {
  return html`<${Dialog} title=${t("keys.title")} onClose=${onClose}>
    ${Object.entries(KEYS).map(([where, keys]) => html`<section key=${where}><h3>${t(`keys.${where}`)}</h3><dl class="keys">${keys.map((each) => html`<div key=${each}>
      <dt>${t(`keys.${each}`).split(" ").map((key) => html`<kbd>${key}</kbd>`)}</dt><dd>${t(`keys.${each}.does`)}</dd></div>`)}</dl></section>`)}
    <div class="row"><button onClick=${() => { onClose(); location.hash = "make"; step.set(0); }}>${t("tour.again")}</button></div>
  <//>`;
}
