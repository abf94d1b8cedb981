/** Components whose modules are loaded when they are first shown, so that the page itself comes sooner. */
import { html, useEffect, useReducer, useState } from "./html.js";
import { t } from "./language.js";

/** Component of a module. load: imports it */
export function late(load, name) {
  let found = null;
  return function Late(props) {
    const [, draw] = useReducer((count) => count + 1, 0), [failed, setFailed] = useState(false);
    const come = () => load().then((module) => { found = module[name]; draw(); }, () => setFailed(true));
    useEffect(() => { if (!found) come(); }, []);
    if (found) return html`<${found} ...${props} />`;
    const again = () => { setFailed(false); come(); };
    return failed ? html`<div class="soon"><p>${t("error.noAnswer")}</p><p><button onClick=${again}>${t("file.again")}</button></p></div>`
      : html`<p class="loading">${t("loading")}</p>`;
  };
}
