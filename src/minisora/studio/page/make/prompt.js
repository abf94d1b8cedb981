/** The prompt, with examples of what the model knows and the expander's proposal beside it. */
import { Failure, post } from "../api.js";
import { html, useRef, useState } from "../html.js";
import { Icon } from "../icons.js";
import { number, t, tOr } from "../language.js";
import { failed } from "../toasts.js";
import { change, mayChange, readsGlossary, secondsOf } from "./form.js";
import { parsed, without, written } from "./schedule.js";

const EXAMPLES = 6;
const ADDED = ["extend", "connect", "loop"]; // verbs whose prompt is for what is added to a clip, which has words of its own

export function Prompt({ form, model, onSend }) {
  const [proposal, setProposal] = useState(null), [asking, setAsking] = useState(false), area = useRef();
  const parts = mayChange(form) ? form.parts : form.parts.slice(0, 1);
  const n = Math.min(form.part, parts.length - 1), { text } = parts[n], clip = form.media.clip ?? form.media.one;
  const put = (next) => change({ parts: form.parts.map((each, other) => (other === n ? { ...each, text: next } : each)) });
  const ask = async () => {
    if (asking) return;
    setAsking(true);
    try {
      const seed = Number(form.fields.seed) || 0, given = Object.values(form.media).some((each) => each?.id) || form.pins.length > 0;
      setProposal(await post("/v1/expand", { prompt: written(parts), verb: form.verb, model: form.model, seed, given }));
    } catch (error) {
      if (error instanceof Failure) failed(error); else throw error;
    } finally {
      setAsking(false);
    }
  };
  const use = () => {
    area.current.focus();
    const found = parsed(proposal.prompt);
    change({ parts: found.map((each, other) => ({ ...form.parts[other], ...each })), part: Math.min(n, found.length - 1) });
    setProposal(null);
  };
  const press = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) onSend();
  };
  const paste = (event) => {
    const found = parsed(event.target.value);
    if (found.length > 1 && parts.length === 1 && mayChange(form)) change({ parts: found, part: 0 });
  };
  return html`<div class="prompt">
    <label for="prompt">${parts.length > 1 ? labelOf(form, parts, n) : tOr(`prompt.of.${form.verb}${form.verb === "loop" && clip?.id ? ".clip" : ""}`, t("prompt"))}</label>
    ${ADDED.includes(form.verb) && clip?.said && html`<p class="small" id="prompt-own">${text.trim() === clip.said.trim() ? t("prompt.taken") : html`${t("prompt.own")} <q dir="auto">${clip.said}</q>`}</p>`}
    <textarea id="prompt" ref=${area} dir="auto" rows="3" placeholder=${t("prompt.placeholder")} value=${text} onKeyDown=${press} onBlur=${paste}
      onInput=${(event) => put(event.target.value)} aria-describedby="prompt-own prompt-help"></textarea>
    ${form.verb === "storyboard" && n > 0 && html`<label class="check"><input type="checkbox" checked=${!parts[n].scene}
      onChange=${(event) => change({ parts: parts.map((each, other) => (other === n ? { ...each, scene: !event.target.checked } : each)) })} />
      ${t("part.same")}</label>`}
    <div class="row">
      ${model.world === "playroom" && html`<button class="quiet" disabled=${!text.trim()} aria-disabled=${asking} onClick=${ask}>
        <${Icon} name="spark" />${t(asking ? "expand.asking" : "expand.ask")}</button>`}
      ${parts.length > 1 && html`<button class="quiet" onClick=${() => change({ parts: without(parts, n), part: Math.max(0, n - 1) })}>${t("part.remove")}</button>`}
      <span class="count" id="prompt-help">${t("prompt.count", { n: number(text.length) })}</span>
    </div>
    ${readsGlossary(form) && html`<p class="small" role="status">${t("prompt.chinese")}</p>`}
    ${proposal && html`<${Proposal} proposal=${proposal} onUse=${use} onClose=${() => { area.current.focus(); setProposal(null); }} />`}
    ${!text.trim() && model.world === "playroom" && html`<div class="examples"><span>${t("examples")}</span>
      ${Array.from({ length: EXAMPLES }, (_, each) => html`<button key=${each} class="chip" title=${t(`example.${each + 1}.prompt`)}
        onClick=${() => { area.current.focus(); put(t(`example.${each + 1}.prompt`)); }}>${t(`example.${each + 1}`)}</button>`)}
    </div>`}
  </div>`;
}

function labelOf(form, parts, n) {
  const end = parts[n + 1]?.start ?? (form.verb === "extend" ? null : secondsOf(form));
  const from = number(parts[n].start);
  if (end == null) return t("prompt.last", { from });
  return t(form.verb === "storyboard" ? "prompt.shot" : "prompt.part", { n: n + 1, from, to: number(end) });
}

function Proposal({ proposal, onUse, onClose }) {
  const lists = ["added", "not_understood", "read_as"].filter((each) => proposal[each].length);
  return html`<aside class="proposal" aria-label=${t("expand.title")}>
    <h3>${t(proposal.source ? "expand.title" : "expand.none")}</h3>
    <p dir="auto">${proposal.source ? proposal.prompt : tOr(`expand.none.${proposal.reason_code}`, proposal.reason)}</p>
    ${lists.map((each) => html`<p class="small" key=${each}><b>${t(`expand.${each}`)}</b> <span dir="auto">${proposal[each].join("; ")}</span></p>`)}
    <div class="row">
      ${proposal.source && html`<button class="main" onClick=${onUse}>${t("expand.use")}</button>`}
      <button class="quiet" onClick=${onClose}>${t("expand.keep")}</button>
    </div>
  </aside>`;
}
