/** Regions of a clip as pictures, opaque where it is made anew. */
import { frameAt, framesOf } from "./frames.js";

const LIKE = 60; // of 255: how near a colour's pixels are in red, green and blue, as in generate/edits.py
const holes = new WeakMap(); // by the pictures that they were read from, then by what was looked for

export const isWhite = (r, g, b) => r + g + b > 3 * 127.5;
export const isNear = ([red, green, blue]) => (r, g, b) => Math.max(Math.abs(r - red), Math.abs(g - green), Math.abs(b - blue)) <= LIKE;

/** Hole of a region, { mask } or { colour }, of a clip at a moment; null if it has none, or not yet. */
export function holeOf({ mask, colour }, clip, seconds) {
  if (colour) {
    const frames = framesOf(clip);
    return frames.length ? kept(frames, String(colour), () => joined(frames.map((each) => cutOut(each, isNear(colour))))) : null;
  }
  const picture = mask ? frameAt(mask, seconds) : null;
  return picture && kept(picture, "white", () => cutOut(picture, isWhite));
}

/** Canvas that is opaque where a picture's pixels are of a kind. */
function cutOut(picture, is) {
  const canvas = document.createElement("canvas");
  canvas.width = picture.naturalWidth || picture.width;
  canvas.height = picture.naturalHeight || picture.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  mark(image, is, [0, 0, 0]);
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Give pixels of a kind a colour, and take all others away. */
export function mark({ data }, is, colour) {
  for (let n = 0; n < data.length; n += 4) data.set([...colour, is(data[n], data[n + 1], data[n + 2]) ? 255 : 0], n);
}

function joined(canvases) {
  const [first, ...others] = canvases;
  others.forEach((each) => first.getContext("2d").drawImage(each, 0, 0));
  return first;
}

function kept(pictures, name, make) {
  if (!holes.has(pictures)) holes.set(pictures, new Map());
  const known = holes.get(pictures);
  if (!known.has(name)) known.set(name, make());
  return known.get(name);
}
