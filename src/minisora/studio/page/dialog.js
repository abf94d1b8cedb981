/** A dialog over the page: the browser's own, which keeps the focus inside and closes with Escape. */
import { html, useLayoutEffect, useRef } from "./html.js";
import { t } from "./language.js";

/** onClose: null: it stays until its task is done */
export function Dialog({ title, onClose, children, wide = false }) {
  const at = useRef();
  useLayoutEffect(() => { // its end comes before the dialog is taken away, so that the focus is back by then
    const dialog = at.current, before = document.activeElement;
    dialog.showModal();
    return () => {
      dialog.close();
      (before === document.body ? document.querySelector("main") : before)?.focus({ preventScroll: true });
    };
  }, []);
  const cancel = (event) => { event.preventDefault(); onClose?.(); };
  const outside = (event) => { if (event.target === at.current) onClose?.(); };
  return html`<dialog ref=${at} class=${wide ? "wide" : ""} aria-label=${title} onCancel=${cancel} onClick=${outside}>
    <div class="inside">
      <header><h2>${title}</h2>
        ${onClose && html`<button class="icon" aria-label=${t("close")} onClick=${onClose}>×</button>`}
      </header>
      ${children}
    </div>
  </dialog>`;
}
