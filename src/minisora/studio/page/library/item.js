/** One item of the library: it plays; how it was made, from what, and what can follow. */
import { get } from "../api.js";
import { useCell } from "../cell.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { Icon } from "../icons.js";
import { duration, fileSize, formatName, number, t, tOr } from "../language.js";
import { parsed } from "../make/schedule.js";
import { content, items, loadItem, server } from "../store.js";
import { calm } from "../theme.js";
import { titleOf } from "../titles.js";
import { failed } from "../toasts.js";
import { dateOf } from "../when.js";
import { NEXT, alter, compareWithAnother, continued, download, like, remove, settings } from "./actions.js";
import { Lineage } from "./lineage.js";

const OTHERS = ["mp4", "gif", "webm"]; // formats besides that of the file
const DRAWN = ["prompt", "typed", "typed_source", "board", "seed", "steps", "size"]; // fields of a request that stand elsewhere

export function ItemPage({ id }) {
  const known = useCell(items), item = known.get(id), [video, setVideo] = useState(null), [gone, setGone] = useState(false);
  const [sheet, setSheet] = useState(false), film = useRef();
  useEffect(() => {
    loadItem(id).catch(() => setGone(true));
    if (id.startsWith("video_")) get(`/v1/videos/${id}`).then(setVideo, () => {}); // the item stays without its settings
  }, [id]);
  if (gone) return html`<${Gone} />`;
  if (!item) return html`<p class="loading">${t("loading")}</p>`;
  const made = id.startsWith("video_");
  return html`<article class="item">
    <p class="back"><a class="quiet" href="#library">‹ ${t("nav.library")}</a></p>
    <div class="stage">
      <div class="screen" style=${{ aspectRatio: `${item.width} / ${item.height}` }}>
        ${sheet ? html`<img class="sheet" src="/v1/videos/${id}/content?variant=spritesheet" alt=${t("item.sheet.of", { name: titleOf(item) })} />` : html`<${Film} item=${item} film=${film} />`}
      </div>
      <div class="row">
        <${Downloads} item=${item} made=${made} film=${film} />
        ${made && item.num_frames > 1 && html`<button class="quiet" aria-pressed=${sheet} onClick=${() => setSheet(!sheet)}>${t("item.sheet")}</button>`}
        <button class="quiet" onClick=${() => compareWithAnother(id)}>${t("item.compare")}</button>
        <${Original} key=${id} item=${item} />
      </div>
      <${Lineage} item=${item} />
    </div>
    <div class="about">
      <${Title} item=${item} />
      <p class="small facts">${factsOf(item).join(" · ")}</p>
      ${video?.prompt && html`<${Words} video=${video} />`}
      <${Next} item=${item} />
      <${Tags} item=${item} />
      ${video && html`<${Settings} video=${video} />`}
      <div class="row"><button class="quiet" onClick=${() => { remove(item); location.hash = "library"; }}><${Icon} name="bin" />${t("item.delete")}</button></div>
    </div>
  </article>`;
}

function Gone() {
  return html`<div class="soon"><h2>${t("item.gone")}</h2><p>${t("item.gone.next")}</p><p><a class="button" href="#library">${t("nav.library")}</a></p></div>`;
}

function factsOf({ width, height, num_frames: frames, fps, seconds, size_bytes: size, created_at: created, is_upload: upload }) {
  const moving = frames > 1 ? [duration(seconds), t("item.fps", { n: number(fps) }), t("item.frames", { n: number(frames) })] : [];
  return [`${width} × ${height}`, ...moving, fileSize(size), t(upload ? "item.uploaded" : "item.made", { when: dateOf(created) })];
}

function Film({ item, film }) {
  if (!item.type.startsWith("video/")) return html`<img ref=${film} src=${content(item.id)} alt=${titleOf(item)} width=${item.width} height=${item.height} />`;
  return html`<video ref=${film} src=${content(item.id)} poster=${content(item.id, "thumbnail")} width=${item.width} height=${item.height}
    loop muted playsinline controls autoplay=${!calm.matches} aria-label=${titleOf(item)}></video>`;
}

/** Link to a comparison with what an item was made from, as long as that is here. */
function Original({ item }) {
  const [original, setOriginal] = useState(null);
  useEffect(() => { firstOf(item.parents).then(setOriginal); }, []);
  return original && html`<a class="quiet" href="#library/compare/${original}/${item.id}">${t("item.compare.original")}</a>`;
}

async function firstOf(ids) {
  for (const id of ids) {
    try {
      return (await loadItem(id)).id;
    } catch { /* it was deleted: the next one may be there */ }
  }
  return null;
}

/** What was asked for, in words: its parts, each with its time. */
function Words({ video: { prompt, minisora: { request: { board } } } }) {
  let start = 0;
  const shots = board?.shots.map(({ prompt: text, seconds }) => ({ start: (start += seconds) - seconds, text }));
  const parts = shots ?? parsed(prompt);
  return html`<div class="words">${parts.map(({ start: from, text }) => html`<p key=${from} dir="auto">
    ${parts.length > 1 && html`<span class="small">${duration(from)}</span> `}${text}</p>`)}</div>`;
}

/** The file, also in other formats, the frame that is shown, and the contact sheet. */
function Downloads({ item, made, film }) {
  const [busy, setBusy] = useState(null); // format that is being converted
  const take = async (format, at) => {
    setBusy(format);
    await download(item, format, at);
    setBusy(null);
  };
  const frame = () => take("png", Math.min(film.current.currentTime, item.seconds - 0.5 / item.fps));
  const as = (format, label, act) => html`<button key=${format} class="quiet" disabled=${busy !== null} aria-busy=${busy === format} onClick=${act}>
    ${busy === format ? t("item.as.busy") : label}</button>`;
  return html`<a class="button" href="${content(item.id)}&download=true" download><${Icon} name="download" />${t("item.download")}</a>
    ${item.num_frames > 1 && OTHERS.filter((each) => !item.type.endsWith(`/${each}`)).map((each) => as(each, t("item.as", { format: formatName(each) }), () => take(each)))}
    ${item.type.startsWith("video/") && as("png", t("item.frame"), frame)}
    ${made && item.num_frames > 1 && html`<a class="quiet" href="/v1/videos/${item.id}/content?variant=spritesheet&download=true" download>${t("item.sheet.download")}</a>`}`;
}

function Title({ item }) {
  const title = titleOf(item), [typed, setTyped] = useState(null); // null: nothing since it was last kept
  const put = (event) => {
    const name = event.target.value.replace(/\s+/g, " ").trim();
    if (name && name !== title) alter(item.id, () => ({ name }));
    setTyped(null);
  };
  const press = (event) => { if (event.key === "Enter" && !event.isComposing) { event.preventDefault(); event.target.blur(); } };
  return html`<div class="title"><h1 class="hidden">${title}</h1>
    <textarea class="name" rows="1" aria-label=${t("item.name")} value=${typed ?? title} maxlength="200" dir="auto" onInput=${({ target }) => setTyped(target.value)} onChange=${put} onKeyDown=${press}></textarea>
    <button class="icon" aria-pressed=${item.favourite} aria-label=${t("library.favourite", { name: title })} onClick=${() => like(item.id)}>
      <${Icon} name=${item.favourite ? "hearted" : "heart"} /></button>
  </div>`;
}

function Next({ item }) {
  const choices = item.num_frames > 1 ? NEXT : ["animate"];
  return html`<section aria-label=${t("draft.go")}><h2>${t("draft.go")}</h2>
    <div class="next">${choices.map((verb) => html`<button key=${verb} class="chip" onClick=${() => continued(verb, item)}>${t(`go.${verb}`)}</button>`)}</div>
  </section>`;
}

function Tags({ item }) {
  const add = (event) => {
    event.preventDefault();
    const field = event.target.elements.tag, tag = field.value.trim();
    if (tag) alter(item.id, ({ tags }) => ({ tags: [...new Set([...tags, tag])] }));
    field.value = "";
  };
  return html`<section aria-label=${t("item.tags")}><h2>${t("item.tags")}</h2>
    <form class="row" onSubmit=${add}>
      ${item.tags.map((tag) => html`<span key=${tag} class="tag" dir="auto">${tag}
        <button type="button" aria-label=${t("item.tag.remove", { tag })} onClick=${() => alter(item.id, ({ tags }) => ({ tags: tags.filter((each) => each !== tag) }))}>×</button></span>`)}
      <input name="tag" aria-label=${t("item.tag.add")} placeholder=${t("item.tag.add")} maxlength="50" dir="auto" />
    </form>
  </section>`;
}

/** The request as it was made, which can be brought back. */
function Settings({ video }) {
  const { verb, request, made, notes, provider } = video.minisora;
  const { properties } = server.value.verbs[verb].schema, isUsual = (name, value) => value == null || value === "" || value === properties[name]?.default;
  const model = server.value.models.find(({ id }) => id === made?.model)?.minisora ?? {};
  const fields = Object.entries(request).filter(([name, value]) => !isUsual(name, value) && !DRAWN.includes(name));
  const given = fields.filter(([, value]) => isMedium(value)), changed = fields.filter(([, value]) => !isMedium(value));
  const row = ([name, value]) => html`<div key=${name}><dt>${tOr(`field.${name}`, tOr(`slot.${name}`, name.replaceAll("_", " ")))}</dt><dd dir="auto"><${Value} value=${value} /></dd></div>`;
  return html`<section aria-label=${t("item.settings")}><h2>${t("item.settings")}</h2>
    <dl class="settings">
      <div><dt>${t("item.verb")}</dt><dd>${t(`verb.${verb}`)}</dd></div>
      ${given.map(row)}
      ${request.seed != null && html`<div><dt>${t("field.model")}</dt><dd>${made?.model ?? video.model}</dd></div>`}
      ${provider && html`<div><dt>${t("item.provider")}</dt><dd dir="auto">${provider.alias}</dd></div>`}
      ${request.seed != null && html`<div><dt>${t("field.seed")}</dt><dd>${String(request.seed)}</dd></div>`}
      <${Steps} own=${request.steps} usual=${model.steps} />
      ${made && html`<div><dt>${t("field.size")}</dt><dd>${made.width} × ${made.height}</dd></div>`}
    </dl>
    ${changed.length > 0 && html`<h3>${t("item.changed")}</h3><dl class="settings">${changed.map(row)}</dl>`}
    ${notes.length > 0 && html`<ul class="notes">${notes.map((each) => html`<li key=${each} dir="auto">${each}</li>`)}</ul>`}
    <button class="quiet" onClick=${() => settings(video).catch(failed)}>${t("item.settings.use")}</button>
  </section>`;
}

/** own: null where the model's own number was taken; an older one may have had another */
function Steps({ own, usual }) {
  if (own == null && usual == null) return null;
  const other = own != null && usual != null && own !== usual;
  return html`<div><dt>${t("field.steps")}</dt><dd>${number(own ?? usual)}${other && html` <span class="small">${t("item.usual", { n: number(usual) })}</span>`}</dd></div>`;
}

const isMedium = (value) => typeof value === "object" && !Array.isArray(value) && "name" in value;

function Value({ value }) {
  if (isMedium(value)) {
    return value.id ? html`<a href="#library/${value.id}" dir="auto">${value.name}</a>` : value.name;
  }
  if (typeof value === "number") return number(value, 3);
  if (typeof value === "boolean") return t(value ? "yes" : "field.none");
  return typeof value === "string" ? value : JSON.stringify(value);
}
