/** One item of the library: it plays; how it was made, from what, and what can follow. */
import { get } from "../api.js";
import { useCell } from "../cell.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { Icon } from "../icons.js";
import { duration, fileSize, formatName, language, number, t, tOr } from "../language.js";
import { content, items, loadItem, server } from "../store.js";
import { calm } from "../theme.js";
import { failed } from "../toasts.js";
import { NEXT, alter, continued, download, like, remove, settings, toggle } from "./actions.js";
import { Lineage } from "./lineage.js";

const OTHERS = ["mp4", "gif", "webm"]; // formats besides that of the file
const DRAWN = ["prompt", "typed", "board"]; // fields of a request that stand elsewhere

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
        ${sheet ? html`<img class="sheet" src="/v1/videos/${id}/content?variant=spritesheet" alt=${t("item.sheet.of", { name: item.name })} />` : html`<${Film} item=${item} film=${film} />`}
      </div>
      <div class="row">
        <${Downloads} item=${item} made=${made} film=${film} />
        ${made && item.num_frames > 1 && html`<button class="quiet" aria-pressed=${sheet} onClick=${() => setSheet(!sheet)}>${t("item.sheet")}</button>`}
        <button class="quiet" onClick=${() => { toggle(id); location.hash = "library"; }}>${t("item.compare")}</button>
      </div>
      <${Lineage} item=${item} />
    </div>
    <div class="about">
      <${Title} item=${item} />
      <p class="small facts">${factsOf(item).join(" · ")}</p>
      ${video?.prompt && html`<p class="words" dir="auto">${video.prompt}</p>`}
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
  const day = new Intl.DateTimeFormat(language.value, { dateStyle: "medium", timeStyle: "short" }).format(created * 1000);
  return [`${width} × ${height}`, ...moving, fileSize(size), t(upload ? "item.uploaded" : "item.made", { when: day })];
}

function Film({ item, film }) {
  if (!item.type.startsWith("video/")) return html`<img ref=${film} src=${content(item.id)} alt=${item.name} width=${item.width} height=${item.height} />`;
  return html`<video ref=${film} src=${content(item.id)} poster=${content(item.id, "thumbnail")} width=${item.width} height=${item.height}
    loop muted playsinline controls autoplay=${!calm.matches} aria-label=${item.name}></video>`;
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
  const put = (event) => {
    const name = event.target.value.trim();
    if (name && name !== item.name) alter(item.id, () => ({ name }));
    else event.target.value = item.name;
  };
  return html`<div class="title">
    <input class="name" aria-label=${t("item.name")} value=${item.name} maxlength="200" dir="auto" onChange=${put} />
    <button class="icon" aria-pressed=${item.favourite} aria-label=${t("library.favourite", { name: item.name })} onClick=${() => like(item.id)}>
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
  const fields = Object.entries(request).filter(([name, value]) => !isUsual(name, value) && !DRAWN.includes(name));
  return html`<section aria-label=${t("item.settings")}><h2>${t("item.settings")}</h2>
    <dl class="settings">
      <div><dt>${t("item.verb")}</dt><dd>${t(`verb.${verb}`)}</dd></div>
      <div><dt>${t("field.model")}</dt><dd>${made?.model ?? video.model}</dd></div>
      ${provider && html`<div><dt>${t("item.provider")}</dt><dd dir="auto">${provider.alias}</dd></div>`}
      ${fields.map(([name, value]) => html`<div key=${name}><dt>${tOr(`field.${name}`, tOr(`slot.${name}`, name.replaceAll("_", " ")))}</dt><dd dir="auto"><${Value} value=${value} /></dd></div>`)}
    </dl>
    ${notes.length > 0 && html`<ul class="notes">${notes.map((each) => html`<li key=${each} dir="auto">${each}</li>`)}</ul>`}
    <button class="quiet" onClick=${() => settings(video).catch(failed)}>${t("item.settings.use")}</button>
  </section>`;
}

function Value({ value }) {
  if (typeof value === "object" && !Array.isArray(value) && "name" in value) {
    return value.id ? html`<a href="#library/${value.id}" dir="auto">${value.name}</a>` : value.name;
  }
  if (typeof value === "number") return number(value, 3);
  if (typeof value === "boolean") return t(value ? "yes" : "field.none");
  return typeof value === "string" ? value : JSON.stringify(value);
}
