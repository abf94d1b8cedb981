/** Pictures of media for the timeline: a few frames of each clip, read by the browser once. */
import { content } from "../store.js";

/** Address of a clip as a film to look up frames in. converted: by the server, for what browsers show but do not seek, or do not play */
export const film = ({ id, type }, converted = !type.startsWith("video/")) => content(id) + (converted ? "&format=mp4" : "");

const MOST = 24, HEIGHT = 112, LATE = 200; // frames of a clip; pixels; milliseconds
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

/** All pictures of a medium that are there; the same list until there are others. */
export function framesOf(medium) {
  const { frames, thumbnail, alone } = stripOf(medium);
  return frames.length || !thumbnail.complete || !thumbnail.naturalWidth ? frames : alone;
}

function stripOf(medium) {
  if (!strips.has(medium.id)) {
    const thumbnail = new Image(), strip = { frames: [], thumbnail, alone: [thumbnail] };
    strips.set(medium.id, strip);
    strip.thumbnail.onload = come;
    strip.thumbnail.src = content(medium.id, "thumbnail");
    if (medium.frames > 1) read(medium, film(medium)).catch(() => read(medium, film(medium, true))).then((frames) => { strip.frames = frames; come(); }, () => {}); // the thumbnail stays
  }
  return strips.get(medium.id);
}

async function read(medium, source) {
  const video = Object.assign(document.createElement("video"), { muted: true, preload: "auto", src: source });
  await event(video, "loadeddata");
  const count = Math.min(MOST, medium.frames), frames = [];
  for (let n = 0; n < count; n++) {
    await seek(video, Math.min((n + 0.5) / count, 1) * video.duration);
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

/** Seek, and wait for the frame, which may come after the end of the seek. */
async function seek(video, seconds) {
  const there = new Promise((done) => { const end = onFrame(video, () => { end(); done(); }); });
  video.currentTime = seconds;
  await event(video, "seeked");
  await Promise.race([there, new Promise((done) => setTimeout(done, LATE))]); // the same frame need not come again
}

/** Call a function with a video at each frame that it shows, where the browser tells; returns one that ends this. */
export function onFrame(video, show) {
  if (!video.requestVideoFrameCallback) return () => {};
  let waiting = video.requestVideoFrameCallback(function next() {
    waiting = video.requestVideoFrameCallback(next);
    show(video);
  });
  return () => video.cancelVideoFrameCallback(waiting);
}

function event(target, name) {
  return new Promise((resolve, reject) => {
    target.addEventListener(name, resolve, { once: true });
    target.addEventListener("error", reject, { once: true });
  });
}
