/** A secret that is shown this once, to be copied. */
import { html, useState } from "../html.js";
import { t } from "../language.js";

export function Once({ label, secret, onClose }) {
  const [copied, setCopied] = useState(false);
  const copy = () => navigator.clipboard.writeText(secret).then(() => setCopied(true), () => {}); // it can be copied by hand
  return html`<div class="once" role="status"><p>${label}</p><p class="small">${t("once.help")}</p>
    <div class="row"><code tabindex="0">${secret}</code>
      ${navigator.clipboard && html`<button class="quiet" onClick=${copy}>${t(copied ? "once.copied" : "once.copy")}</button>`}
      <button class="quiet" onClick=${onClose}>${t("once.done")}</button></div></div>`;
}
