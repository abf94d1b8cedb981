/**
 * The prompt along the timeline. Its parts lie where something is made: between given clips, under
 * which stand their own words.
 */
import { html } from "../html.js";
import { moment, t } from "../language.js";
import { change, madeOf } from "./form.js";
import { Handle } from "./handle.js";
import { cut, without } from "./schedule.js";

const LEAST = 1e-6; // seconds, of a piece

/** A part is chosen to be written, its start is moved. One part alone is no choice: it is shown. */
export function Parts({ form, plan, span, moved }) {
  const { parts, part } = form, spans = spansOf(form, plan.seconds);
  const place = ([from, to]) => ({ left: `${100 * from / span}%`, width: `${100 * (to - from) / span}%` });
  const start = (n) => (to) => change({ parts: parts.map((each, other) => (other === n ? { ...each, start: outside(to, each.start, spans) } : each)) });
  const remove = (n) => change({ parts: without(parts, n), part: Math.max(0, Math.min(part, parts.length - 2)) });
  const piece = (n, from, to) => {
    const { text } = parts[n], shared = { key: `${n} ${from}`, dir: "auto", style: place([from, to]) };
    if (parts.length === 1) return html`<p ...${shared} class="part only ${text ? "" : "empty"}">${text || t("part.empty")}</p>`;
    return html`<button ...${shared} class="part" aria-pressed=${n === part} aria-label=${t("part.label", { from: moment(from), text: text || t("part.empty") })}
      onClick=${() => { change({ part: n }); document.getElementById("prompt")?.focus(); }}>${text || t("part.empty")}</button>`;
  };
  return html`<div class="track parts">
    ${plan.stretches.filter(({ level, region, medium }) => medium && level === 0 && !region && medium.frames > 1).map(({ from, to, medium }) => html`
      <p key=${`given ${from}`} class="part own" dir="auto" style=${place([from, to])} title=${medium.said || medium.name}>${medium.said || medium.name}</p>`)}
    ${parts.flatMap((_, n) => piecesOf(parts, n, spans, plan.seconds).map((each) => piece(n, ...each)))}
    ${parts.map(({ start: from }, n) => n > 0 && html`<${Handle} key=${`h${n}`} ...${moved} name="part" label=${t("handle.part", { n: n + 1 })}
      text=${moment(from)} at=${from} value=${from} least=${Math.max(parts[n - 1].start, spans[0][0]) + moved.step}
      most=${Math.max(parts[n + 1]?.start ?? plan.seconds, from) - moved.step} onChange=${start(n)} onRemove=${() => remove(n)} />`)}
  </div>`;
}

/** Change the prompt on the way: where another stretch begins, or in the middle of the part's own. */
export function split(form, seconds, fps) {
  const { parts, part } = form, pieces = piecesOf(parts, part, spansOf(form, seconds), seconds), [from, to] = pieces.at(-1);
  const middle = pieces.length > 1 ? from : from + Math.round(((to - from) / 2) * fps) / fps;
  if (middle > parts[part].start && middle < to) change({ parts: cut(parts, Number(middle.toFixed(6))), part: part + 1 });
}

const spansOf = (form, seconds) => madeOf(form).map(([from, to]) => [from, Math.min(to, seconds)]).filter(([from, to]) => to - from > LEAST);

/** Pieces of what is made that a part speaks of; all that it covers, if nothing is made there. */
function piecesOf(parts, n, spans, seconds) {
  const { start } = parts[n], stop = Math.max(parts[n + 1]?.start ?? seconds, start);
  const found = spans.map(([from, to]) => [Math.max(from, start), Math.min(to, stop)]).filter(([from, to]) => to - from > LEAST);
  return found.length ? found : [[start, stop]];
}

/** A moment that is in no given clip: past it, on the side that it is moved to. */
function outside(to, before, spans) {
  const next = spans.findIndex(([from]) => from > to), inside = next > 0 ? to > spans[next - 1][1] : false;
  if (!inside) return to;
  return to > before ? spans[next][0] : spans[next - 1][1];
}
