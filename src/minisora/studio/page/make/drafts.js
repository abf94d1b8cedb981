/** Drafts: what was asked for, while it is made and after; of each, what can be done next. */
import { Failure, post } from "../api.js";
import { cell, useCell } from "../cell.js";
import { html, useRef, useState } from "../html.js";
import { Icon } from "../icons.js";
import { duration, t } from "../language.js";
import { again, outbox, takeBack } from "../outbox.js";
import { content, isFinal, jobs, putJob } from "../store.js";
import { calm } from "../theme.js";
import { jobTitle } from "../titles.js";
import { failed, sentence } from "../toasts.js";
import { bringBack, told, usedBy } from "./back.js";
import { form, goOn } from "./form.js";
import { NoisyPicture } from "./noise.js";
import { parsed } from "./schedule.js";
import { Progress } from "./watched.js";

const MOST = 24; // drafts on the page; the library has all
const NEXT = ["extend", "loop", "edit", "connect", "interpolate", "reverse", "inpaint", "outpaint"];
const ending = cell(new Set()); // jobs that were told to stop, before the server has answered

export function Drafts({ onWatch }) {
  const waiting = useCell(outbox), known = useCell(jobs);
  const videos = [...known.values()].reverse().sort((a, b) => b.video.created_at - a.video.created_at).slice(0, MOST); // of one second, as they came
  const groups = grouped(videos);
  return html`<section class="drafts" aria-label=${t("drafts")}>
    <h2>${t("drafts")}</h2>
    ${!waiting.length && !videos.length && html`<p class="small">${t("drafts.empty")}</p>`}
    <div class="cards">${waiting.toReversed().map((each) => html`<${Waiting} key=${each.key} entry=${each} />`)}</div>
    ${groups.map(({ key, prompt, words, verb, drafts }) => html`<div class="group" key=${key}>
      <h3><span class="verb">${t(`verb.${verb}`)}</span> <span dir="auto" title=${prompt}>${words}</span></h3>
      <div class="cards">${drafts.map((each) => html`<${Draft} key=${each.video.id} draft=${each} onWatch=${onWatch} />`)}</div>
    </div>`)}
    ${known.size > MOST && html`<p class="small">${t("drafts.more", { n: MOST })} <a href="#library">${t("drafts.all")}</a></p>`}
  </section>`;
}

/** Drafts of one request, which differ in their seeds, stand together, where the newest of them would. */
function grouped(videos) {
  const groups = Map.groupBy(videos, ({ video: { minisora: { verb, request } } }) => JSON.stringify([verb, { ...request, seed: 0 }]));
  return [...groups].map(([key, drafts]) => ({ key, drafts, verb: drafts[0].video.minisora.verb, prompt: drafts[0].video.prompt ?? "", words: wordsOf(drafts[0].video) }));
}

/** A prompt as it was written; of several, what they say in order. */
function wordsOf(video) {
  const { prompt, minisora: { verb } } = video;
  return prompt && (verb === "storyboard" || parsed(prompt).length > 1) ? jobTitle(video) : prompt ?? "";
}

/** A request that the server does not have yet. */
function Waiting({ entry }) {
  return html`<article class="draft" aria-label=${t("draft.sending")}>
    <div class="screen"><${NoisyPicture} level=${1} source=${null} moves=${false} /></div>
    <p class="small">${t("draft.sending")}</p>
    <button class="quiet" onClick=${() => takeBack(entry.key)}>${t("cancel")}</button>
  </article>`;
}

function Draft({ draft: { video, preview }, onWatch }) {
  const about = video.minisora, { state } = about;
  const [width, height] = video.size.split("x").map(Number);
  return html`<article class="draft ${state}" data-state=${state} data-id=${video.id} aria-label=${t(`state.${state}`)}>
    <div class="screen" style=${{ aspectRatio: width && height ? `${width} / ${height}` : "1" }}>
      ${state === "done" ? html`<${Screen} video=${video} />`
        : html`<${NoisyPicture} level=${state === "running" ? 1 - video.progress / 100 : 1} source=${preview} moves=${state === "running"} />`}
      ${state === "running" && html`<progress max="100" value=${video.progress} aria-label=${t("draft.progress")}></progress>`}
    </div>
    <p class="small facts"><${Stage} video=${video} /></p>
    ${isFinal(video) ? html`<${After} video=${video} />` : html`<${Before} video=${video} onWatch=${onWatch} />`}
  </article>`;
}

/** What was made, as a link to its page. */
function Screen({ video }) {
  const { id, minisora: { verb, format, made } } = video;
  const film = useRef(), [plays, setPlays] = useState(false);
  const moves = verb !== "image" && !["gif", "png"].includes(format), size = { width: made.width, height: made.height };
  const turn = () => (plays ? film.current.pause() : film.current.play());
  return html`<a href="#library/${id}" aria-label=${t("draft.open", { prompt: jobTitle(video) })}>${moves
    ? html`<video ref=${film} src=${content(id)} poster=${content(id, "thumbnail")} ...${size} loop muted playsinline autoplay=${!calm.matches}
        onPlay=${() => setPlays(true)} onPause=${() => setPlays(false)}></video>`
    : html`<img src=${content(id)} alt="" ...${size} />`}</a>
    ${moves && html`<button class="icon turn" aria-label=${t(plays ? "draft.pause" : "draft.play")} onClick=${turn}><${Icon} name=${plays ? "pause" : "play"} /></button>`}`;
}

function Stage({ video }) {
  const { state, place, done_in: left, request } = video.minisora;
  const seed = request.seed == null ? "" : t("draft.seed", { n: request.seed });
  const time = left == null || left < 0.5 ? "" : t("draft.left", { n: duration(left) });
  if (state === "waiting") return [place == null ? t("state.waiting") : t("draft.place", { n: place }), time, seed].filter(Boolean).join(" · ");
  if (state === "running") return html`<${Progress} video=${video} />${time && ` · ${time}`}`;
  if (state === "failed") return html`<span class="wrong">${sentence(video.error.message)}</span>`;
  return [t(`state.${state}`), state === "done" && video.minisora.made.num_frames > 1 ? duration(video.minisora.made.seconds) : "", seed].filter(Boolean).join(" · ");
}

function Before({ video, onWatch }) {
  const stopped = useCell(ending).has(video.id);
  const cancel = async () => {
    ending.set((before) => new Set(before).add(video.id));
    try {
      putJob(await post(`/v1/videos/${video.id}/cancel`, {}));
    } catch (error) {
      ending.set((before) => new Set([...before].filter((id) => id !== video.id)));
      if (error instanceof Failure && error.code !== "wrong_state") failed(error);
    }
  };
  return html`<div class="row">
    <button class="quiet" aria-disabled=${stopped} onClick=${() => stopped || cancel()}>${t(stopped ? "cancelling" : "cancel")}</button>
    <button class="quiet" onClick=${() => shownInForm(video).then(() => onWatch(video.id))}>${t("draft.watch")}</button>
  </div>`;
}

/** Bring a draft's request into the form; what was there can be had back. */
async function shownInForm(video) {
  const before = form.value, { verb, request } = video.minisora;
  const lacking = await bringBack(verb, request, usedBy(video));
  told(t("draft.shown"), lacking, { label: t("undo"), act: () => form.set(before) });
}

function After({ video }) {
  const { state, verb, request, notes } = video.minisora, [open, setOpen] = useState(false);
  const settings = () => shownInForm(video).then(() => scrollTo({ top: 0, behavior: calm.matches ? "auto" : "smooth" }));
  const next = (name) => { setOpen(false); goOn(name, video.id).catch(failed); scrollTo({ top: 0 }); };
  const choices = verb === "image" ? ["animate"] : NEXT, original = (request.clip ?? request.preview)?.id;
  return html`<div class="row">
      ${state === "done" ? html`<button class="quiet strong" aria-expanded=${open} onClick=${() => setOpen(!open)}>${t("draft.go")}</button>`
        : html`<button class="quiet" onClick=${() => again(video.id)}>${t("draft.again")}</button>`}
      ${state === "done" && html`<a class="quiet" href="${content(video.id)}&download=true" download aria-label=${t("draft.download")} title=${t("draft.download")}><${Icon} name="download" /></a>`}
      <button class="quiet" onClick=${settings}>${t("draft.settings")}</button>
      ${state === "done" && original && html`<a class="quiet" href="#library/compare/${original}/${video.id}">${t("item.compare.original")}</a>`}
    </div>
    ${open && html`<div class="next">${choices.map((each) => html`<button key=${each} class="chip" onClick=${() => next(each)}>${t(`go.${each}`)}</button>`)}
      ${request.small && html`<button class="chip" onClick=${() => next("generate")}>${t("go.generate")}</button>`}</div>`}
    ${notes.length > 0 && html`<details class="notes"><summary>${t("draft.notes", { n: notes.length })}</summary>
      <ul>${notes.map((each) => html`<li key=${each} dir="auto">${each}</li>`)}</ul></details>`}`;
}
