/** A job of the queue, with what can be done with it. */
import { html } from "../html.js";
import { Icon } from "../icons.js";
import { duration, t } from "../language.js";
import { NoisyPicture } from "../make/noise.js";
import { Progress } from "../make/watched.js";
import { jobTitle } from "../titles.js";
import { sentence } from "../toasts.js";
import { act, forget, inMake } from "./actions.js";

/** grip: handlers of what it is dragged by; mark: classes while something is dragged */
export function Row({ job: { video, preview }, grip = null, mark = "" }) {
  const { state, verb, place } = video.minisora, name = jobTitle(video);
  return html`<li class="job ${state} ${mark}" data-id=${video.id} data-state=${state}>
    ${grip && html`<button class="icon grip" aria-label=${t("queue.move", { prompt: name })} title=${t("queue.move.help")} ...${grip}><${Icon} name="grip" /></button>`}
    <div class="small-screen"><${NoisyPicture} level=${state === "running" ? 1 - video.progress / 100 : 1} source=${preview} moves=${state === "running"} /></div>
    <div class="what">
      <p class="name" dir="auto" title=${video.prompt || name}>${name}</p>
      <p class="small facts"><span class="verb">${t(`verb.${verb}`)}</span>${place != null && state === "waiting" ? `${t("draft.place", { n: place })} · ` : ""}<${Stage} video=${video} /></p>
      ${state === "running" && html`<progress max="100" value=${video.progress} aria-label=${t("draft.progress")}></progress>`}
    </div>
    <div class="row"><${Buttons} video=${video} name=${name} /></div>
  </li>`;
}

function Stage({ video }) {
  const { state, done_in: left } = video.minisora;
  if (state === "failed") return html`<span class="wrong" dir="auto">${sentence(video.error.message)}</span>`;
  const time = left == null || left < 0.5 ? "" : ` · ${t("draft.left", { n: duration(left) })}`;
  return state === "running" ? html`<${Progress} video=${video} />${time}` : t(`state.${state}`) + time;
}

function Buttons({ video, name }) {
  const { id, minisora: { state } } = video;
  const button = (label, onClick) => html`<button class="quiet" aria-label=${t("queue.of", { what: t(label), prompt: name })} onClick=${onClick}>${t(label)}</button>`;
  const copy = button("queue.copy", () => inMake(video, false));
  if (state === "running") return html`${copy}${button("cancel", () => act(id, "cancel"))}`;
  if (state === "failed" || state === "cancelled") return html`${button("queue.retry", () => act(id, "retry"))}${copy}${button("queue.forget", () => forget(id))}`;
  return html`${button(state === "paused" ? "queue.resume" : "queue.pause", () => act(id, state === "paused" ? "resume" : "pause"))}
    ${button("queue.edit", () => inMake(video, true))}${copy}${button("cancel", () => act(id, "cancel"))}`;
}
