/**
 * A request as stretches of the video to be, each with its level of noise.
 *
 * A level says how much of a stretch is noise at the start: 0 is given and kept, 1 is made from
 * nothing else than noise; between them frames are changed. This is the `c` of generate/canvas.py.
 */
import { hasLength, lengthOf, secondsOf } from "./form.js";

export const BLEND = 0.7; // level of the frames that interpolation starts from
const EDIT = 0.7; // strength that is not said

/**
 * Returns { seconds, stretches, handles }.
 *
 * stretch: { from, to, level, why, medium, offset, backwards, region }; why: key of its sentence
 * handle:  { name, at, value }; drawn at a moment, it changes a value of the form in seconds
 */
export function planOf(form, model) {
  const made = PLANS[form.verb](form, model);
  const seconds = made.stretches.at(-1)?.to ?? 0;
  return { handles: [], ...made, seconds };
}

/** Stretches one after the other; each given by its length. */
function inLine(pieces) {
  let from = 0;
  return pieces.filter(({ length }) => length > 0).map(({ length, ...rest }) => {
    const one = { from, to: from + length, ...rest };
    from += length;
    return one;
  });
}

const given = (medium, why = "given") => ({ length: lengthOf(medium), level: 0, why, medium, offset: medium.start ?? 0 });
const made = (length, why = "made") => ({ length, level: 1, why });

const PLANS = {
  generate(form) {
    const length = secondsOf(form), small = form.media.preview;
    if (!small?.id) return whole(form, [made(length, "made.all")]);
    return whole(form, [{ ...given(small, "enlarged"), length, level: Number(form.fields.strength ?? 0.7) }]);
  },
  image: (form, { fps }) => ({ stretches: inLine([made(1 / fps, "made.image")]) }),
  animate(form, { fps }) {
    const picture = form.media.picture, rest = secondsOf(form);
    const first = picture?.id ? { length: 1 / fps, level: 0, why: "given.first", medium: picture } : made(1 / fps, "missing.picture");
    return whole(form, [first, made(rest, "made.on")]);
  },
  extend(form) {
    const clip = form.media.clip;
    const stretches = inLine([made(form.before, "made.before"), clip?.id ? given(clip) : absent("clip"), made(form.after, "made.after")]);
    const end = stretches.at(-1).to;
    return { stretches, handles: [{ name: "before", at: form.before, value: form.before }, { name: "after", at: end, value: form.after }] };
  },
  connect(form) {
    const { one, other } = form.media, gap = secondsOf(form);
    const stretches = inLine([one?.id ? given(one) : absent("one"), made(gap, "made.between"), other?.id ? given(other) : absent("other")]);
    return { stretches, handles: [{ name: "seconds", at: stretches[1].to, value: gap }] };
  },
  loop(form) {
    const clip = form.media.clip;
    if (!clip?.id) return whole(form, [made(secondsOf(form), "made.circle")]);
    return whole(form, [given(clip), made(secondsOf(form), "made.back")]);
  },
  edit(form) {
    const level = Number(form.fields.strength ?? EDIT);
    return onClip(form, (clip) => ({ ...given(clip, form.fields.source ? "edited.source" : "edited"), level }));
  },
  inpaint: (form) => onClip(form, (clip) => ({ ...given(clip, "inpainted"), region: regionOf(form, clip) })),
  outpaint: (form) => onClip(form, (clip) => ({ ...given(clip, "outpainted"), region: { around: frameOf(form, clip) } })),
  interpolate(form) {
    const times = Number(form.fields.times ?? 2);
    return onClip(form, (clip) => ({ ...given(clip, "between"), level: BLEND, region: { every: times } }));
  },
  reverse: (form) => onClip(form, (clip) => ({ ...given(clip, "backwards"), backwards: true })),
  storyboard(form, { fps }) {
    const end = secondsOf(form);
    const shots = form.parts.map(({ start, scene }, n) =>
      made((form.parts[n + 1]?.start ?? end) - start, n && !scene ? "made.shot" : "made.scene"));
    const pins = form.pins.map(({ moment, item }) => ({ from: moment, to: moment + 1 / fps, level: 0, why: "given.frame", medium: item }));
    return { ...whole(form, shots), pins };
  },
};

/** A length that its right end changes. */
function whole(form, pieces) {
  const stretches = inLine(pieces);
  return { stretches, handles: hasLength(form.verb) ? [{ name: "seconds", at: stretches.at(-1).to, value: secondsOf(form) }] : [] };
}

function onClip(form, stretch) {
  const clip = form.media.clip;
  return { stretches: inLine([clip?.id ? stretch(clip) : absent("clip")]) };
}

const absent = (name) => ({ length: lengthOf(null), level: 0, why: `missing.${name}`, absent: true });

/** What is made anew of a clip: by its mask, all near a colour, or a box as shares of the frame; empty while it is not said. */
function regionOf({ media: { mask }, fields }, { width, height }) {
  const numbers = (text) => String(text ?? "").split(",").map(Number);
  if (mask?.id) return { mask };
  const [left, top, wide, high] = numbers(fields.box), colour = numbers(fields.colour);
  if (high > 0) return { box: [left / width, top / height, wide / width, high / height] };
  return colour.length === 3 ? { colour } : {};
}

/** Place of the clip in the larger frame, as shares of it. */
function frameOf(form, { width, height }) {
  const [wide, high] = String(form.fields.to ?? "").split("x").map(Number);
  if (!(wide >= width && high >= height)) return [0.15, 0.15, 0.7, 0.7];
  const [left, top] = form.fields.corner ? form.fields.corner.split(",").map(Number) : [(wide - width) / 2, (high - height) / 2];
  return [left / wide, top / high, width / wide, height / high];
}
