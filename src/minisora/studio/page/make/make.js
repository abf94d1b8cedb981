/**
 * Make: what is wanted, drawn as levels, asked for, and watched.
 *
 *   form.js      values of the form, to requests; back.js: and back; schedule.js: prompts that change
 *   levels.js    a form as stretches with levels; draw.js, noise.js, frames.js: their picture
 *   timeline.js  the timeline; handle.js: what is moved on it
 *   prompt.js, media.js, mask.js, fields.js   the fields
 *   send.js      the row that asks for it; watched.js: the job that is looked at meanwhile
 *   drafts.js    what was asked for; tour.js: a first look at all of it
 */
import { call } from "../api.js";
import { useCell } from "../cell.js";
import { html, useLayoutEffect, useRef, useState } from "../html.js";
import { t } from "../language.js";
import { send } from "../outbox.js";
import { jobs, putJob, server } from "../store.js";
import { theme } from "../theme.js";
import { failed, say } from "../toasts.js";
import { Drafts } from "./drafts.js";
import { Advanced, OwnFields } from "./fields.js";
import { VERBS, bodiesOf, change, choose, editing, form, hasPrompt, missing, modelOf, patchOf, slotOf } from "./form.js";
import { planOf } from "./levels.js";
import { Drop, Picker, Slots } from "./media.js";
import { Prompt } from "./prompt.js";
import { Send } from "./send.js";
import { Timeline } from "./timeline.js";
import { Tour } from "./tour.js";
import { useRunning, watch } from "./watched.js";

const MENDED_AT = { "missing.prompt": "#prompt", "missing.model": ".advanced summary" }; // the others in their slot

export function Make() {
  const one = useCell(form), { models } = useCell(server), running = useRunning(one);
  useCell(theme);
  const [tried, setTried] = useState(false), [pinning, setPinning] = useState(false);
  const model = modelOf(one), plan = planOf(one, model), lacking = missing(one), edited = useEdited(one);
  const go = () => {
    setTried(lacking.length > 0);
    if (lacking.length) return document.querySelector(MENDED_AT[lacking[0]] ?? ".slot button")?.focus();
    if (edited?.waits) return save(edited.id, one);
    editing.set(null);
    const [key] = send(one.verb, bodiesOf(one));
    return watch({ key }, one);
  };
  const pin = (item) => {
    change({ pins: [...one.pins, { moment: plan.seconds - (one.verb === "animate" ? 1 / model.fps : 0), item: slotOf(item) }] });
    setPinning(false);
  };
  return html`<div class="make">
    <h1 class="hidden">${t("nav.make")}</h1>
    <div class="composer">
      <${Tour} />
      ${edited && html`<p class="editing" role="status"><span>${t(edited.said)}</span>
        <button class="quiet" onClick=${() => editing.set(null)}>${t("editing.leave")}</button></p>`}
      <${Verbs} chosen=${one.verb} />
      <${Slots} form=${one} />
      ${hasPrompt(one.verb) && html`<${Prompt} form=${one} model=${model} onSend=${go} />`}
      <${OwnFields} form=${one} />
      <${Timeline} form=${one} plan=${plan} model=${model} running=${running} onPin=${() => setPinning(true)} />
      <${Advanced} form=${one} models=${models} />
      <${Send} form=${one} saves=${Boolean(edited?.waits)} lacking=${tried ? lacking : []} onGo=${go} />
    </div>
    <${Drafts} onWatch=${(id) => watch({ id }, form.value)} />
    <${Drop} />
    ${pinning && html`<${Picker} picture onPick=${pin} onClose=${() => setPinning(false)} />`}
  </div>`;
}

/** The waiting job that is being changed: { id, waits, said }, or null. */
function useEdited({ verb }) {
  const now = useCell(editing), known = useCell(jobs);
  if (!now) return null;
  const waits = ["waiting", "paused"].includes(known.get(now.id)?.video.minisora.state), same = verb === now.verb;
  return { id: now.id, waits: waits && same, said: !waits ? "editing.begun" : same ? "editing" : "editing.verb" };
}

async function save(id, one) {
  try {
    putJob(await call("PATCH", `/v1/videos/${id}`, { body: patchOf(one) }));
  } catch (error) {
    failed(error);
    return;
  }
  editing.set(null);
  say(t("editing.saved"));
  location.hash = "queue";
}

function Verbs({ chosen }) {
  const at = useRef();
  useLayoutEffect(() => {
    const one = at.current.querySelector("[aria-checked=true]");
    at.current.scrollTo({ left: one.offsetLeft - (at.current.clientWidth - one.offsetWidth) / 2 }); // where they stand in one line
  }, [chosen]);
  const press = (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (VERBS.indexOf(chosen) + step + VERBS.length) % VERBS.length;
    choose(VERBS[next]);
    event.currentTarget.querySelectorAll("[role=radio]")[next].focus();
  };
  return html`<div class="choices"><div class="verbs" role="radiogroup" ref=${at} aria-label=${t("verbs")} onKeyDown=${press}>
    ${VERBS.map((verb) => html`<button key=${verb} role="radio" aria-checked=${verb === chosen} tabindex=${verb === chosen ? 0 : -1}
      title=${t(`verb.${verb}.help`)} onClick=${() => choose(verb)}>${t(`verb.${verb}`)}</button>`)}
    </div>
    <p class="help">${t(`verb.${chosen}.help`)}</p>
  </div>`;
}
