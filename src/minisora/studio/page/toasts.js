/** Short messages at the edge of the page; screen readers say them too. */
import { Failure } from "./api.js";
import { cell, useCell } from "./cell.js";
import { html } from "./html.js";
import { t } from "./language.js";

export const toasts = cell([]);
const SHOWN_MS = 8000, MOST = 4;
let count = 0;

/** Show a message. action: { label, act }, a button beside it */
export function say(text, { kind = "note", action = null } = {}) {
  const id = ++count;
  toasts.set((before) => [...before.filter((each) => each.text !== text), { id, text, kind, action }].slice(-MOST));
  if (kind === "note") closeLater(id, action ? 2 * SHOWN_MS : SHOWN_MS);
}

/** Close a message after a time, but not while one is about to press its button. */
function closeLater(id, milliseconds) {
  setTimeout(() => (document.querySelector(".toasts:is(:hover, :focus-within)") ? closeLater(id, SHOWN_MS) : close(id)), milliseconds);
}

/** Do what the newest message offers; false if none offers anything. */
export function undoLast() {
  const last = toasts.value.findLast(({ action }) => action);
  if (!last) return false;
  close(last.id);
  last.action.act();
  return true;
}

/** Show an error of a call, with what to do about it. */
export function failed(error, action = null) {
  if (!(error instanceof Failure)) throw error;
  const again = error.retryAfter ? ` ${t("error.retry", { n: error.retryAfter })}` : "";
  say(sentence(error.message || t(error.status ? "error.unknown" : "error.noAnswer")) + again, { kind: "error", action });
}

/** Show that the server did not answer. */
export const unheard = () => say(t("error.noAnswer"), { kind: "error" });

/** A message of the server as a sentence; names of files and fields stay as they are. */
export const sentence = (text) => (/^[a-z]+\s/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text);

function close(id) {
  toasts.set((before) => before.filter((each) => each.id !== id));
}

export function Toasts() {
  const shown = useCell(toasts);
  return html`<div class="toasts" role="status" aria-live="polite">
    ${shown.map(({ id, text, kind, action }) => html`
      <div class="toast ${kind}" key=${id}>
        <span dir="auto">${text}</span>
        ${action && html`<button class="text" onClick=${() => { action.act(); close(id); }}>${action.label}</button>`}
        <button class="icon" aria-label=${t("close")} onClick=${() => close(id)}>×</button>
      </div>`)}
  </div>`;
}
