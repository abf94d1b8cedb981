/** Clips and pictures: slots to fill, files that are dropped or picked, items of the library. */
import { Failure, get, upload } from "../api.js";
import { cell, useCell } from "../cell.js";
import { Dialog } from "../dialog.js";
import { html, useEffect, useRef, useState } from "../html.js";
import { Icon } from "../icons.js";
import { duration, fileSize, t } from "../language.js";
import { content, items, putItem, server } from "../store.js";
import { failed, say, unheard } from "../toasts.js";
import { bringBack, told } from "./back.js";
import { change, form, isPicture, place, slotOf, slotsOf } from "./form.js";

const PAGE = 60; // items of the library at a time
export const sending = cell([]); // files on their way: { id, name, share, stop }

/** Keep a file in the library; returns its item, or null if it was refused, which is said. */
export async function keep(file) {
  const most = server.value.me.bounds.upload.size_bytes;
  if (file.size > most) {
    say(t("file.large", { name: file.name, n: fileSize(most) }), { kind: "error" });
    return null;
  }
  const control = new AbortController(), entry = { id: Symbol(file.name), name: file.name, share: 0, stop: () => control.abort() };
  const put = (values) => sending.set((before) => before.map((each) => (each.id === entry.id ? { ...each, ...values } : each)));
  sending.set((before) => [...before, entry]);
  try {
    const item = await upload(file, (share) => put({ share }), control.signal);
    putItem(item);
    return item;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const again = { label: t("file.again"), act: () => take([file]) };
    if (error.status) failed(error, again);
    else if (!control.signal.aborted) say(t("file.unsent", { name: file.name }), { kind: "error", action: again });
    return null;
  } finally {
    sending.set((before) => before.filter((each) => each.id !== entry.id));
  }
}

/** Files from outside: settings of our own videos go into the form, others into slots. */
export async function take(files, { slot = null, onItem = null } = {}) {
  for (const file of files) {
    const item = await keep(file);
    if (!item) continue;
    if (onItem) onItem(item);
    else if (!slot && item.request) await settingsOf(item);
    else {
      place(item, slot);
      if (item.unread && !slot) say(`${item.unread} ${t("file.unread")}`, { kind: "error" });
    }
  }
}

/** Bring the settings of a file of ours into the form. */
async function settingsOf(item) {
  const before = form.value, { verb, request, model } = item.request;
  const lacking = await bringBack(verb, request, model);
  const instead = () => { form.set(before); place(item); };
  told(t("file.settings", { name: item.name }), lacking, { label: t("file.instead"), act: instead });
}

/** Offer to show the settings of a file of ours that was brought into the library. */
export function offer(item) {
  if (!item.request) return;
  const show = () => { location.hash = "make"; settingsOf(item); };
  say(t("file.ours", { name: item.name }), { action: { label: t("file.ours.show"), act: show } });
}

/** Slots of the chosen verb. */
export function Slots({ form: one }) {
  const slots = slotsOf(one.verb).filter(({ name }) => name !== "preview" || one.media.preview);
  return slots.length > 0 && html`<div class="slots">${slots.map((each) => html`<${Slot} key=${each.name} slot=${each} medium=${one.media[each.name]} media=${one.media} />`)}</div>`;
}

function Slot({ slot: { name, needed, picture, either }, medium, media }) {
  const [picking, setPicking] = useState(false), [Editor, setEditor] = useState(null), [over, setOver] = useState(false), input = useRef();
  const files = (list) => take([...list].slice(0, 1), { slot: name });
  const drop = (event) => {
    event.preventDefault();
    event.stopPropagation();
    setOver(false);
    document.dispatchEvent(new Event("minisora-dropped"));
    files(event.dataTransfer.files);
  };
  const label = t(`slot.${name}`);
  const masked = (item) => {
    const { box, colour, ...fields } = form.value.fields; // one of the three says the region
    change({ media: { ...media, mask: slotOf(item) }, fields });
    setEditor(null);
  };
  return html`<div class="slot ${over ? "over" : ""} ${medium?.id ? "filled" : ""}" role="group" aria-label=${label} data-slot=${name}
    onDragOver=${(event) => { event.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)} onDrop=${drop}>
    ${medium?.id ? html`<img src=${content(medium.id, "thumbnail")} alt="" width=${medium.width} height=${medium.height} />` : html`<span class="empty"><${Icon} name=${name === "mask" ? "mask" : picture ? "picture" : "film"} /></span>`}
    <div>
      <strong>${label}</strong>${!needed && !medium?.id && html` <span class="optional">${t("slot.optional")}</span>`}
      ${medium?.id ? html`<span class="small" dir="auto">${medium.name}</span>
          <span class="small">${medium.width} × ${medium.height}${medium.frames > 1 ? ` · ${duration(medium.seconds)}` : ""}</span>`
        : html`<span class="small">${medium?.name ? t("slot.again", { name: medium.name }) : t(either ? "slot.drop.either" : picture ? "slot.drop.picture" : "slot.drop.clip")}</span>`}
      <div class="row">
        ${name === "mask" && media.clip?.id && html`<button class="quiet strong" onClick=${() => import("./mask.js").then(({ MaskEditor }) => setEditor(() => MaskEditor), unheard)}><${Icon} name="pencil" />${t("mask.draw")}</button>`}
        <button class="quiet" onClick=${() => input.current.click()}><${Icon} name="upload" />${t("slot.file")}</button>
        <button class="quiet" onClick=${() => setPicking(true)}>${t("slot.library")}</button>
        ${medium && html`<button class="quiet" onClick=${() => change({ media: { ...media, [name]: undefined } })}>${t("slot.remove")}</button>`}
      </div>
    </div>
    <input ref=${input} type="file" hidden accept=${accepted(picture, either)} aria-label=${label}
      onChange=${(event) => { files(event.target.files); event.target.value = ""; }} />
  </div>
    ${Editor && html`<${Editor} clip=${media.clip} mask=${medium} onClose=${() => setEditor(null)} onMask=${masked} />`}
    ${picking && html`<${Picker} picture=${picture} either=${either} onClose=${() => setPicking(false)}
      onPick=${(item) => { place(item, name); setPicking(false); }} />`}`;
}

const accepted = (picture, either) => (either ? "image/*,video/*" : picture ? "image/*" : "video/*,image/gif");

/** Choose an item of the library, or a file. either: pictures and clips */
export function Picker({ picture, either = false, onPick, onClose }) {
  const [found, setFound] = useState(null), [words, setWords] = useState(""), input = useRef();
  useCell(items);
  useEffect(() => {
    const control = new AbortController();
    get(`/v1/library?limit=${PAGE}&search=${encodeURIComponent(words)}`, { signal: control.signal })
      .then(({ data }) => { data.forEach(putItem); setFound(data); }, (error) => { if (!control.signal.aborted) failed(error); });
    return () => control.abort();
  }, [words]);
  const fitting = found?.filter((item) => either || isPicture(item) === picture) ?? [];
  return html`<${Dialog} wide title=${t(picture ? "pick.picture" : "pick.clip")} onClose=${onClose}>
    <div class="row">
      <input type="search" aria-label=${t("pick.search")} placeholder=${t("pick.search")} value=${words} onInput=${(event) => setWords(event.target.value)} />
      <button onClick=${() => input.current.click()}><${Icon} name="upload" />${t("slot.file")}</button>
      <input ref=${input} type="file" hidden accept=${accepted(picture, either)} aria-label=${t("slot.file")}
        onChange=${(event) => take([...event.target.files], { onItem: onPick })} />
    </div>
    <div class="picks">${fitting.map((item) => html`<button key=${item.id} class="pick" onClick=${() => onPick(item)}>
      <img src=${content(item.id, "thumbnail")} alt="" width=${item.width} height=${item.height} loading="lazy" /><span dir="auto">${item.name}</span></button>`)}
    </div>
    ${found && !fitting.length && html`<p class="small">${t(picture ? "pick.noPictures" : "pick.noClips")}</p>`}
  <//>`;
}

/** Files may be dropped anywhere; those on their way show how far they are. onItem: as of `take` */
export function Drop({ text = t("file.drop"), onItem = null }) {
  const [over, setOver] = useState(false), files = useCell(sending);
  useEffect(() => {
    const holds = (event) => event.dataTransfer?.types.includes("Files");
    const enter = (event) => { if (holds(event)) { event.preventDefault(); setOver(true); } };
    const leave = (event) => { if (!event.relatedTarget) setOver(false); };
    const drop = (event) => { if (holds(event)) { event.preventDefault(); setOver(false); take([...event.dataTransfer.files], { onItem }); } };
    const dropped = () => setOver(false);
    const all = { dragover: enter, dragleave: leave, drop, "minisora-dropped": dropped };
    Object.entries(all).forEach(([name, act]) => document.addEventListener(name, act));
    return () => Object.entries(all).forEach(([name, act]) => document.removeEventListener(name, act));
  }, []);
  return html`${over && html`<p class="dropping">${text}</p>`}
    ${files.length > 0 && html`<div class="sending" role="status">${files.map(({ name, share, stop }) => html`<p key=${name}>
      <span dir="auto">${name}</span><progress max="1" value=${share} aria-label=${name}></progress>
      <button class="text" onClick=${stop}>${t("cancel")}</button></p>`)}</div>`}`;
}
