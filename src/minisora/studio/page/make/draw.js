/** The picture of a plan: frames where there are some, noise over them by their level. */
import { frameAt } from "./frames.js";
import { holeOf } from "./hole.js";
import { cover, layNoise, prepared } from "./noise.js";

const GAP = 1; // CSS pixels between two frames of the film
const sheet = document.createElement("canvas"); // noise with a hole's shape

/**
 * span:    seconds that the canvas is wide
 * running: { share, preview, medium }: how far the job of this plan is, its preview as a picture,
 *          and its video once it is done; null while there is none
 */
export function drawPlan(canvas, plan, { fps, aspect, span, running, turn = 0 }) {
  const { context, width, height } = prepared(canvas);
  const scale = width / span;
  context.clearRect(0, 0, width, height);
  for (const one of [...plan.stretches, ...(plan.pins ?? [])]) {
    const left = one.from * scale, right = Math.max(one.to * scale, left + 2);
    drawStretch(context, one, left, right - left, height, { fps, aspect, scale, running, turn });
  }
}

function drawStretch(context, one, left, width, height, { fps, aspect, scale, running, turn }) {
  const cell = Math.max(height * aspect, scale / fps), count = Math.max(1, Math.round(width / cell)), each = width / count;
  const fallen = one.level * (1 - (running?.share ?? 0));
  for (let n = 0; n < count; n++) {
    const x = left + n * each, wide = Math.min(each, width) - (count > 1 ? GAP : 0);
    const moment = ((n + 0.5) / count) * (one.to - one.from);
    const picture = pictureOf(one, moment, running);
    context.save();
    context.beginPath();
    context.rect(x, 0, wide, height);
    context.clip();
    if (picture) placed(context, picture, one, x, wide, height, running);
    layNoise(context, x, 0, wide, height, picture || one.region ? noiseOf(one, n, fallen) : 1, turn);
    if (one.region && !running?.medium) layRegion(context, one, x, wide, height, { running, turn, moment });
    context.restore();
  }
}

function pictureOf(one, moment, running) {
  if (running?.medium) return frameAt(running.medium, one.from + moment);
  if (one.medium?.id) return frameAt(one.medium, (one.backwards ? (one.to - one.from) - moment : moment) + (one.offset ?? 0));
  return running?.preview ?? null;
}

function placed(context, picture, one, x, wide, height, running) {
  const frame = running?.medium ? null : one.region?.around;
  if (frame) context.drawImage(picture, x + frame[0] * wide, frame[1] * height, frame[2] * wide, frame[3] * height);
  else cover(context, picture, x, 0, wide, height);
}

/** Level of the n-th frame of the film; where frames are put between others, of those alone. */
function noiseOf({ region }, n, fallen) {
  return region?.every && n % region.every === 0 ? 0 : fallen;
}

function layRegion(context, { region, medium, offset }, x, wide, height, { running, turn, moment }) {
  const level = 1 - (running?.share ?? 0), hole = medium && holeOf(region, medium, moment + (offset ?? 0));
  if (hole) layThrough(context, hole, x, wide, height, level, turn);
  if (region.box) layNoise(context, x + region.box[0] * wide, region.box[1] * height, region.box[2] * wide, region.box[3] * height, level, turn);
  if (region.around) {
    const [left, top, w, h] = region.around;
    layNoise(context, x, 0, wide, top * height, level, turn);
    layNoise(context, x, (top + h) * height, wide, (1 - top - h) * height, level, turn);
    layNoise(context, x, top * height, left * wide, h * height, level, turn);
    layNoise(context, x + (left + w) * wide, top * height, (1 - left - w) * wide, h * height, level, turn);
  }
}

/** Noise where a picture of a hole is opaque. */
function layThrough(context, hole, x, wide, height, level, turn) {
  sheet.width = Math.max(1, Math.ceil(wide));
  sheet.height = Math.ceil(height);
  const pen = sheet.getContext("2d");
  layNoise(pen, 0, 0, wide, height, level, turn);
  pen.globalCompositeOperation = "destination-in";
  cover(pen, hole, 0, 0, wide, height);
  context.drawImage(sheet, x, 0);
}
