/** Which items are wanted, and those that were found: loaded in pages, the newest first. */
import { get } from "../api.js";
import { cell } from "../cell.js";
import { items, putItems } from "../store.js";
import { failed } from "../toasts.js";

const PAGE = 200; // items of a call
const ALL = { search: "", favourite: false, tag: "" };
export const wanted = cell(ALL);
export const found = cell({ ids: [], more: true }); // ids: null until the first page is there
export const isAll = (one) => !one.search.trim() && !one.favourite && !one.tag;
let loading = null; // control of the call that is on its way

const query = ({ search, favourite, tag }) => {
  const given = new URLSearchParams({ limit: PAGE, search });
  if (favourite) given.set("favourite", "true");
  if (tag) given.set("tag", tag);
  return given;
};

/** Want other items; what is shown stays until they are there. */
export function want(changes) {
  wanted.set((before) => ({ ...before, ...changes }));
  return load(true);
}

export const wantAll = () => want(ALL);

/** Load the first page, or the next. */
export async function load(anew = false) {
  if (loading && !anew) return;
  loading?.abort();
  const control = loading = new AbortController(), given = query(wanted.value), last = found.value.ids?.at(-1), asked = performance.now();
  if (!anew && last) given.set("after", last);
  try {
    const page = await get(`/v1/library?${given}`, { signal: control.signal });
    putItems(page.data, asked);
    const ids = page.data.map(({ id }) => id);
    found.set((before) => ({ ids: anew ? ids : [...before.ids, ...ids], more: page.has_more }));
  } catch (error) {
    if (!control.signal.aborted) failed(error);
  } finally {
    if (loading === control) loading = null;
  }
}

/** Bring in what is new: videos that were finished meanwhile. */
export async function loadNew() {
  const asked = performance.now(), page = await get(`/v1/library?${query(wanted.value)}`);
  putItems(page.data, asked);
  const fresh = page.data.map(({ id }) => id).filter((id) => !found.value.ids.includes(id));
  if (fresh.length) found.set((before) => ({ ...before, ids: [...fresh, ...before.ids] }));
}

/** Put an item at the front, or back at its place. */
export function insert(item, at = 0) {
  putItems([item]);
  const others = found.value.ids.filter((id) => id !== item.id);
  changed(others.toSpliced(Math.max(0, at), 0, item.id));
}

/** Take an item out. */
export const takeOut = (id) => changed(found.value.ids.filter((each) => each !== id));

/** Show other items; a list that is on its way does not know of the change, and is asked for again. */
function changed(ids) {
  found.set((before) => ({ ...before, ids }));
  if (loading) load(true);
}

/** Tags of the items that are known, the most used first. */
export function tagsOf() {
  const counts = new Map();
  for (const { tags } of items.value.values()) for (const tag of tags) counts.set(tag, (counts.get(tag) ?? 0) + 1);
  return [...counts].sort(([a, n], [b, m]) => m - n || a.localeCompare(b)).map(([tag]) => tag);
}
