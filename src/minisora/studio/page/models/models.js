/** The models of this server: what each makes, how fast it is here, and its card. */
import { get } from "../api.js";
import { useCell } from "../cell.js";
import { html, useEffect, useState } from "../html.js";
import { duration, fileSize, language, number, t } from "../language.js";
import { change } from "../make/form.js";
import { Markdown } from "../markdown.js";
import { jobs, server } from "../store.js";

const LEAST = 1; // jobs to say how long they take

export function Models() {
  const { models } = useCell(server);
  return html`<div class="models"><h1 class="hidden">${t("nav.models")}</h1>
    ${models.map((model, n) => html`<${Model} key=${model.id} model=${model} isFirst=${n === 0} />`)}</div>`;
}

function Model({ model: { id, minisora: facts }, isFirst }) {
  const [card, setCard] = useState(null), known = useCell(jobs), words = useCell(language);
  useEffect(() => {
    if (!facts.provider) get(`/v1/models/${id}`, { language: words }).then((found) => setCard(found.minisora.card ?? ""), () => {}); // its facts stay
  }, [id, words]);
  const use = () => { change({ model: isFirst ? "" : id }); location.hash = "make"; };
  const speed = speedOf([...known.values()], id);
  return html`<article class="model">
    <header><h2 dir="auto">${id}</h2>
      ${isFirst && html`<span class="badge">${t("models.first")}</span>`}
      ${facts.provider && html`<span class="badge">${t("models.provider", { name: facts.provider })}</span>`}
      <button class="quiet strong" onClick=${use}>${t("models.use")}</button></header>
    <dl class="settings">
      ${rowsOf(facts).map(([name, value]) => html`<div key=${name}><dt>${t(`models.${name}`)}</dt><dd>${value}</dd></div>`)}
      ${speed && html`<div><dt>${t("models.speed")}</dt><dd>${t("models.speed.is", { n: duration(speed.seconds), m: duration(speed.length) })}</dd></div>`}
    </dl>
    ${facts.provider && html`<p class="small">${t("models.provider.help", { name: facts.provider })}</p>`}
    ${card && html`<div class="card-text"><${Markdown} text=${card} /></div>`}
  </article>`;
}

function rowsOf({ size, seconds, fps, steps, guidance, size_bytes: bytes, verbs, digest, world }) {
  const rows = [
    ["size", size && `${size[1]} × ${size[0]}`], ["length", seconds && duration(seconds)], ["fps", fps && number(fps)],
    ["steps", steps && number(steps)], ["guidance", guidance && number(guidance)],
    ["memory", bytes && fileSize(bytes)], ["world", world],
    ["verbs", verbs?.map((verb) => t(`verb.${verb}`)).join(", ")], ["digest", digest && html`<code>${digest.slice(0, 16)}</code>`],
  ];
  return rows.filter(([, value]) => value);
}

/** How long its last videos took here: means of { seconds, length }. */
function speedOf(all, id) {
  const done = all.map(({ video: { minisora: about } }) => about)
    .filter(({ state, made, started_at: start, finished_at: end }) => state === "done" && made?.model === id && made.num_frames > 1 && start && end);
  if (done.length < LEAST) return null;
  const mean = (of) => done.reduce((sum, each) => sum + of(each), 0) / done.length;
  return { seconds: mean((each) => each.finished_at - each.started_at), length: mean(({ made }) => made.seconds) };
}
