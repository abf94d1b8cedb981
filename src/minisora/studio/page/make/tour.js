/** A tour of Make in five steps: offered once, and to be had again from the page of keys. Its box leaves free what it is about. */
import { cell, kept, useCell } from "../cell.js";
import { html, useLayoutEffect, useRef } from "../html.js";
import { t } from "../language.js";

const STEPS = { verbs: ".verbs", prompt: ".prompt", timeline: ".timeline", send: ".send", drafts: ".drafts" };
const NAMES = Object.keys(STEPS);
const offered = kept("minisora.tour", true);
export const step = cell(null); // number of the step that is shown

const end = () => { step.set(null); offered.set(false); };

export function Tour() {
  const now = useCell(step), offers = useCell(offered);
  if (now === null) return offers && html`<p class="editing offer"><span>${t("tour.offer")}</span>
    <button class="quiet strong" onClick=${() => step.set(0)}>${t("tour.start")}</button><button class="quiet" onClick=${end}>${t("tour.no")}</button></p>`;
  return html`<${Step} key=${now} n=${now} />`;
}

function Step({ n }) {
  const next = useRef(), box = useRef(), name = NAMES[n], isLast = n === NAMES.length - 1;
  useLayoutEffect(() => next.current.focus({ preventScroll: true }), []); // before the step is seen, so that no key is lost
  useLayoutEffect(() => { // with its words, so that neither is seen without the other
    const target = document.querySelector(STEPS[name]), press = (event) => { if (event.key === "Escape") end(); };
    target?.classList.add("toured");
    target?.scrollIntoView({ block: target.offsetHeight > (innerHeight - box.current.offsetHeight) / 2 ? "start" : "nearest" }); // with the margins of .toured, clear of the box
    addEventListener("keydown", press);
    return () => { target?.classList.remove("toured"); removeEventListener("keydown", press); };
  }, [name]);
  return html`<aside class="tour" ref=${box} role="dialog" aria-label=${t("tour")}>
    <p class="small">${t("tour.step", { n: n + 1, all: NAMES.length })}</p>
    <p>${t(`tour.${name}`)}</p>
    <div class="row"><button class="main" ref=${next} onClick=${isLast ? end : () => step.set(n + 1)}>${t(isLast ? "tour.end" : "tour.next")}</button>
      ${n > 0 && html`<button class="quiet" onClick=${() => step.set(n - 1)}>${t("tour.back")}</button>`}
      ${!isLast && html`<button class="quiet" onClick=${end}>${t("tour.skip")}</button>`}</div>
  </aside>`;
}
