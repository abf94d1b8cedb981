/**
 * The region of a clip chosen on its frames: a rectangle that is drawn, or a colour that is picked.
 * Not here: a mask that is painted (mask.js).
 */
import { Dialog } from "../dialog.js";
import { html, useLayoutEffect, useRef, useState } from "../html.js";
import { t } from "../language.js";
import { Frame, Moment, Rectangle, fitting, placeOn } from "./board.js";
import { between, middle, moved } from "./box.js";
import { isNear, mark } from "./hole.js";

const PAINT = [255, 64, 96];
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const read = (value, count) => {
  const numbers = String(value ?? "").split(",").map(Number);
  return numbers.length === count && numbers.every(Number.isInteger) ? numbers : null;
};

/** name: box or colour; value: of that field; onUse: gets the new value */
export function RegionEditor({ name, clip, value, onUse, onClose }) {
  const [frame, setFrame] = useState(0), [chosen, setChosen] = useState(() => read(value, name === "box" ? 4 : 3));
  const [left, top, width, height] = chosen ?? [], isDrawn = Boolean(chosen) && (name === "colour" || (width > 0 && height > 0));
  const Tool = name === "box" ? Drawn : Picked;
  return html`<${Dialog} wide title=${t(`region.${name}`)} onClose=${onClose}>
    <div class="mask">
      <${Tool} clip=${clip} frame=${frame} chosen=${chosen} onChoose=${setChosen} />
      ${clip.frames > 1 && html`<${Moment} clip=${clip} frame=${frame} onFrame=${setFrame} />`}
      <p class="small" id="region-help">${t(`region.${name}.help`)}</p>
      <div class="row"><button class="main" disabled=${!isDrawn} onClick=${() => onUse(chosen.join(","))}>${t(`region.${name}.use`)}</button>
        <span class="small" role="status">${isDrawn && (name === "box" ? t("mask.box", { left, top, width, height }) : html`<${Swatch} colour=${chosen} />`)}</span></div>
    </div>
  <//>`;
}

function Swatch({ colour }) {
  return html`<span class="swatch" style=${{ background: `rgb(${colour.join(" ")})` }}></span> ${colour.join(", ")}`;
}

/** A rectangle, by the pointer or the arrow keys. */
function Drawn({ clip, frame, chosen, onChoose }) {
  const { width, height } = clip, held = useRef(null), at = useRef();
  const put = (event) => held.current && onChoose(between(held.current, placeOn(event, at.current, clip), width, height));
  const down = (event) => {
    if (event.button) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    held.current = placeOn(event, at.current, clip);
  };
  const press = (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    onChoose((box) => moved(box ?? middle(width, height), step, event.shiftKey, width, height));
  };
  return html`<div class="board" style=${fitting(clip)}>
    <${Frame} clip=${clip} frame=${frame} />
    <canvas ref=${at} width=${width} height=${height} tabindex="0" role="img" aria-label=${t("region.box")} aria-describedby="region-help"
      onPointerDown=${down} onPointerMove=${put} onPointerUp=${(event) => { put(event); held.current = null; }} onPointerCancel=${() => { held.current = null; }} onKeyDown=${press}></canvas>
    ${chosen && html`<${Rectangle} box=${chosen} clip=${clip} />`}
  </div>`;
}

/** A pixel's colour; what is near it in the frame that is shown is marked. */
function Picked({ clip, frame, chosen, onChoose }) {
  const { width, height } = clip, at = useRef(), pixels = useRef(null), [aim, setAim] = useState(null), [shown, setShown] = useState(0);
  const look = (element) => {
    const canvas = Object.assign(document.createElement("canvas"), { width, height }), context = canvas.getContext("2d");
    context.drawImage(element, 0, 0, width, height);
    pixels.current = context.getImageData(0, 0, width, height);
    setShown((count) => count + 1);
  };
  useLayoutEffect(() => {
    const context = at.current.getContext("2d");
    context.clearRect(0, 0, width, height);
    if (!chosen || !pixels.current) return;
    const image = new ImageData(pixels.current.data.slice(), width, height);
    mark(image, isNear(chosen), PAINT);
    context.putImageData(image, 0, 0);
  }, [String(chosen), shown]);
  const take = ([x, y]) => {
    const column = Math.min(width - 1, Math.max(0, Math.floor(x))), row = Math.min(height - 1, Math.max(0, Math.floor(y))), n = 4 * (row * width + column);
    setAim([column, row]);
    if (pixels.current) onChoose([...pixels.current.data.subarray(n, n + 3)]);
  };
  const down = (event) => {
    if (event.button) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    take(placeOn(event, at.current, clip));
  };
  const press = (event) => {
    const step = STEPS[event.key], [x, y] = aim ?? [width >> 1, height >> 1];
    if (!step) return;
    event.preventDefault();
    take([x + step[0], y + step[1]]);
  };
  return html`<div class="board picking" style=${fitting(clip)}>
    <${Frame} clip=${clip} frame=${frame} onShown=${look} />
    <canvas ref=${at} width=${width} height=${height} tabindex="0" role="img" aria-label=${t("region.colour")} aria-describedby="region-help"
      onPointerDown=${down} onPointerMove=${(event) => event.buttons && take(placeOn(event, at.current, clip))} onKeyDown=${press}></canvas>
    ${aim && html`<${Rectangle} box=${[...aim, 1, 1]} clip=${clip} />`}
  </div>`;
}
