/** Fields of a verb as the server describes them: kind, bounds, unit and help of each. */
import { html, useState } from "../html.js";
import { Icon } from "../icons.js";
import { t, tOr } from "../language.js";
import { unheard } from "../toasts.js";
import { OWN, change, fieldsOf, makes } from "./form.js";

const FIRST = ["size", "seed", "steps", "guidance", "candidates"]; // the others follow as the server has them
const ON_FRAME = { box: "box", colour: "dropper" }; // that are shown on a frame of the clip, with their icons
const OF_MODEL = ["size", "steps", "guidance", "candidates", "fps"]; // where the model has a value of its own

/** Fields that belong to the verb alone; they stand with the prompt. */
export function OwnFields({ form }) {
  const own = OWN[form.verb] ?? [];
  const found = fieldsOf(form.verb).filter(({ name }) => own.includes(name));
  return found.length > 0 && html`<div class="fields">${found.map((each) => html`<${Field} key=${each.name} field=${each} form=${form} />`)}</div>`;
}

export function Advanced({ form, models }) {
  const own = OWN[form.verb] ?? [], rank = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
  const found = fieldsOf(form.verb).filter(({ name, hidden }) => !own.includes(name) && !hidden).sort((a, b) => rank(a.name) - rank(b.name));
  const set = found.filter(({ name }) => !["", undefined].includes(form.fields[name])).length;
  return html`<details class="advanced">
    <summary>${t("advanced")}${set > 0 && html` <span class="badge">${set}</span>`}</summary>
    <div class="fields">
      ${models.length > 1 && html`<label>${t("field.model")}<select value=${form.model} onChange=${(event) => change({ model: event.target.value })}>
        ${models.map((each, n) => html`<option key=${each.id} value=${n ? each.id : ""} disabled=${!makes(each, form.verb)}>${each.id}</option>`)}</select></label>`}
      ${found.map((each) => html`<${Field} key=${each.name} field=${each} form=${form} />`)}
    </div>
    ${set > 0 && html`<button class="quiet" onClick=${() => change({ fields: {} })}>${t("advanced.clear")}</button>`}
  </details>`;
}

function Field({ field, form }) {
  const { name, unit, type } = field, id = `field-${name}`;
  const label = tOr(`field.${name}`, name.replaceAll("_", " ")), help = tOr(`field.${name}.help`, field.help);
  const put = (value) => change({ fields: { ...form.fields, [name]: value } });
  const value = form.fields[name];
  if (type === "boolean") {
    return html`<label class="check"><input id=${id} type="checkbox" checked=${value ?? field.default} aria-describedby="${id}-help"
      onChange=${(event) => put(event.target.checked)} />${label}<span class="small" id="${id}-help">${help}</span></label>`;
  }
  return html`<div class="field"><label for=${id}><span>${label}${unit && html` <span class="unit">${tOr(`unit.${unit}`, unit)}</span>`}</span>
    <${Input} field=${field} id=${id} value=${value ?? ""} put=${put} />
    <span class="small" id="${id}-help">${help}</span></label>
    ${form.verb === "inpaint" && name in ON_FRAME && html`<${OnFrame} name=${name} form=${form} />`}</div>`;
}

/** A field that is filled by drawing on the clip; of what says the region, the last counts. */
function OnFrame({ name, form: { media, fields } }) {
  const [Editor, setEditor] = useState(null), clip = media.clip?.id ? media.clip : null;
  const use = (value) => {
    const { box, colour, ...others } = fields;
    change({ fields: { ...others, [name]: value }, media: { ...media, mask: undefined } });
    setEditor(null);
  };
  const open = () => import("./region.js").then(({ RegionEditor }) => setEditor(() => RegionEditor), unheard);
  return html`<button class="quiet" disabled=${!clip} title=${clip ? null : t("missing.clip")} onClick=${open}><${Icon} name=${ON_FRAME[name]} />${t(`region.${name}.do`)}</button>
    ${Editor && html`<${Editor} name=${name} clip=${clip} value=${fields[name]} onUse=${use} onClose=${() => setEditor(null)} />`}`;
}

/** What holds where nothing is written. */
function placeholderOf({ name, default: usual }) {
  if (name === "seed") return t("field.seed.drawn");
  return usual ?? (OF_MODEL.includes(name) ? t("field.own") : "");
}

function Input({ field, id, value, put }) {
  const { type, enum: choices, minimum, maximum, exclusiveMinimum, give } = field;
  const shared = { id, value, "aria-describedby": `${id}-help` };
  if (choices) {
    return html`<select ...${shared} onChange=${(event) => put(event.target.value)}><option value="">${t("field.none")}</option>
      ${choices.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select>`;
  }
  const isNumber = type === "integer" || type === "number";
  return html`<input ...${shared} type=${isNumber ? "number" : "text"} step=${type === "integer" ? 1 : "any"} dir="auto"
    min=${minimum ?? exclusiveMinimum} max=${maximum} placeholder=${placeholderOf(field)} title=${give}
    autocomplete="off" onInput=${(event) => put(event.target.value)} />`;
}
