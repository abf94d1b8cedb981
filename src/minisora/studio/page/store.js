/**
 * What the server has, as far as the page knows: its verbs, models, rights, jobs and items.
 *
 * Jobs come from the live channel (live.js) and from the first page of their list; items of the
 * library as they are asked for.
 */
import { get } from "./api.js";
import { cell } from "./cell.js";

export const SHOWN = 40; // jobs of the list
export const server = cell(null); // { verbs, models, me }: null until they have come
export const jobs = cell(new Map()); // by id: { video, preview, order }; order: place as the server has it
export const items = cell(new Map()); // by id

export const isFinal = (video) => ["done", "failed", "cancelled"].includes(video.minisora.state);
export const content = (id, variant = "video") => `/v1/library/${id}/content?variant=${variant}`;

/** Load what holds as long as the server runs. */
export async function loadServer() {
  const [verbs, models, me] = await Promise.all([get("/v1/verbs"), get("/v1/models"), get("/v1/me")]);
  server.set({ verbs: Object.fromEntries(verbs.data.map((each) => [each.name, each])), models: models.data, me });
}

/** Put a job in, as it is now. preview: undefined keeps the one before */
export function putJob(video, preview) {
  jobs.set((before) => {
    const known = before.get(video.id);
    if (known && isEarlier(video, known.video)) return before; // an answer that was overtaken
    const shown = isFinal(video) ? null : preview ?? known?.preview ?? null;
    return placed(new Map(before).set(video.id, { video, preview: shown, order: video.minisora.place }));
  });
}

/** A job waits, runs, waits again if its worker was lost, runs once more, and ends. */
function isEarlier(one, other) {
  const [a, b] = [one, other].map((each) => {
    const { attempts, state } = each.minisora;
    return isFinal(each) ? Infinity : 2 * attempts - (state === "running");
  });
  return a < b || (a === b && one.progress < other.progress);
}

/** Jobs whose places are 1, 2, ... as they are seen here: the server counts others' too, and each line by itself. */
function placed(all) {
  const waiting = [...all.values()].filter(({ video }) => video.minisora.state === "waiting");
  waiting.sort((a, b) => (a.order ?? Infinity) - (b.order ?? Infinity) || a.video.created_at - b.video.created_at || (a.video.id < b.video.id ? -1 : 1));
  waiting.forEach(({ video, ...rest }, n) => {
    if (video.minisora.place !== n + 1) all.set(video.id, { ...rest, video: { ...video, minisora: { ...video.minisora, place: n + 1 } } });
  });
  return all;
}

export function dropJob(id) {
  jobs.set((before) => {
    const after = new Map(before);
    after.delete(id);
    return placed(after);
  });
}

/** Load the newest jobs; those that ended while nobody listened are among them, or asked for. */
export async function loadJobs() {
  const page = await get(`/v1/videos?limit=${SHOWN}`);
  const seen = new Set(page.data.map((each) => each.id));
  page.data.toReversed().forEach((each) => putJob(each)); // as they came
  const open = [...jobs.value.values()].filter(({ video }) => !isFinal(video) && !seen.has(video.id));
  await Promise.all(open.map(({ video }) => get(`/v1/videos/${video.id}`).then(putJob, () => dropJob(video.id))));
}

/** An item of the library. Raises Failure for one that is not there. */
export async function loadItem(id) {
  if (!items.value.has(id)) putItem(await get(`/v1/library/${id}`));
  return items.value.get(id);
}

export const putItem = (item) => putItems([item]);

const alteredAt = new Map(); // when an item was last altered here: Infinity while that is being sent

/** Say that an item is being altered, or that it has been. */
export const altering = (id) => alteredAt.set(id, Infinity);
export const altered = (id) => alteredAt.set(id, performance.now());

/** asked: when the server was asked for them; what was altered here since then stays */
export function putItems(list, asked = Infinity) {
  const now = list.filter(({ id }) => !(alteredAt.get(id) > asked));
  items.set((before) => new Map([...before, ...now.map((item) => [item.id, item])]));
}
