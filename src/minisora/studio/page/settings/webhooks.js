/** Webhooks: addresses that are told when videos are completed, or failed. */
import { call, get, post } from "../api.js";
import { html, useEffect, useState } from "../html.js";
import { number, t } from "../language.js";
import { failed } from "../toasts.js";
import { dateOf } from "../when.js";
import { Once } from "./once.js";

const BEGIN = "https://";
const EVENTS = ["video.completed", "video.failed"];

export function Webhooks() {
  const [list, setList] = useState([]), [made, setMade] = useState(null);
  const load = () => get("/v1/webhooks").then(({ data }) => setList(data), failed);
  useEffect(() => { load(); }, []);
  const make = async (event) => {
    event.preventDefault();
    const form = event.target, given = new FormData(form);
    try {
      setMade(await post("/v1/webhooks", { url: given.get("url").trim(), events: given.getAll("events") }));
      form.reset();
    } catch (error) {
      failed(error);
    }
    load();
  };
  const remove = async ({ id }) => {
    try {
      await call("DELETE", `/v1/webhooks/${id}`);
    } catch (error) {
      failed(error);
    }
    load();
  };
  return html`<section aria-label=${t("webhooks")}><h2>${t("webhooks")}</h2><p class="small">${t("webhooks.help")}</p>
    ${made && html`<${Once} label=${t("webhooks.secret", { url: made.url })} secret=${made.secret} onClose=${() => setMade(null)} />`}
    <ul class="rows">${list.map((each) => html`<li key=${each.id}><span><b dir="ltr">${each.url}</b><span class="small">${factsOf(each).join(" · ")}</span></span>
      <button class="quiet" aria-label=${t("queue.of", { what: t("webhooks.delete"), prompt: each.url })} onClick=${() => remove(each)}>${t("webhooks.delete")}</button></li>`)}</ul>
    <form class="new" onSubmit=${make}>
      <label class="long">${t("webhooks.url")}<input name="url" type="url" required pattern="https?://.+" placeholder=${BEGIN} dir="ltr" /></label>
      ${EVENTS.map((each) => html`<label key=${each} class="check"><input type="checkbox" name="events" value=${each} checked />${t(`webhooks.${each}`)}</label>`)}
      <button>${t("webhooks.make")}</button>
    </form>
  </section>`;
}

function factsOf({ events, pending, last_at: last, last_outcome: outcome }) {
  const tried = last ? t("webhooks.last", { when: dateOf(last), outcome }) : t("webhooks.never");
  return [events.map((each) => t(`webhooks.${each}`)).join(", "), tried, pending > 0 && t("webhooks.pending", { n: number(pending) })].filter(Boolean);
}
