/**
 * The timeline of levels: time to the right, each stretch of the video drawn by its noise.
 *
 * All that can be moved is a slider of its own (handle.js); the canvas beneath is a picture alone,
 * and each stretch has a sentence, for the pointer, the keyboard and screen readers alike.
 */
import { html, useEffect, useRef, useState } from "../html.js";
import { Icon } from "../icons.js";
import { moment as at, number, t } from "../language.js";
import { server } from "../store.js";
import { isDark } from "../theme.js";
import { drawPlan } from "./draw.js";
import { change, hasPins, lengthOf, mayChange, secondsOf, slotsOf } from "./form.js";
import { frameAt, onFrames } from "./frames.js";
import { Handle } from "./handle.js";
import { layNoise, prepared, useShimmer } from "./noise.js";
import { Parts, split } from "./parts.js";

const ROOM = 1.2; // of the track, to drag the end to the right
const SHADES = 12; // of the legend
const NARROW = 640; // CSS pixels of a window

/** plan: of levels.js; running: of draw.js; onPin: asks for a picture to place */
export function Timeline({ form, plan, model, running, onPin }) {
  const [held, setHeld] = useState(null); // span while something is dragged
  const [said, setSaid] = useState(null); // stretch whose sentence is shown
  const most = server.value.me.bounds.video.seconds, frame = 1 / model.fps;
  const span = held ?? Math.max(plan.seconds * (plan.handles.length ? ROOM : 1), frame);
  const hold = (on) => setHeld(on ? span : null);
  const moved = { of: span, step: frame, leap: 1, onHold: hold };
  const shown = plan.stretches.includes(said) ? said : null;
  return html`<section class="timeline" aria-label=${t("timeline")}>
    <${Ruler} span=${span} seconds=${plan.seconds} />
    <div class="track levels">
      <${Film} form=${form} plan=${plan} model=${model} span=${span} running=${running} />
      ${plan.stretches.map((each) => html`<${Stretch} key=${each.why + each.from} one=${each} span=${span} running=${running}
        onSay=${(on) => setSaid(on ? each : null)} />`)}
      ${plan.handles.map(({ name, at: moment, value }) => html`<${Handle} key=${name} ...${moved} name=${name} label=${t(`handle.${name}`)}
        text=${at(value)} at=${moment} value=${value} least=${name === "seconds" ? frame : 0} most=${most}
        onChange=${(next) => change(shortened(form, name, next))} />`)}
      ${form.verb === "edit" && form.media.clip?.id && html`<${Strength} form=${form} />`}
      ${hasPins(form.verb) && form.pins.map((pin, n) => html`<${Pin} key=${n} pin=${pin} n=${n} form=${form} plan=${plan} moved=${moved} />`)}
    </div>
    ${form.verb === "loop" && html`<p class="return" style=${{ width: `${100 * plan.seconds / span}%` }}><span>${t("loop.return")}</span></p>`}
    ${mayChange(form) && html`<${Parts} form=${form} plan=${plan} span=${span} moved=${moved} />`}
    <p class="sentence">${shown ? sentenceOf(shown, running) : t(`verb.${form.verb}.levels`)}</p>
    <div class="row">
      ${mayChange(form) && html`<button class="quiet" onClick=${() => split(form, plan.seconds, model.fps)}><${Icon} name="cut" />
        ${t(form.verb === "storyboard" ? "part.shot" : "part.add")}</button>`}
      ${hasPins(form.verb) && html`<button class="quiet" onClick=${onPin}><${Icon} name="pin" />${t("pin.add")}</button>`}
      <${Legend} />
    </div>
    ${slotsOf(form.verb).filter(({ name, picture }) => !picture && name !== "preview" && form.media[name]?.id).map(({ name }) => html`
      <${Trim} key=${name} name=${name} medium=${form.media[name]} media=${form.media} fps=${model.fps} />`)}
  </section>`;
}

/** The form with another length; parts of the prompt and pictures after the end are brought inside. */
function shortened(form, name, value) {
  if (name !== "seconds" || form.verb === "connect" || form.media.clip) return { [name]: value };
  const parts = form.parts.filter(({ start }) => start < value);
  const pins = form.pins.map((pin) => ({ ...pin, moment: Math.min(pin.moment, value) }));
  return { seconds: value, parts, pins, part: Math.min(form.part, parts.length - 1) };
}

function Ruler({ span, seconds }) {
  const most = innerWidth < NARROW ? 5 : 9, step = [0.25, 0.5, 1, 2, 5, 10, 20, 30, 60].find((each) => span / each <= most) ?? 60;
  const ticks = Array.from({ length: Math.floor(span / step) + 1 }, (_, n) => n * step);
  return html`<div class="ruler" aria-hidden="true">
    ${ticks.map((each) => html`<span key=${each} class=${each > seconds + 1e-6 ? "beyond" : ""} style=${{ left: `${100 * each / span}%` }}>${at(each)}</span>`)}
  </div>`;
}

function Film({ form, plan, model, span, running }) {
  const canvas = useRef(), now = useRef();
  const aspect = running?.medium ? running.medium.width / running.medium.height : aspectOf(form, model);
  now.current = { plan, fps: model.fps, aspect, span, running };
  const draw = useRef((turn = 0) => canvas.current && drawPlan(canvas.current, now.current.plan, { ...now.current, turn })).current;
  useEffect(() => { draw(); });
  useEffect(() => onFrames(() => draw()), []);
  useEffect(() => {
    const watch = new ResizeObserver(() => draw());
    watch.observe(canvas.current);
    return () => watch.disconnect();
  }, []);
  useShimmer(Boolean(running && !running.medium), draw);
  return html`<canvas ref=${canvas} data-dark=${isDark()} aria-hidden="true"></canvas>`;
}

function aspectOf(form, { size: [height, width] }) {
  const medium = form.media.clip ?? form.media.picture ?? form.media.one;
  if (form.verb === "outpaint" && /^\d+x\d+$/.test(form.fields.to ?? "")) return form.fields.to.split("x").reduce((w, h) => w / h);
  if (/^\d+x\d+$/.test(form.fields.size ?? "")) return form.fields.size.split("x").reduce((w, h) => w / h);
  return medium?.width ? medium.width / medium.height : width / height || 1;
}

function sentenceOf({ from, to, level, why, medium }, running) {
  const now = level * (1 - (running?.share ?? 0));
  const span = to - from < 0.15 ? at(from) : t("span", { from: number(from, 2), to: at(to) });
  const end = running && level ? t(running.medium ? "why.done" : "why.running") : t(`why.${why}`, { name: medium?.name ?? "" });
  return `${span} · ${t("level", { n: number(now, 2) })} · ${end}`;
}

function Stretch({ one, span, running, onSay }) {
  const sentence = sentenceOf(one, running);
  return html`<div class="stretch ${one.absent ? "absent" : ""}" role="img" tabindex="0" aria-label=${sentence} data-level=${one.level}
    style=${{ left: `${100 * one.from / span}%`, width: `${100 * (one.to - one.from) / span}%` }}
    onPointerEnter=${() => onSay(true)} onPointerLeave=${() => onSay(false)} onFocus=${() => onSay(true)} onBlur=${() => onSay(false)}>
    ${one.absent && html`<span>${t(`why.${one.why}`)}</span>`}
  </div>`;
}

/** How freely a clip is changed, as a line that is drawn up and down over it. */
function Strength({ form }) {
  const value = Number(form.fields.strength ?? 0.7);
  return html`<${Handle} name="strength" vertical label=${t("field.strength")} text=${number(value, 2)} at=${value} of=${1} value=${value}
    most=${1} step=${0.05} leap=${0.25} onChange=${(strength) => change({ fields: { ...form.fields, strength } })} />`;
}

function Pin({ pin, n, form, plan, moved }) {
  const picture = useRef();
  useEffect(() => onFrames(() => paint()), []);
  const paint = () => {
    const found = frameAt(pin.item, 0);
    if (found && picture.current) picture.current.getContext("2d").drawImage(found, 0, 0, 40, 40);
  };
  useEffect(paint);
  const put = (moment) => change({ pins: form.pins.map((each, other) => (other === n ? { ...each, moment } : each)) });
  const remove = () => change({ pins: form.pins.filter((_, other) => other !== n) });
  return html`<${Handle} ...${moved} name="pin" label=${t("handle.pin", { name: pin.item.name })} text=${at(pin.moment)} at=${pin.moment}
    value=${pin.moment} least=${form.verb === "animate" ? moved.step : 0} most=${secondsOf(form)} onChange=${put} onRemove=${remove}>
    <canvas ref=${picture} width="40" height="40"></canvas>
  <//>`;
}

/** A given clip as it is in its file, with the stretch that is used. */
function Trim({ name, medium, media, fps }) {
  const canvas = useRef();
  const draw = () => canvas.current && drawPlan(canvas.current, { stretches: [{ from: 0, to: medium.seconds, level: 0, medium }] },
    { fps, aspect: medium.width / medium.height, span: medium.seconds });
  useEffect(() => { draw(); });
  useEffect(() => onFrames(draw), [medium.id]);
  const step = 1 / medium.fps, start = medium.start ?? 0, stop = medium.stop ?? medium.seconds;
  const put = (values) => change({ media: { ...media, [name]: { ...medium, ...values } } });
  const shared = { of: medium.seconds, step, leap: 1 };
  const stopped = (value) => put({ stop: value > medium.seconds - step / 2 ? null : value });
  return html`<div class="trim">
    <p><span dir="auto">${medium.name}</span> · ${t("trim.used", { n: at(lengthOf(medium)), all: at(medium.seconds) })}</p>
    <div class="track"><canvas ref=${canvas} aria-hidden="true"></canvas>
      <div class="unused" style=${{ left: 0, width: `${100 * start / medium.seconds}%` }}></div>
      <div class="unused" style=${{ left: `${100 * stop / medium.seconds}%`, right: 0 }}></div>
      <${Handle} ...${shared} name="start" label=${t("handle.start", { name: medium.name })} text=${at(start)} at=${start} value=${start}
        most=${stop - step} onChange=${(value) => put({ start: value })} />
      <${Handle} ...${shared} name="stop" label=${t("handle.stop", { name: medium.name })} text=${at(stop)} at=${stop} value=${stop}
        least=${start + step} most=${medium.seconds} onChange=${stopped} />
    </div>
  </div>`;
}

function Legend() {
  const canvas = useRef();
  useEffect(() => {
    const { context, width, height } = prepared(canvas.current);
    for (let n = 0; n < SHADES; n++) layNoise(context, n * width / SHADES, 0, width / SHADES, height, n / (SHADES - 1));
  }, [isDark()]);
  return html`<span class="legend" title=${t("legend.help")}><span>${t("legend.clean")}</span><canvas ref=${canvas} aria-hidden="true"></canvas><span>${t("legend.noise")}</span></span>`;
}
