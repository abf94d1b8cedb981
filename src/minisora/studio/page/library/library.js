/**
 * The library: all that was made or brought here.
 *
 *   find.js     what is wanted and found; grid.js: thousands of cards
 *   item.js     one item; actions.js: what can be done with it; lineage.js: what it came from
 *   compare.js  two items side by side
 */
import { useCell } from "../cell.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../html.js";
import { Icon } from "../icons.js";
import { duration, t } from "../language.js";
import { late } from "../late.js";
import { Drop, offer, take } from "../make/media.js";
import { content, isFinal, items, jobs } from "../store.js";
import { calm } from "../theme.js";
import { did, titleOf } from "../titles.js";
import { briefly, dateOf } from "../when.js";
import { chosen, like, toggle } from "./actions.js";
import { found, insert, isAll, load, loadNew, tagsOf, want, wantAll, wanted } from "./find.js";
import { Grid } from "./grid.js";

const Compare = late(() => import("./compare.js"), "Compare"), ItemPage = late(() => import("./item.js"), "ItemPage");
const SEARCH_MS = 200; // without a letter, before it is searched
const MOST_TAGS = 12; // that are offered
let scrolled = 0; // where the list was left

/** path: [] for the list, [id] for an item, ["compare", id, id] */
export function Library({ path: [what, one, other] }) {
  if (what === "compare") return html`<${Compare} key=${`${one} ${other}`} one=${one} other=${other} />`;
  if (what) return html`<${ItemPage} key=${what} id=${what} />`;
  return html`<${List} />`;
}

const added = (item) => { insert(item); offer(item); };

function List() {
  const { ids, more } = useCell(found), asked = useCell(wanted), known = useCell(jobs);
  const finished = [...known.values()].filter(({ video }) => isFinal(video)).length, loaded = useRef(false);
  useCell(items);
  useEffect(() => {
    if (!loaded.current) { loaded.current = true; load(true); return; }
    loadNew().catch(() => {}); // they come with the next change
  }, [finished]);
  useLayoutEffect(() => {
    scrollTo(0, scrolled);
    const keep = () => { scrolled = scrollY; };
    addEventListener("scroll", keep, { passive: true });
    return () => removeEventListener("scroll", keep);
  }, []);
  const empty = ids && !ids.length && !more;
  return html`<div class="library">
    <h1 class="hidden">${t("nav.library")}</h1>
    <${Filters} asked=${asked} />
    <${Chosen} />
    ${empty ? html`<${Empty} asked=${asked} />` : html`<${Grid} ids=${ids} Card=${Card} label=${t("nav.library")} onEnd=${() => more && load()} />`}
    <${Drop} text=${t("library.drop")} onItem=${added} />
  </div>`;
}

function Filters({ asked }) {
  const [words, setWords] = useState(asked.search), input = useRef();
  useEffect(() => {
    if (words === wanted.value.search) return undefined;
    const timer = setTimeout(() => want({ search: words }), SEARCH_MS);
    return () => clearTimeout(timer);
  }, [words]);
  useEffect(() => setWords(asked.search), [asked.search]);
  const offered = tagsOf().filter((tag) => tag !== asked.tag).slice(0, MOST_TAGS);
  return html`<div class="filters" role="search">
    <input type="search" aria-label=${t("library.search")} placeholder=${t("library.search")} value=${words} onInput=${(event) => setWords(event.target.value)} />
    <button class="chip" aria-pressed=${asked.favourite} onClick=${() => want({ favourite: !asked.favourite })}><${Icon} name="heart" />${t("library.favourites")}</button>
    ${asked.tag && html`<button class="chip" aria-pressed="true" dir="auto" onClick=${() => want({ tag: "" })}>${asked.tag}</button>`}
    ${offered.map((tag) => html`<button key=${tag} class="chip" aria-pressed="false" dir="auto" onClick=${() => want({ tag })}>${tag}</button>`)}
    <button class="add" onClick=${() => input.current.click()}><${Icon} name="upload" />${t("library.add")}</button>
    <input ref=${input} type="file" hidden multiple accept="video/*,image/*" aria-label=${t("library.add")}
      onChange=${(event) => { take([...event.target.files], { onItem: added }); event.target.value = ""; }} />
  </div>`;
}

function Empty({ asked }) {
  return html`<div class="soon">
    <h2>${t(isAll(asked) ? "library.empty" : "library.none")}</h2>
    <p>${t(isAll(asked) ? "library.empty.next" : "library.none.next")}</p>
    <p>${isAll(asked) ? html`<a class="button" href="#make">${t("library.empty.make")}</a>`
      : html`<button onClick=${wantAll}>${t("library.none.all")}</button>`}</p>
  </div>`;
}

function Card({ id }) {
  const item = items.value.get(id), [plays, setPlays] = useState(false), marked = useCell(chosen).includes(id), title = titleOf(item);
  const moves = item.type.startsWith("video/") && !calm.matches;
  return html`<article class="card ${marked ? "chosen" : ""}" data-id=${id} onPointerEnter=${() => setPlays(moves)} onPointerLeave=${() => setPlays(false)}>
    <a href="#library/${id}" aria-label=${title} title=${title}>
      <span class="screen"><img src=${content(id, "thumbnail")} alt="" loading="lazy" decoding="async" />
        ${plays && html`<video src=${content(id)} muted loop autoplay playsinline aria-hidden="true"></video>`}</span>
      <span class="name" dir="auto">${title}</span>
    </a>
    <div class="facts small"><p>${[did(item), item.num_frames > 1 && duration(item.seconds)].filter(Boolean).join(" · ")}<br />
        <time title=${dateOf(item.created_at)}>${briefly(item.created_at)}</time></p>
      <button class="icon" aria-pressed=${marked} aria-label=${t("library.choose", { name: title })} title=${t("library.choose.short")} onClick=${() => toggle(id)}><${Icon} name=${marked ? "checked" : "check"} /></button>
      <button class="icon" aria-pressed=${item.favourite} aria-label=${t("library.favourite", { name: title })} title=${t("library.favourite.short")}
        onClick=${() => like(id)}><${Icon} name=${item.favourite ? "hearted" : "heart"} /></button></div>
  </article>`;
}

/** What is chosen, and what can be done with two. */
function Chosen() {
  const ids = useCell(chosen), known = useCell(items);
  if (!ids.length) return null;
  return html`<div class="choice" role="region" aria-label=${t("library.chosen")}>
    ${ids.map((id) => html`<img key=${id} src=${content(id, "thumbnail")} alt=${known.has(id) ? titleOf(known.get(id)) : ""} width="40" height="40" />`)}
    <span class="small" role="status">${ids.length < 2 && t("library.chosen.more")}</span>
    ${ids.length === 2 && html`<a class="button" href="#library/compare/${ids[0]}/${ids[1]}">${t("library.compare")}</a>`}
    <button class="quiet" onClick=${() => chosen.set([])}>${t("library.chosen.clear")}</button>
  </div>`;
}
