/**
 * The form of Make: what is being asked for, kept over a reload; and as requests. Not here: requests
 * brought back into it (back.js).
 *
 * The timeline changes the same values as the fields. A storyboard is made of the same parts: each
 * part of the prompt is a shot.
 */
import { get } from "../api.js";
import { kept } from "../cell.js";
import { items, loadItem, server } from "../store.js";
import { parsed, written } from "./schedule.js";

export const VERBS = ["generate", "animate", "extend", "connect", "loop", "edit", "inpaint", "outpaint", "interpolate", "reverse", "storyboard", "image"];
const SLOTS = { // media of each verb: true if it cannot be without
  generate: { preview: false }, animate: { picture: true }, extend: { clip: true }, connect: { one: true, other: true },
  loop: { clip: false }, edit: { clip: true }, inpaint: { clip: true, mask: false }, outpaint: { clip: true },
  interpolate: { clip: true }, reverse: { clip: true },
};
const PICTURES = ["picture", "mask"]; // slots that take pictures
const EITHER = ["mask"]; // of these, slots that take clips too
const DRAWN = ["prompt", "seconds", "after", "before", "at", "board", "typed", "typed_source"]; // not by a field
export const OWN = { generate: [], edit: ["source", "strength"], inpaint: ["box", "colour"], outpaint: ["to", "corner"], interpolate: ["times"] };
const ABSENT = 1; // seconds, as which a clip is drawn that is still to be chosen
const HAN = /\p{Script=Han}/u;
const SEEDS = 1_000_000; // that are drawn: short enough to read out
const EMPTY = { verb: "generate", parts: [{ start: 0, text: "" }], part: 0, seconds: null, after: 2, before: 0, media: {}, pins: [], fields: {}, variants: 1, model: "" };

export const form = kept("minisora.form", EMPTY);
export const editing = kept("minisora.editing", null); // waiting job that the form changes: { id, verb }
export const change = (values) => form.set((before) => followed(before, { ...before, ...values }));

/** Slots of a verb for media, by name: { needed, picture, either }; either: pictures and clips */
export const slotsOf = (verb) =>
  Object.entries(SLOTS[verb] ?? {}).map(([name, needed]) => ({ name, needed, picture: PICTURES.includes(name), either: EITHER.includes(name) }));
export const isPicture = ({ type, num_frames, frames = num_frames }) => type.startsWith("image/") && frames === 1;
export const hasPrompt = (verb) => verb !== "reverse";
export const hasLength = (verb) => ["generate", "animate", "connect", "loop", "storyboard"].includes(verb);
export const hasPins = (verb) => ["animate", "storyboard"].includes(verb);

/** True if the prompt may change along the time. */
export function mayChange({ verb, media, fields }) {
  return !(["image", "reverse"].includes(verb) || (verb === "loop" && !media.clip) || (verb === "edit" && fields.source));
}

/** Facts of the model that is asked: fps, seconds, size as [height, width], world. */
export const modelOf = (one) => ({ fps: 8, seconds: 2, size: [64, 64], ...chosen(one).minisora });

function chosen({ model }) {
  const { models } = server.value;
  return models.find(({ id }) => id === model) ?? models[0];
}

/** True if a model makes what a verb asks for; a provider's makes some verbs alone. */
export const makes = ({ minisora: { verbs } }, verb) => verb === "reverse" || !verbs || verbs.includes(verb);

export const secondsOf = (one) => one.seconds ?? modelOf(one).seconds;

/** Length of a slot's stretch of its clip; of a clip that is still to be chosen, as it is drawn. */
export const lengthOf = (medium) => (medium?.id ? (medium.stop ?? medium.seconds) - (medium.start ?? 0) : ABSENT);

/** Stretches [from, to] of the result that the prompt speaks of: those between given clips, or all of it. */
export function madeOf(one) {
  const { verb, media: { clip, one: first }, before, after } = one;
  const following = (start, length) => [start, start + length];
  if (verb === "extend") return [[0, before], following(before + lengthOf(clip), after)];
  if (verb === "connect") return [following(lengthOf(first), secondsOf(one))];
  if (verb === "loop" && clip?.id) return [following(lengthOf(clip), secondsOf(one))];
  return [[0, Infinity]];
}

/** The form with its prompt's parts where they were in what is made, though given clips are longer or shorter now. */
function followed(was, now) {
  if (was.verb !== now.verb || was.parts !== now.parts || now.parts.length < 2) return now;
  const old = madeOf(was), made = madeOf(now);
  if (JSON.stringify(old) === JSON.stringify(made)) return now;
  const parts = now.parts.flatMap((part) => {
    const n = old.findIndex(([from, to]) => from <= part.start && part.start < to);
    if (n < 0 || part.start === 0) return [part];
    const start = Number((made[n][0] + part.start - old[n][0]).toFixed(6));
    return start < made[n][1] ? [{ ...part, start }] : [];
  });
  return { ...now, parts, part: Math.min(now.part, parts.length - 1) };
}

/** Fields that a verb's form has besides the prompt, media and the timeline; hidden ones are kept, not offered. */
export function fieldsOf(verb) {
  const about = server.value.verbs[verb], media = Object.keys(SLOTS[verb] ?? {});
  const shown = about.fields.filter(({ name }) => !DRAWN.includes(name) && !media.includes(name));
  return shown.map((each) => ({ ...each, ...plain(about.schema.properties[each.name]) }));
}

/** Schema of a field's value, without null. */
function plain(schema) {
  return { default: schema.default, ...(schema.anyOf?.find(({ type }) => type !== "null") ?? schema) };
}

/** Keys of the strings that say what is still missing. */
export function missing(one) {
  const found = slotsOf(one.verb).filter(({ name, needed }) => (needed || one.media[name]) && !one.media[name]?.id).map(({ name }) => `missing.${name}`);
  if (hasPrompt(one.verb) && one.parts.some(({ text }) => !text.trim())) found.push("missing.prompt");
  if (one.verb === "extend" && !(one.after + one.before > 0)) found.push("missing.length");
  if (one.verb === "outpaint" && !one.fields.to) found.push("missing.to");
  if (one.verb === "inpaint" && !one.media.mask?.id && !one.fields.box && !one.fields.colour) found.push("missing.region");
  if (!makes(chosen(one), one.verb)) found.push("missing.model");
  return found;
}

/** The request of a form, as it is sent. seed: of this variant */
export function bodyOf(one, seed) {
  const { verb } = one, body = {};
  if (verb === "storyboard") body.board = { shots: shotsOf(one), ...(one.fps ? { fps: one.fps } : {}) };
  else if (hasPrompt(verb)) body.prompt = written(mayChange(one) ? one.parts : one.parts.slice(0, 1));
  if (hasLength(verb) && verb !== "storyboard") body.seconds = secondsOf(one);
  if (verb === "extend") Object.assign(body, { after: one.after, before: one.before });
  for (const { name, picture } of slotsOf(verb)) if (one.media[name]?.id) body[name] = reference(one.media[name], picture, one.media.clip);
  if (verb === "animate" && one.pins.length) body.at = Object.fromEntries(one.pins.map(({ moment, item }) => [moment, { id: item.id }]));
  for (const field of fieldsOf(verb)) {
    const value = typed(one.fields[field.name], field.type);
    if (value !== undefined) body[field.name] = value;
  }
  if (readsGlossary(one)) body.expand ??= "auto";
  if (seed !== undefined && verb !== "reverse") body.seed = seed;
  if (one.model && verb !== "reverse") body.model = one.model;
  return body;
}

/** True if a Chinese prompt goes to a model that knows the playroom: it reads English, which the prompt is put into. */
export function readsGlossary(one) {
  return modelOf(one).world === "playroom" && hasPrompt(one.verb) && [one.fields.source, ...one.parts.map(({ text }) => text)].some((text) => HAN.test(text));
}

/** Requests of all variants: the seed that was given and those after it, or seeds drawn by chance. */
export function bodiesOf(one) {
  if (one.verb === "reverse") return [bodyOf(one)];
  const given = typed(one.fields.seed, "integer");
  const drawn = () => crypto.getRandomValues(new Uint32Array(1))[0] % SEEDS;
  const after = (n) => (typeof given === "string" ? String(BigInt(given) + BigInt(n)) : given + n);
  return Array.from({ length: one.variants }, (_, n) => bodyOf(one, given === undefined ? drawn() : after(n)));
}

/** Fields for a waiting job: those of the form, and null or the usual value for what it leaves out. */
export function patchOf(one) {
  const { model, ...body } = bodyOf(one), empty = {};
  for (const { name, default: usual } of fieldsOf(one.verb)) empty[name] = usual ?? null;
  for (const { name } of slotsOf(one.verb)) empty[name] = null;
  return { ...empty, ...body };
}

function shotsOf(one) {
  const end = secondsOf(one);
  return one.parts.map(({ start, text, scene }, n) => {
    const stop = one.parts[n + 1]?.start ?? end;
    const inside = one.pins.filter(({ moment }) => moment >= start && (moment < stop || (stop === end && moment === end)));
    const keyframes = Object.fromEntries(inside.map(({ moment, item }) => [moment - start, { id: item.id }]));
    return { prompt: text.trim(), seconds: stop - start, same_scene: n > 0 && !scene, keyframes };
  });
}

/** A medium as the server takes it. clip: a mask over time of all of it has its stretch */
function reference(medium, picture, clip) {
  const { id } = medium, isWhole = clip && Math.abs(medium.seconds - clip.seconds) < 0.5 / clip.fps;
  if (picture && isPicture(medium)) return { id };
  const { start, stop } = picture && isWhole ? clip : medium;
  return { id, ...(start ? { start } : {}), ...(stop == null ? {} : { stop }) };
}

function typed(value, type) {
  if (value === undefined || value === null || value === "") return undefined;
  if (type === "integer" && /^\d+$/.test(value) && !Number.isSafeInteger(Number(value))) return String(value); // a number would lose digits
  return type === "integer" || type === "number" ? Number(value) : value;
}

/** An empty form of a verb. */
export const blank = (verb) => ({ ...EMPTY, verb, fields: {}, media: {}, pins: [] });

/** An item of the library as the value of a slot. before: what was there; a file that was missed gets its stretch */
export function slotOf({ id, name, type, width, height, fps, num_frames: frames, seconds, sha256 }, before = null) {
  const { start, stop } = before && !before.id && before.sha256 === sha256 ? before : { start: 0, stop: null };
  return { id, name, type, width, height, fps, frames, seconds, start, stop };
}

/** Put an item where the verb takes one; another verb is chosen if it takes none of the kind. */
export function place(item, slot = null) {
  const one = form.value, picture = isPicture(item);
  const fits = slotsOf(one.verb).filter((each) => each.picture === picture && each.name !== "preview");
  const free = fits.find(({ name }) => !one.media[name]?.id) ?? fits[0];
  const name = slot ?? free?.name;
  if (name) change({ media: { ...one.media, [name]: slotOf(item, one.media[name]) } });
  else change({ verb: picture ? "animate" : "extend", media: { [picture ? "picture" : "clip"]: slotOf(item) } });
}

/** Choose a verb; its media are those of the same name, or of the same kind. */
export function choose(verb) {
  const { media, pins } = form.value;
  const have = Object.entries(media).filter(([, each]) => each?.id);
  const taken = {};
  for (const { name, picture } of slotsOf(verb)) {
    const found = media[name]?.id ? media[name] : have.find(([other, each]) =>
      name !== "preview" && name !== "mask" && name !== "other" && !(other in taken) && isPicture(each) === picture)?.[1];
    if (found) taken[name] = found;
  }
  change({ verb, media: taken, pins: hasPins(verb) ? pins : [] });
}

/** The model that made a video if it makes the verb too, else the one that is chosen, or the first. */
function modelFor(verb, name) {
  const { models } = server.value, fitting = (id) => models.findIndex((each) => each.id === id && makes(each, verb));
  const at = [fitting(name), fitting(form.value.model)].find((each) => each >= 0);
  return at > 0 ? models[at].id : "";
}

/** Go on from a finished video with a verb. */
export async function goOn(verb, id) {
  const item = items.value.get(id) ?? await loadItem(id);
  const slot = { connect: "one", generate: "preview", animate: "picture" }[verb] ?? "clip";
  const { request, made } = item.is_upload ? { request: {} } : (await get(`/v1/videos/${id}`)).minisora;
  const parts = request.prompt ? parsed(request.prompt) : form.value.parts;
  form.set({ ...EMPTY, verb, parts: verb === "generate" ? parts : parts.slice(-1).map((each) => ({ ...each, start: 0 })),
    model: modelFor(verb, made?.model), media: { [slot]: { ...slotOf(item), said: request.prompt && parts.at(-1).text } },
    fields: verb === "generate" ? { seed: request.seed } : {} });
}
