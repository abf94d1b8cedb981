/**
 * The mask of a region, drawn on the frames of its clip. It holds for the whole clip, as the verb
 * takes it, so one may paint on one frame and look at another.
 *
 * The mask is a canvas of the clip's own pixels; it is kept as a PNG, white where it is repainted.
 */
import { html, useEffect, useRef, useState } from "../html.js";
import { Dialog } from "../dialog.js";
import { Icon } from "../icons.js";
import { number, t } from "../language.js";
import { content } from "../store.js";
import { keep } from "./media.js";

const TOOLS = { brush: "pencil", eraser: "eraser", box: "box" };
const MOST_UNDONE = 40, HALF = 128;
const PAINT = "rgb(255 64 96)";

/** clip: a slot's medium; onMask: gets the item of the finished mask */
export function MaskEditor({ clip, onMask, onClose }) {
  const { width, height, fps } = clip, last = Math.max(0, clip.frames - 1);
  const canvas = useRef(), film = useRef(), before = useRef([]), held = useRef(null);
  const [tool, setTool] = useState("brush"), [size, setSize] = useState(Math.max(2, Math.round(Math.min(width, height) / 6)));
  const [frame, setFrame] = useState(0), [box, setBox] = useState(null), [painted, setPainted] = useState(false), [busy, setBusy] = useState(false);
  const context = () => canvas.current.getContext("2d", { willReadFrequently: true });
  const remember = () => { before.current = [...before.current, context().getImageData(0, 0, width, height)].slice(-MOST_UNDONE); };
  const seen = () => setPainted(context().getImageData(0, 0, width, height).data.some((value, at) => at % 4 === 3 && value >= HALF));
  const undo = () => {
    const image = before.current.pop();
    if (image) context().putImageData(image, 0, 0);
    seen();
  };
  const clear = () => { remember(); context().clearRect(0, 0, width, height); setBox(null); seen(); };
  const invert = () => {
    remember();
    const image = context().getImageData(0, 0, width, height);
    for (let at = 0; at < image.data.length; at += 4) image.data.set([255, 64, 96, image.data[at + 3] >= HALF ? 0 : 255], at);
    context().putImageData(image, 0, 0);
    seen();
  };
  const stroke = (from, to) => {
    const pen = context();
    pen.globalCompositeOperation = tool === "eraser" ? "destination-out" : "source-over";
    Object.assign(pen, { strokeStyle: PAINT, lineWidth: size, lineCap: "round" });
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(to[0] + 0.01, to[1]);
    pen.stroke();
    pen.globalCompositeOperation = "source-over";
  };
  const fill = (one) => {
    if (!one?.[2] || !one[3]) return;
    remember();
    context().fillStyle = PAINT;
    context().fillRect(...one);
    setBox(null);
    seen();
  };
  const place = ({ clientX, clientY }) => {
    const at = canvas.current.getBoundingClientRect();
    return [((clientX - at.left) / at.width) * width, ((clientY - at.top) / at.height) * height];
  };
  const down = (event) => {
    if (event.button) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    held.current = place(event);
    if (tool === "box") return;
    remember();
    stroke(held.current, held.current);
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
    else if (held.current) seen();
    held.current = null;
  };
  const press = (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") { event.preventDefault(); undo(); return; }
    if (event.target !== canvas.current) return;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) { setTool("box"); setBox((one) => moved(one ?? middle(width, height), step, event.shiftKey, width, height)); }
    else if (event.key === "Enter" && box) fill(box);
    else return;
    event.preventDefault();
  };
  useEffect(() => { if (film.current) film.current.currentTime = (frame + 0.5) / fps; }, [frame]);
  const done = async () => {
    setBusy(true);
    const item = await keep(new File([await png(context().getImageData(0, 0, width, height))], t("mask.file"), { type: "image/png" }));
    setBusy(false);
    if (item) onMask(item);
  };
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
      <div class="board" style=${{ aspectRatio: `${width} / ${height}`, maxWidth: `calc(58vh * ${width / height})` }}>
        ${clip.type.startsWith("video/") ? html`<video ref=${film} src=${content(clip.id)} muted playsinline preload="auto" tabindex="-1" aria-hidden="true"></video>`
          : html`<img src=${content(clip.id)} alt="" />`}
        <canvas ref=${canvas} width=${width} height=${height} tabindex="0" role="img" aria-label=${t("mask.board")} aria-describedby="mask-help"
          onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${up}></canvas>
        ${box && html`<div class="frame" style=${{ left: `${100 * box[0] / width}%`, top: `${100 * box[1] / height}%`, width: `${100 * box[2] / width}%`, height: `${100 * box[3] / height}%` }}></div>`}
      </div>
      ${last > 0 && html`<label class="row">${t("mask.frame", { n: frame + 1, all: last + 1, s: number(frame / fps, 2) })}
        <input type="range" class="long" min="0" max=${last} value=${frame} onInput=${(event) => setFrame(Number(event.target.value))} /></label>`}
      <p class="small" id="mask-help">${t("mask.help")} <span role="status">${shown}</span></p>
      <div class="row"><button class="main" disabled=${!painted || busy} onClick=${done}>${t("mask.done")}</button>
        ${!painted && html`<span class="small">${t("mask.empty")}</span>`}</div>
    </div>
  <//>`;
}

const middle = (width, height) => [Math.round(width / 4), Math.round(height / 4), Math.round(width / 2), Math.round(height / 2)];

/** Rectangle [left, top, width, height] between two points, in whole pixels of the clip. */
function between([x, y], [u, v], width, height) {
  const [left, right] = [x, u].sort((a, b) => a - b).map((each) => Math.min(width, Math.max(0, Math.round(each))));
  const [top, bottom] = [y, v].sort((a, b) => a - b).map((each) => Math.min(height, Math.max(0, Math.round(each))));
  return [left, top, right - left, bottom - top];
}

/** A rectangle moved by a pixel, or with its lower right corner moved. */
function moved([left, top, wide, high], [x, y], resize, width, height) {
  if (resize) return [left, top, Math.min(width - left, Math.max(1, wide + x)), Math.min(height - top, Math.max(1, high + y))];
  return [Math.min(width - wide, Math.max(0, left + x)), Math.min(height - high, Math.max(0, top + y)), wide, high];
}

/** PNG of a mask: white where it was painted, black elsewhere. */
function png(image) {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  for (let at = 0; at < image.data.length; at += 4) image.data.fill(image.data[at + 3] >= HALF ? 255 : 0, at, at + 3).fill(255, at + 3, at + 4);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
}
