/**
 * Drawing a level: a picture and noise, mixed as on the model's straight path,
 *
 *     x_t = (1 - t) x_0 + t eps          t = 0 is the picture, t = 1 is noise
 *
 * which is what drawing noise over a picture with an opacity of t does.
 */
import { html, useEffect, useRef } from "../html.js";
import { calm, isDark } from "../theme.js";

const SIDE = 128, BLOCK = 2; // values of a tile; CSS pixels of a value
const MEAN = { dark: [66, 70, 78], light: [196, 200, 205] }, SPREAD = { dark: 30, light: 27 };
export const SHIMMER_MS = 110;
const tiles = {};

/** Tile of normal noise; its colours differ less than their light. */
function tile() {
  const name = isDark() ? "dark" : "light";
  if (tiles[name]) return tiles[name];
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext("2d"), image = context.createImageData(SIDE, SIDE);
  for (let at = 0; at < image.data.length; at += 4) {
    const light = normal();
    for (let channel = 0; channel < 3; channel++) {
      image.data[at + channel] = MEAN[name][channel] + SPREAD[name] * (0.8 * light + 0.6 * normal());
    }
    image.data[at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return (tiles[name] = canvas);
}

function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

/** Lay noise of a level over a rectangle. turn: another number is another draw of it */
export function layNoise(context, left, top, width, height, level, turn = 0) {
  if (level <= 0 || width <= 0 || height <= 0) return;
  const pattern = context.createPattern(tile(), "repeat");
  const shift = turn ? [(turn * 7919) % SIDE, (turn * 104729) % SIDE] : [0, 0];
  pattern.setTransform(new DOMMatrix().translate(...shift).scale(BLOCK));
  context.save();
  context.globalAlpha = Math.min(1, level);
  context.imageSmoothingEnabled = false;
  context.fillStyle = pattern;
  context.fillRect(left, top, width, height);
  context.restore();
}

/** Fit a canvas to its size on the page; returns its context, in CSS pixels, and that size. */
export function prepared(canvas) {
  const ratio = devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return { context, width, height };
}

/** Draw a picture so that it covers a rectangle. */
export function cover(context, picture, left, top, width, height) {
  const wide = picture.naturalWidth || picture.width, high = picture.naturalHeight || picture.height;
  const scale = Math.max(width / wide, height / high), w = width / scale, h = height / scale;
  context.drawImage(picture, (wide - w) / 2, (high - h) / 2, w, h, left, top, width, height);
}

/** Call a function again and again while something moves; not where motion is unwanted. */
export function useShimmer(moves, draw) {
  useEffect(() => {
    if (!moves || calm.matches) return undefined;
    let turn = 0;
    const timer = setInterval(() => draw(++turn), SHIMMER_MS);
    return () => clearInterval(timer);
  }, [moves, draw]);
}

/** A picture under noise of a level, as a canvas that covers its parent. */
export function NoisyPicture({ level, source, moves }) {
  const at = useRef(), now = useRef({});
  const draw = useRef((turn = 0) => {
    if (!at.current) return;
    const { context, width, height } = prepared(at.current);
    const { picture, level: share } = now.current;
    if (picture?.complete && picture.naturalWidth) {
      context.imageSmoothingQuality = "high";
      cover(context, picture, 0, 0, width, height);
    }
    layNoise(context, 0, 0, width, height, picture ? share : 1, turn);
  }).current;
  now.current.level = level;
  useEffect(() => {
    const next = source ? new Image() : null;
    if (next) Object.assign(next, { onload: () => { now.current.picture = next; draw(); }, src: source });
    else now.current.picture = null;
  }, [source]);
  useEffect(() => draw(), [level, source === null, isDark()]);
  useShimmer(moves, draw);
  return html`<canvas class="noise" ref=${at} aria-hidden="true"></canvas>`;
}
