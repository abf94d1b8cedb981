/**
 * A request brought back into the form: of a job, of an item, or of a file of ours from anywhere.
 *
 * Media are found by their id, or by the SHA-256 of their file. What is not here any more keeps its
 * name and is said, with what to do about it.
 */
import { get } from "../api.js";
import { number, t } from "../language.js";
import { loadItem, server } from "../store.js";
import { say } from "../toasts.js";
import { blank, fieldsOf, form, hasPins, slotOf, slotsOf } from "./form.js";
import { parsed } from "./schedule.js";

/** Model of a job, as `bringBack` takes it. */
export const usedBy = ({ model, minisora: { made } }) => ({ name: made?.model ?? model, digest: made?.digest });

/**
 * model:   { name, digest } that the request was made with; null if it needs none
 * returns  sentences on what could not be brought back
 */
export async function bringBack(verb, request, model = null) {
  const next = blank(verb), lacking = [], { board, prompt } = request;
  next.model = chosenModel(model, lacking);
  if (board) Object.assign(next, await ofShots(board, lacking));
  else if (prompt) next.parts = parsed(prompt);
  for (const name of ["seconds", "after", "before"]) if (request[name] != null) next[name] = request[name];
  for (const { name } of slotsOf(verb)) if (request[name]) next.media[name] = await medium(request[name], lacking);
  if (request.at && hasPins(verb)) next.pins = await pinsOf(request.at, 0, lacking);
  for (const { name, default: usual } of fieldsOf(verb)) {
    const value = request[name] ?? board?.[name];
    if (value != null && (value !== usual || name === "seed")) next.fields[name] = value;
  }
  form.set(next);
  return lacking;
}

/** Say that the form shows the settings of something, what it lacks, and how to have the form back as it was. */
export const told = (text, lacking, action) => say([text, ...lacking].join(" "), { kind: lacking.length ? "error" : "note", action });

/** Name of the model as the form has it: empty for the first. */
function chosenModel(model, lacking) {
  const { models } = server.value, at = models.findIndex(({ id }) => id === model?.name);
  if (!model) return "";
  if (at < 0) lacking.push(t("back.model", { name: model.name, other: models[0].id }));
  else if (model.digest && models[at].minisora.digest && model.digest !== models[at].minisora.digest) lacking.push(t("back.weights", { name: model.name }));
  return at > 0 ? model.name : "";
}

async function ofShots({ shots, fps }, lacking) {
  const parts = [], pins = [];
  let start = 0;
  for (const shot of shots) {
    parts.push({ start, text: shot.prompt, scene: !shot.same_scene });
    pins.push(...await pinsOf(shot.keyframes ?? {}, start, lacking));
    start += shot.seconds;
  }
  return { parts, pins, seconds: start, fps };
}

async function pinsOf(pictures, start, lacking) {
  const found = [];
  for (const [second, one] of Object.entries(pictures)) {
    const moment = start + Number(second), item = await itemOf(one);
    if (item) found.push({ moment, item: slotOf(item) });
    else lacking.push(t("back.pin", { name: nameOf(one), s: number(moment, 3) }));
  }
  return found;
}

/** Value of a slot; without an id if the file is not here. */
async function medium(one, lacking) {
  const item = await itemOf(one), { sha256, start = 0, stop = null } = one;
  if (item) return { ...slotOf(item), start, stop };
  lacking.push(t("back.medium", { name: nameOf(one) }));
  return { name: nameOf(one), sha256, start, stop };
}

async function itemOf({ id, sha256 }) {
  try {
    if (id) return await loadItem(id);
  } catch { /* it was deleted; the same file may be here again */ }
  try {
    return sha256 ? (await get(`/v1/library?limit=1&sha256=${sha256}`)).data[0] : undefined;
  } catch {
    return undefined;
  }
}

const nameOf = ({ name }) => name ?? t("back.unnamed");
