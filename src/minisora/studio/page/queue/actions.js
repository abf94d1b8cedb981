/** What can be done with a job of the queue. */
import { Failure, call, get, post } from "../api.js";
import { bringBack, told, usedBy } from "../make/back.js";
import { editing } from "../make/form.js";
import { again } from "../outbox.js";
import { t } from "../language.js";
import { dropJob, jobs, putJob } from "../store.js";
import { failed, say } from "../toasts.js";

const UNFINISHED = "/v1/videos?limit=100&state=waiting&state=paused&state=running";

/** Do something to a job by its own route: cancel, pause, resume, retry. */
export const act = (id, name) => (name === "retry" ? again(id) : post(`/v1/videos/${id}/${name}`, {}).then(putJob, failed));

/** Cancel jobs as long as they wait, the last first, so that none begins meanwhile. */
export async function cancelAll(ids) {
  let count = 0;
  for (const id of ids.toReversed()) {
    if (jobs.value.get(id)?.video.minisora.state !== "waiting") continue;
    try {
      putJob(await post(`/v1/videos/${id}/cancel`, {}));
      count += 1;
    } catch (error) {
      failed(error);
    }
  }
  say(t("queue.cancelAll.done", { n: count }));
}

/** Move a waiting job before another, or to the end; all places are asked for again. */
export async function move(id, before) {
  try {
    putJob(await post(`/v1/videos/${id}/move`, { before }));
    (await get(UNFINISHED)).data.forEach((each) => putJob(each));
  } catch (error) {
    failed(error);
  }
}

export async function forget(id) {
  try {
    await call("DELETE", `/v1/videos/${id}`);
    dropJob(id);
  } catch (error) {
    failed(error);
  }
}

/** Bring a job's request into Make. changes: the job itself is changed there, if it still waits */
export async function inMake(video, changes) {
  const { id, minisora: { verb, request } } = video;
  let lacking;
  try {
    lacking = await bringBack(verb, request, usedBy(video));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    failed(error);
    return;
  }
  editing.set(changes ? { id, verb } : null);
  location.hash = "make";
  if (lacking.length) told(t("draft.shown"), lacking);
}
