/**
 * The mask of a region, drawn on the frames of its clip.
 *
 * A drawing holds from its frame until that of the next; there is one from the first frame on, so
 * whoever draws once has drawn for the whole clip. Drawings are of the clip's own pixels; they are
 * kept as one PNG, an animated one if there are several, white where it is repainted (png.js).
 */
import { html, useLayoutEffect, useRef, useState } from "../html.js";
import { Dialog } from "../dialog.js";
import { Icon } from "../icons.js";
import { number, t } from "../language.js";
import { Frame, Moment, Rectangle, fitting, placeOn } from "./board.js";
import { keep } from "./media.js";
import { between, middle, moved } from "./box.js";
import { png } from "./png.js";

const TOOLS = { brush: "pencil", eraser: "eraser", box: "box" };
const MOST_UNDONE = 40, HALF = 128;
const PAINT = "rgb(255 64 96)";
const EMPTY = [{ from: 0, image: null }]; // drawings: image: as painted, null: nothing is
let last = null; // drawings of the mask that was used last: { mask, clip, drawings }, the first two as ids

/** clip, mask: media of slots, the mask if there is one; onMask: gets the item of the finished mask */
export function MaskEditor({ clip, mask, onMask, onClose }) {
  const { width, height } = clip, final = Math.max(0, clip.frames - 1);
  const canvas = useRef(), before = useRef([]), held = useRef(null), latest = useRef(middle(width, height));
  const [drawings, setDrawings] = useState(() => (last?.clip === clip.id && last.mask === mask?.id ? last.drawings : EMPTY));
  const [tool, setTool] = useState("brush"), [size, setSize] = useState(Math.max(2, Math.round(Math.min(width, height) / 6)));
  const [frame, setFrame] = useState(0), [box, setBox] = useState(null), [busy, setBusy] = useState(false);
  const at = drawings.findLastIndex(({ from }) => from <= frame), { from, image } = drawings[at];
  const context = () => canvas.current.getContext("2d", { willReadFrequently: true });
  const show = () => (image ? context().putImageData(image, 0, 0) : context().clearRect(0, 0, width, height));
  useLayoutEffect(show, [image]);

  const put = (next) => {
    before.current = [...before.current, { drawings, frame }].slice(-MOST_UNDONE);
    setDrawings(next);
  };
  const paint = () => {
    const painted = context().getImageData(0, 0, width, height);
    put(drawings.with(at, { from, image: painted.data.some((value, n) => n % 4 === 3 && value >= HALF) ? painted : null }));
  };
  const undo = () => {
    const found = before.current.pop();
    if (!found) return;
    setDrawings(found.drawings);
    setFrame(found.frame);
  };
  const clear = () => { setBox(null); put(drawings.with(at, { from, image: null })); };
  const anew = () => put(drawings.toSpliced(at + 1, 0, { from: frame, image: null }));
  const drop = () => put(drawings.toSpliced(at, 1));
  const invert = () => {
    const turned = context().getImageData(0, 0, width, height);
    for (let n = 0; n < turned.data.length; n += 4) turned.data.set([255, 64, 96, turned.data[n + 3] >= HALF ? 0 : 255], n);
    context().putImageData(turned, 0, 0);
    paint();
  };
  const stroke = (start, end) => {
    const pen = context();
    pen.globalCompositeOperation = tool === "eraser" ? "destination-out" : "source-over";
    Object.assign(pen, { strokeStyle: PAINT, lineWidth: size, lineCap: "round" });
    pen.beginPath();
    pen.moveTo(...start);
    pen.lineTo(end[0] + 0.01, end[1]);
    pen.stroke();
    pen.globalCompositeOperation = "source-over";
  };
  const fill = (one) => {
    setBox(null);
    if (!one[2] || !one[3]) return;
    latest.current = one;
    context().fillStyle = PAINT;
    context().fillRect(...one);
    paint();
  };
  const place = (event) => placeOn(event, canvas.current, clip);
  const down = (event) => {
    if (event.button) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    held.current = place(event);
    if (tool !== "box") stroke(held.current, held.current);
  };
  const move = (event) => {
    if (!held.current) return;
    const to = place(event);
    if (tool === "box") { setBox(between(held.current, to, width, height)); return; }
    stroke(held.current, to);
    held.current = to;
  };
  const up = (event) => {
    if (held.current && tool === "box") fill(between(held.current, place(event), width, height));
    else if (held.current) paint();
    held.current = null;
  };
  const press = (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") { event.preventDefault(); undo(); return; }
    if (event.target !== canvas.current) return;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) { setTool("box"); setBox((one) => moved(one ?? latest.current, step, event.shiftKey, width, height)); }
    else if (event.key === "Enter" && box) fill(box);
    else return;
    event.preventDefault();
  };
  const done = async () => {
    setBusy(true);
    const item = await keep(await fileOf(drawings, clip));
    setBusy(false);
    if (!item) return;
    last = { mask: item.id, clip: clip.id, drawings };
    onMask(item);
  };
  const isEmpty = drawings.every((one) => !one.image);
  const shown = box && t("mask.box", { left: box[0], top: box[1], width: box[2], height: box[3] });
  return html`<${Dialog} wide title=${t("mask.title")} onClose=${onClose}>
    <div class="mask" onKeyDown=${press}>
      <div class="row tools-of-mask">
        <div class="row" role="radiogroup" aria-label=${t("mask.tools")}>${Object.entries(TOOLS).map(([name, icon]) => html`<button key=${name} class="quiet" role="radio"
          aria-checked=${tool === name} onClick=${() => setTool(name)}><${Icon} name=${icon} />${t(name === "box" ? "mask.rectangle" : `mask.${name}`)}</button>`)}</div>
        <label class="row">${t("mask.size")}<input type="range" min="1" max=${Math.round(Math.min(width, height) / 2)} value=${size} disabled=${tool === "box"} onInput=${(event) => setSize(Number(event.target.value))} /></label>
        <button class="quiet" onClick=${undo}>${t("undo")}</button>
        <button class="quiet" onClick=${invert}>${t("mask.invert")}</button>
        <button class="quiet" onClick=${clear}>${t("mask.clear")}</button>
      </div>
      <div class="board" style=${fitting(clip)}>
        <${Frame} clip=${clip} frame=${frame} />
        <canvas ref=${canvas} width=${width} height=${height} tabindex="0" role="img" aria-label=${t("mask.board")} aria-describedby="mask-help"
          onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${up}></canvas>
        ${box && html`<${Rectangle} box=${box} clip=${clip} />`}
      </div>
      ${final > 0 && html`<${Moments} drawings=${drawings} at=${at} frame=${frame} clip=${clip} onFrame=${setFrame} onNew=${anew} onRemove=${drop} />`}
      <p class="small" id="mask-help">${t(final > 0 ? "mask.help.time" : "mask.help")} ${t("mask.help.keys")} <span role="status">${shown}</span></p>
      <div class="row"><button class="main" disabled=${isEmpty || busy} onClick=${done}>${t("mask.done")}</button>
        ${isEmpty && html`<span class="small">${t("mask.empty")}</span>`}</div>
    </div>
  <//>`;
}

/** The frame that is shown, and the drawings along the clip. */
function Moments({ drawings, at, frame, clip, onFrame, onNew, onRemove }) {
  const { frames, fps } = clip, seconds = (n) => t("unit.seconds", { n: number(n / fps, 2) });
  return html`<div class="moments">
    <${Moment} clip=${clip} frame=${frame} onFrame=${onFrame} />
    <div class="drawings" role="group" aria-label=${t("mask.drawings")}>${drawings.map(({ from, image }, n) => html`<button key=${from} class=${image ? "painted" : ""}
      style=${{ flexGrow: (drawings[n + 1]?.from ?? frames) - from }} aria-pressed=${n === at} onClick=${() => onFrame(from)}
      aria-label=${t(image ? "mask.drawing" : "mask.drawing.empty", { s: seconds(from) })}>${seconds(from)}</button>`)}</div>
    <div class="row">
      <button class="quiet" disabled=${drawings[at].from === frame} onClick=${onNew}><${Icon} name="plus" />${t("mask.new")}</button>
      <button class="quiet" disabled=${at === 0} onClick=${onRemove}>${t("mask.remove")}</button>
    </div>
  </div>`;
}

/** File of a mask: white where it was painted, black elsewhere. */
async function fileOf(drawings, { width, height, fps, frames }) {
  const moment = (frame) => Math.round((1000 * frame) / fps);
  const grey = (image) => Uint8Array.from({ length: width * height }, (_, n) => (image && image.data[4 * n + 3] >= HALF ? 255 : 0));
  const content = await png(drawings.map(({ from, image }) => ({ grey: grey(image), from: moment(from) })), { width, height, end: moment(frames) });
  return new File([content], t("mask.file"), { type: content.type });
}
