/** A frame of a clip, to be looked at and drawn on. */
import { html, useEffect, useRef, useState } from "../html.js";
import { number, t } from "../language.js";
import { content } from "../store.js";
import { isPicture } from "./form.js";
import { film, onFrame } from "./frames.js";

/** onShown: gets the element when it shows another frame, which may be later than the end of the seek to it */
export function Frame({ clip, frame, onShown }) {
  const at = useRef(), [source, setSource] = useState(film(clip));
  useEffect(() => { if (!isPicture(clip)) at.current.currentTime = (frame + 0.5) / clip.fps; }, [frame, source]);
  const shown = ({ target }) => onShown?.(target), latest = useRef();
  latest.current = onShown;
  useEffect(() => { if (onShown && at.current) return onFrame(at.current, (video) => latest.current(video)); }, [source]);
  if (isPicture(clip)) return html`<img src=${content(clip.id)} alt="" onLoad=${shown} />`;
  return html`<video ref=${at} src=${source} poster=${content(clip.id, "thumbnail")} muted playsinline preload="auto" tabindex="-1" aria-hidden="true"
    onSeeked=${shown} onLoadedData=${shown} onError=${() => setSource(film(clip, true))}></video>`;
}

/** The frame that is shown, as a slider. */
export function Moment({ clip: { frames, fps }, frame, onFrame }) {
  return html`<label>${t("mask.frame", { n: frame + 1, all: frames, s: number(frame / fps, 2) })}
    <input type="range" class="long" min="0" max=${frames - 1} value=${frame} onInput=${(event) => onFrame(Number(event.target.value))} /></label>`;
}

/** Place of a pointer on an element, in pixels of a frame. */
export function placeOn({ clientX, clientY }, element, { width, height }) {
  const around = element.getBoundingClientRect();
  return [((clientX - around.left) / around.width) * width, ((clientY - around.top) / around.height) * height];
}

/** Style of a board that shows frames of a size. */
export const fitting = ({ width, height }) => ({ aspectRatio: `${width} / ${height}`, maxWidth: `calc(52vh * ${width / height})` });

/** A rectangle over a board. */
export function Rectangle({ box: [left, top, wide, high], clip: { width, height } }) {
  const share = (value, of) => `${100 * value / of}%`;
  return html`<div class="frame" style=${{ left: share(left, width), top: share(top, height), width: share(wide, width), height: share(high, height) }}></div>`;
}
