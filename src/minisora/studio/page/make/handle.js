/** A value that is moved along the timeline: by the pointer, or by keys as a slider. */
import { html, useRef } from "../html.js";

/**
 * at, of:    place on the track, and its length, in the value's unit
 * value:     with its bounds least and most; step: one frame; leap: with Shift or the page keys
 * onRemove:  by Delete
 * vertical:  moved up and down instead; the track is its parent either way
 */
export function Handle({ name, label, text, at, of, value, least = 0, most, step, leap, vertical, onChange, onRemove, onHold, children }) {
  const held = useRef(null);
  const put = (next) => {
    const snapped = Math.min(most, Math.max(least, Math.round(next / step) * step));
    onChange(Number(snapped.toFixed(6)));
  };
  const down = (event) => {
    if (event.button) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    const track = event.currentTarget.parentElement.getBoundingClientRect();
    held.current = { x: event.clientX, y: event.clientY, value, unit: vertical ? 1 / track.height : of / track.width };
    onHold?.(true);
  };
  const move = (event) => {
    if (!held.current) return;
    const { x, y, value: before, unit } = held.current;
    put(before + (vertical ? y - event.clientY : event.clientX - x) * unit);
  };
  const up = () => {
    if (held.current) onHold?.(false);
    held.current = null;
  };
  const press = (event) => {
    const big = event.shiftKey ? leap : step;
    const next = {
      ArrowRight: value + big, ArrowUp: value + big, ArrowLeft: value - big, ArrowDown: value - big,
      PageUp: value + leap, PageDown: value - leap, Home: least, End: most,
    }[event.key];
    if (next !== undefined) put(next);
    else if (onRemove && ["Delete", "Backspace"].includes(event.key)) onRemove();
    else return;
    event.preventDefault();
  };
  const place = vertical ? { bottom: `${100 * at / of}%` } : { left: `${100 * at / of}%` };
  return html`<div class="handle is-${name} ${vertical ? "vertical" : ""}" role="slider" tabindex="0" style=${place}
    aria-label=${label} aria-valuemin=${least} aria-valuemax=${most} aria-valuenow=${value} aria-valuetext=${text} title=${`${label}: ${text}`}
    aria-orientation=${vertical ? "vertical" : "horizontal"} data-handle=${name}
    onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${up} onKeyDown=${press}>${children}</div>`;
}
