/** The last row of the composer, which stays in view: how many drafts, the button, what is on its way. */
import { useCell } from "../cell.js";
import { html } from "../html.js";
import { t } from "../language.js";
import { outbox } from "../outbox.js";
import { isFinal, jobs } from "../store.js";
import { calm } from "../theme.js";
import { change } from "./form.js";
import { Progress, see, useTold } from "./watched.js";

const MOST_VARIANTS = 8;

/** saves: a waiting job is changed, none is made; lacking: keys of what is missing, to be said */
export function Send({ form, saves, lacking, onGo }) {
  const several = form.verb !== "reverse" && !saves;
  const label = saves ? t("editing.save") : t(several && form.variants > 1 ? "send.many" : "send", { n: form.variants });
  return html`<div class="row send">
    ${several && html`<${Variants} n=${form.variants} />`}
    <button class="main" onClick=${onGo}>${label}</button>
    ${lacking.length > 0 ? html`<p class="wrong" role="alert">${lacking.map((each) => t(each)).join(" ")}</p>` : html`<${OnTheWay} />`}
  </div>`;
}

/** What is typed counts at once, if it can; what cannot is put right when the field is left. */
function Variants({ n }) {
  const put = (value) => change({ variants: Math.min(MOST_VARIANTS, Math.max(1, Math.floor(value) || 1)) });
  return html`<label class="variants">${t("variants")}<input type="number" min="1" max=${MOST_VARIANTS} value=${n}
    onInput=${({ target }) => target.valueAsNumber >= 1 && put(target.valueAsNumber)} onChange=${({ target }) => put(target.valueAsNumber)} /></label>`;
}

/** How far the watched job is, or another; pressed, it leads to its draft. */
function OnTheWay() {
  const waiting = useCell(outbox).length, known = useCell(jobs), video = useTold();
  const open = waiting + [...known.values()].filter((each) => !isFinal(each.video)).length;
  if (!open && !video) return null;
  const state = video?.minisora.state;
  const lead = () => {
    if (video && isFinal(video)) see();
    const draft = document.querySelector(video ? `.draft[data-id="${video.id}"]` : ".drafts");
    draft?.scrollIntoView({ block: "center", behavior: calm.matches ? "auto" : "smooth" });
    draft?.querySelector("a, button")?.focus({ preventScroll: true });
  };
  return html`<button class="way" onClick=${lead}>
    ${state === "running" && html`<progress max="100" value=${video.progress} aria-label=${t("draft.progress")}></progress>`}
    ${state === "done" || state === "failed" ? html`<strong>${t(`way.${state}`)}</strong>`
      : html`<strong>${t(open > 1 ? "way.many" : "way", { n: open })}</strong>${state === "running" && html`<${Progress} video=${video} />`}`}
  </button>`;
}
