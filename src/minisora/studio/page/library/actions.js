/** What can be done with an item of the library. */
import { Failure, call, get, post } from "../api.js";
import { cell } from "../cell.js";
import { t } from "../language.js";
import { bringBack, told, usedBy } from "../make/back.js";
import { form, goOn } from "../make/form.js";
import { altered, altering, content, dropJob, items, putItem, putJob } from "../store.js";
import { titleOf } from "../titles.js";
import { failed, say } from "../toasts.js";
import { found, insert, load, takeOut } from "./find.js";

export const NEXT = ["extend", "loop", "connect", "edit", "inpaint", "outpaint", "interpolate", "reverse"];
const turns = new Map(); // number of the last change of each item
let sending = Promise.resolve(); // until the last change is there
export const chosen = cell([]); // ids of at most two items, to be compared

/** Choose an item, or no longer; a third one takes the place of the second. */
export function toggle(id) {
  chosen.set((before) => (before.includes(id) ? before.filter((each) => each !== id) : [...before.slice(0, 1), id]));
}

/** Show the library, with an item chosen to be compared with one more. */
export function compareWithAnother(id) {
  chosen.set([id]);
  location.hash = "library";
}

/** Change an item, as it is known now; it is shown at once, and sent after the changes before. */
export function alter(id, change) {
  const before = items.value.get(id), changes = change(before), turn = (turns.get(id) ?? 0) + 1;
  const put = (item) => { if (turns.get(id) === turn) { putItem(item); altered(id); } }; // else a later change is shown
  turns.set(id, turn);
  altering(id);
  putItem({ ...before, ...changes });
  sending = sending.then(() => call("PATCH", `/v1/library/${id}`, { body: changes })).then(put, (error) => { put(before); failed(error); });
}

export const like = (id) => alter(id, ({ favourite }) => ({ favourite: !favourite }));

/** Download an item in another format. at: seconds, of the frame that a png is of */
export async function download({ id }, format, at) {
  const path = `${content(id)}&format=${format}${at === undefined ? "" : `&at=${at.toFixed(3)}`}`;
  try {
    await get(path, { range: "bytes=0-0" }); // the answer comes when it is converted, or says why it is not
  } catch (error) {
    failed(error);
    return;
  }
  Object.assign(document.createElement("a"), { href: `${path}&download=true`, download: "" }).click();
}

/** Delete an item; a message offers to undo it. */
export async function remove(item) {
  const place = found.value.ids.indexOf(item.id); // the list may come anew without it before the answer does
  try {
    await call("DELETE", `/v1/library/${item.id}`);
  } catch (error) {
    failed(error);
    return;
  }
  takeOut(item.id);
  dropJob(item.id);
  chosen.set((before) => before.filter((id) => id !== item.id));
  say(t("library.deleted", { name: titleOf(item) }), { action: { label: t("undo"), act: () => restore(item, place) } });
}

async function restore({ id }, place) {
  try {
    insert(await post(`/v1/library/${id}/restore`, {}), place);
    if (place < 0) load(true); // it was deleted before the list was there, which knows its place
    if (id.startsWith("video_")) putJob(await get(`/v1/videos/${id}`));
  } catch (error) {
    failed(error);
  }
}

/** Make is filled, and shown; what was there can be had back. fill: may return what it lacks */
async function filled(fill) {
  const before = form.value;
  let lacking;
  try {
    lacking = await fill() ?? [];
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    failed(error);
    return;
  }
  location.hash = "make";
  told(t("library.filled"), lacking, { label: t("undo"), act: () => form.set(before) });
}

export const continued = (verb, item) => filled(() => goOn(verb, item.id));
export const settings = (video) => filled(() => bringBack(video.minisora.verb, video.minisora.request, usedBy(video)));
