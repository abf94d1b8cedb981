/**
 * Requests on their way to the server. They are kept by the browser until the server has them, each
 * with its key, so that neither a lost connection nor a reload loses one or makes it twice.
 */
import { call, newKey, post, tryAgain } from "./api.js";
import { cell, keptApart } from "./cell.js";
import { putJob } from "./store.js";
import { failed } from "./toasts.js";

export const outbox = keptApart("minisora.outbox"); // { key, at, verb, body }, the oldest first
export const sent = cell(new Map()); // ids of the jobs, by key; by the id of a job, that of the one made in its place
let sending = null; // { key, control } of the request that is on its way

/** Send requests of a verb, one after the other. Returns their keys. */
export function send(verb, bodies) {
  const added = bodies.map((body, n) => ({ key: newKey(), at: Date.now() + n, verb, body }));
  outbox.set((before) => [...before, ...added]);
  sendAll();
  return added.map(({ key }) => key);
}

/** Take a request back that the server does not have yet. */
export function takeBack(key) {
  drop(key);
  if (sending?.key !== key) return;
  sending.control.abort();
  tryAgain();
}

const drop = (key) => outbox.set((before) => before.filter((each) => each.key !== key));

/** Send what waits; refused requests leave the outbox with a message. */
export async function sendAll() {
  if (sending) return;
  while (outbox.value.length) {
    const { key, verb, body } = outbox.value[0], control = new AbortController();
    sending = { key, control };
    try {
      const video = await call("POST", `/v1/videos/${verb}`, { body, key, signal: control.signal });
      putJob(video);
      sent.set((before) => new Map(before).set(key, video.id));
    } catch (error) {
      if (control.signal.aborted) continue;
      failed(error);
      if (error.status === 429) outbox.set((before) => before.filter((each) => each.key === key)); // nor the others
    }
    drop(key);
  }
  sending = null;
}

/** Ask for the same as a job that came to nothing; whoever followed it follows the new one. */
export async function again(id) {
  try {
    const video = await post(`/v1/videos/${id}/retry`, {}, newKey());
    putJob(video);
    sent.set((before) => new Map(before).set(id, video.id));
  } catch (error) {
    failed(error);
  }
}

/** Id of the last job that was made of a key, or in place of a job. */
export function follower(made, name) {
  return made.has(name) ? follower(made, made.get(name)) : name;
}
