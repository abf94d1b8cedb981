/** Rectangles [left, top, width, height] in whole pixels of a frame. */

export const middle = (width, height) => [Math.round(width / 4), Math.round(height / 4), Math.round(width / 2), Math.round(height / 2)];

/** Rectangle between two points. */
export function between([x, y], [u, v], width, height) {
  const [left, right] = [x, u].sort((a, b) => a - b).map((each) => Math.min(width, Math.max(0, Math.round(each))));
  const [top, bottom] = [y, v].sort((a, b) => a - b).map((each) => Math.min(height, Math.max(0, Math.round(each))));
  return [left, top, right - left, bottom - top];
}

/** A rectangle moved by a pixel, or with its lower right corner moved. */
export function moved([left, top, wide, high], [x, y], resize, width, height) {
  if (resize) return [left, top, Math.min(width - left, Math.max(1, wide + x)), Math.min(height - top, Math.max(1, high + y))];
  return [Math.min(width - wide, Math.max(0, left + x)), Math.min(height - high, Math.max(0, top + y)), wide, high];
}
