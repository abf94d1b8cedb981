/**
 * The queue: what is being made, what waits and in which order, and what came to nothing.
 *
 * Jobs are those of the live channel, so the view is right after a reload and a restart of the
 * server. Here: the lists. Not here: one job (row.js), calls (actions.js).
 */
import { useCell } from "../cell.js";
import { html, useRef, useState } from "../html.js";
import { Dialog } from "../dialog.js";
import { duration, t } from "../language.js";
import { jobs } from "../store.js";
import { jobTitle } from "../titles.js";
import { cancelAll, move } from "./actions.js";
import { Row } from "./row.js";

const SHOWN = 12; // failed and cancelled jobs

export function Queue() {
  const all = [...useCell(jobs).values()], [said, setSaid] = useState("");
  const of = (...states) => all.filter(({ video }) => states.includes(video.minisora.state));
  const running = of("running"), waiting = of("waiting").sort(byPlace), paused = of("paused").sort(byAge);
  const ended = of("failed", "cancelled").sort((a, b) => byAge(b, a)).slice(0, SHOWN), open = running.length + waiting.length + paused.length;
  const left = Math.max(0, ...[...running, ...waiting].map(({ video }) => video.minisora.done_in ?? 0));
  return html`<div class="queue">
    <h1 class="hidden">${t("nav.queue")}</h1>
    <p class="hidden" role="status">${said}</p>
    ${open > 0 && html`<p class="small summary">${t("queue.summary", { n: running.length + waiting.length })}${left >= 1 && ` · ${t("draft.left", { n: duration(left) })}`}</p>`}
    ${!open && html`<div class="soon"><h2>${t("queue.empty")}</h2><p>${t("queue.empty.next")}</p><p><a class="button" href="#make">${t("soon.next")}</a></p></div>`}
    <${List} name="running" jobs=${running} />
    <${Line} jobs=${waiting} onSay=${setSaid} />
    <${List} name="paused" jobs=${paused} />
    <${List} name="ended" jobs=${ended} />
  </div>`;
}

const byAge = (a, b) => a.video.created_at - b.video.created_at || (a.video.id < b.video.id ? -1 : 1);
const byPlace = (a, b) => a.video.minisora.place - b.video.minisora.place;

function List({ name, jobs: list }) {
  return list.length > 0 && html`<section aria-label=${t(`queue.${name}`)}><h2>${t(`queue.${name}`)}</h2>
    <ol class="jobs">${list.map((each) => html`<${Row} key=${each.video.id} job=${each} />`)}</ol></section>`;
}

/** Waiting jobs, which are dragged, or moved by the arrow keys, to another place. */
function Line({ jobs: list, onSay }) {
  const at = useRef(), [drag, setDrag] = useState(null); // { from, to }: places in the list
  const [asks, setAsks] = useState(false);
  const put = async (from, to) => {
    if (to === from || to < 0 || to >= list.length) return;
    const rest = list.filter((_, n) => n !== from), { video } = list[from];
    await move(video.id, rest[to]?.video.id ?? null);
    onSay(t("queue.moved", { prompt: jobTitle(video), n: to + 1 }));
    at.current?.querySelector(`[data-id="${video.id}"] .grip`)?.focus();
  };
  const placeOf = (y) => {
    const middles = [...at.current.children].map((each) => each.getBoundingClientRect()).map(({ top, height }) => top + height / 2);
    return middles.filter((middle) => middle < y).length;
  };
  const grip = (n) => ({
    onPointerDown: (event) => { if (!event.button) { event.currentTarget.setPointerCapture(event.pointerId); setDrag({ from: n, to: n }); } },
    onPointerMove: (event) => drag && setDrag({ from: drag.from, to: placeOf(event.clientY) }),
    onPointerUp: (event) => {
      const to = placeOf(event.clientY);
      if (drag) put(n, to > n ? to - 1 : to);
      setDrag(null);
    },
    onPointerCancel: () => setDrag(null),
    onKeyDown: (event) => {
      const step = { ArrowUp: -1, ArrowDown: 1, Home: -n, End: list.length - 1 - n }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      put(n, n + step);
    },
  });
  const line = (n) => (!drag || drag.to === drag.from || drag.to === drag.from + 1 ? "" : drag.to === n ? "before" : drag.to === list.length && n === list.length - 1 ? "after" : "");
  return list.length > 0 && html`<section aria-label=${t("queue.waiting")}>
    <div class="row head"><h2>${t("queue.waiting")}</h2>
      ${list.length > 1 && html`<button class="quiet" onClick=${() => setAsks(true)}>${t("queue.cancelAll")}</button>`}</div>
    <ol class="jobs" ref=${at}>${list.map((each, n) => html`<${Row} key=${each.video.id} job=${each} grip=${grip(n)} mark=${`${drag?.from === n ? "held" : ""} ${line(n)}`} />`)}</ol>
    ${list.length > 1 && html`<p class="small">${t("queue.move.help")}</p>`}
    ${asks && html`<${CancelAll} ids=${list.map(({ video }) => video.id)} onClose=${() => setAsks(false)} />`}
  </section>`;
}

function CancelAll({ ids, onClose }) {
  const cancel = () => { onClose(); cancelAll(ids); };
  return html`<${Dialog} title=${t("queue.cancelAll.ask", { n: ids.length })} onClose=${onClose}>
    <p class="small">${t("queue.cancelAll.help")}</p>
    <div class="row"><button class="main" onClick=${cancel}>${t("queue.cancelAll.yes", { n: ids.length })}</button>
      <button onClick=${onClose}>${t("queue.cancelAll.no")}</button></div>
  <//>`;
}
