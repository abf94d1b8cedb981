/** Two items side by side, frame by frame: one slider moves both. */
import { useCell } from "../cell.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { Icon } from "../icons.js";
import { duration, moment, number, t } from "../language.js";
import { content, items, loadItem } from "../store.js";
import { did, titleOf } from "../titles.js";

const LETTERS = ["A", "B"];
const NEAR = 0.04; // seconds that two may be apart while they play

export function Compare({ one, other }) {
  const known = useCell(items), [gone, setGone] = useState(false);
  useEffect(() => { Promise.all([loadItem(one), loadItem(other)]).catch(() => setGone(true)); }, []);
  const pair = [known.get(one), known.get(other)];
  if (gone) return html`<div class="soon"><h2>${t("item.gone")}</h2><p><a class="button" href="#library">${t("nav.library")}</a></p></div>`;
  return pair.every(Boolean) ? html`<${Both} pair=${pair} />` : html`<p class="loading">${t("loading")}</p>`;
}

function Both({ pair }) {
  const [frame, setFrame] = useState(0), [plays, setPlays] = useState(false), films = [useRef(), useRef()];
  const now = useRef(0); // the frame, before it is drawn: keys may come faster
  const rate = Math.max(...pair.map(({ fps }) => fps)), seconds = Math.max(...pair.map((item) => item.seconds));
  const last = Math.max(0, Math.round(seconds * rate) - 1);
  const videos = () => films.map(({ current }) => current).filter((each) => each instanceof HTMLVideoElement);
  const show = (to) => { now.current = to; setFrame(to); };
  const seek = (next) => {
    const to = Math.min(last, Math.max(0, next));
    videos().forEach((each) => { each.pause(); each.currentTime = Math.min((to + 0.5) / rate, Math.max(0, each.duration - 0.5 / rate) || 0); });
    setPlays(false);
    show(to);
  };
  useEffect(() => {
    if (!plays) return undefined;
    const all = videos(), longest = all.reduce((a, b) => (b.duration > a.duration ? b : a), all[0]);
    if (!longest) { setPlays(false); return undefined; }
    if (longest.currentTime >= longest.duration - 1 / rate) all.forEach((each) => { each.currentTime = 0; });
    all.forEach((each) => each.play());
    let due = requestAnimationFrame(function step() {
      const time = longest.currentTime;
      all.filter((each) => each !== longest && each.duration > time && Math.abs(each.currentTime - time) > NEAR).forEach((each) => { each.currentTime = time; });
      show(Math.min(last, Math.floor(time * rate)));
      if (longest.ended) { all.forEach((each) => { each.currentTime = 0; each.play(); }); }
      due = requestAnimationFrame(step);
    });
    return () => { cancelAnimationFrame(due); all.forEach((each) => each.pause()); };
  }, [plays]);
  const press = (event) => {
    const next = { ArrowLeft: now.current - 1, ArrowRight: now.current + 1, Home: 0, End: last }[event.key];
    if (event.key === " " && !event.target.closest("button, a")) setPlays(!plays);
    else if (next !== undefined) seek(next);
    else return;
    event.preventDefault();
  };
  useEffect(() => {
    const heard = (event) => { if (!event.target.closest("dialog") && !event.ctrlKey && !event.metaKey && !event.altKey) press(event); };
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  });
  const at = t("compare.frame", { n: frame + 1, all: last + 1, s: moment(frame / rate) });
  return html`<section class="compare">
    <h1 class="hidden">${t("library.compare")}</h1>
    <p class="back"><a class="quiet" href="#library">‹ ${t("nav.library")}</a></p>
    <div class="pair">${pair.map((item, n) => html`<figure key=${n}>
      <div class="screen" style=${{ aspectRatio: `${item.width} / ${item.height}` }}>${item.type.startsWith("video/")
        ? html`<video ref=${films[n]} src=${content(item.id)} muted playsinline preload="auto" aria-label=${titleOf(item)}></video>`
        : html`<img ref=${films[n]} src=${content(item.id)} alt=${titleOf(item)} />`}
        ${isShorter(item, pair[1 - n]) && (frame + 0.5) / rate > item.seconds && html`<p class="past">${t("compare.past", { s: duration(item.seconds) })}</p>`}</div>
      <figcaption><b class="badge">${LETTERS[n]}</b><a href="#library/${item.id}" dir="auto">${titleOf(item)}</a>
        <span class="small">${factsOf(item, pair[1 - n]).join(" · ")}</span></figcaption>
    </figure>`)}</div>
    <div class="row player">
      <button class="icon" aria-label=${t(plays ? "compare.pause" : "compare.play")} onClick=${() => setPlays(!plays)}><${Icon} name=${plays ? "pause" : "play"} /></button>
      <input type="range" min="0" max=${last} value=${frame} aria-label=${t("compare.slider")} aria-valuetext=${at} onInput=${(event) => seek(Number(event.target.value))} />
      <span class="small moment">${at}</span>
      <a class="quiet" href="#library/compare/${pair[1].id}/${pair[0].id}">${t("compare.swap")}</a>
    </div>
    <p class="small">${pair.map((item, n) => isShorter(item, pair[1 - n]) && `${t("compare.shorter", { name: LETTERS[n], s: duration(item.seconds) })} `)}${t("compare.keys")}</p>
  </section>`;
}

const isShorter = (item, other) => item.num_frames > 1 && item.seconds < other.seconds - 0.5 / other.fps;

/** What an item is next to the other, its length and size. */
function factsOf(item, other) {
  const role = other.parents.includes(item.id) ? t("compare.original") : did(item);
  const moving = item.num_frames > 1 ? [duration(item.seconds), t("item.frames", { n: number(item.num_frames) }), t("item.fps", { n: number(item.fps) })] : [];
  return [role, ...moving, `${item.width} × ${item.height}`];
}
