/** Pictures of media for the timeline: a few frames of each clip, read by the browser once. */
import { content } from "../store.js";

const MOST = 24, HEIGHT = 112; // frames of a clip; pixels
const strips = new Map();
const listeners = new Set();

/** Call a function when a picture has come; returns one that ends this. */
export function onFrames(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
const come = () => listeners.forEach((each) => each());

/** Picture of a medium at a moment, the nearest that is there; null if none is there yet. */
export function frameAt(medium, seconds) {
  const { frames, thumbnail } = stripOf(medium);
  const near = Math.round((seconds / medium.seconds) * (frames.length - 1));
  return frames[Math.max(0, Math.min(frames.length - 1, near))] ?? (thumbnail.complete && thumbnail.naturalWidth ? thumbnail : null);
}

function stripOf(medium) {
  if (!strips.has(medium.id)) {
    const strip = { frames: [], thumbnail: new Image() };
    strips.set(medium.id, strip);
    strip.thumbnail.onload = come;
    strip.thumbnail.src = content(medium.id, "thumbnail");
    if (medium.type.startsWith("video/")) read(medium).then((frames) => { strip.frames = frames; come(); }, () => {}); // the thumbnail stays
  }
  return strips.get(medium.id);
}

async function read(medium) {
  const video = Object.assign(document.createElement("video"), { muted: true, preload: "auto", src: content(medium.id) });
  await event(video, "loadeddata");
  const count = Math.min(MOST, medium.frames), frames = [];
  for (let n = 0; n < count; n++) {
    video.currentTime = Math.min((n + 0.5) / count, 1) * video.duration;
    await event(video, "seeked");
    const canvas = document.createElement("canvas");
    canvas.height = HEIGHT;
    canvas.width = Math.round((HEIGHT * video.videoWidth) / video.videoHeight);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    frames.push(canvas);
  }
  video.removeAttribute("src");
  video.load();
  return frames;
}

function event(target, name) {
  return new Promise((resolve, reject) => {
    target.addEventListener(name, resolve, { once: true });
    target.addEventListener("error", reject, { once: true });
  });
}
