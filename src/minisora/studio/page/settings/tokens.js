/** Tokens, for administrators: who may use the server, and how much of it. */
import { call, get, post } from "../api.js";
import { html, useEffect, useState } from "../html.js";
import { number, t } from "../language.js";
import { failed } from "../toasts.js";
import { dateOf } from "../when.js";
import { Once } from "./once.js";

const MEGABYTE = 1e6;
const BOUNDS = [["jobs_waiting", 1], ["bytes_kept", MEGABYTE], ["calls_a_minute", 1]]; // field, and what one of its unit is

export function Tokens() {
  const [list, setList] = useState([]), [made, setMade] = useState(null);
  const load = () => get("/v1/tokens").then(({ data }) => setList(data), failed);
  useEffect(() => { load(); }, []);
  const make = async (event) => {
    event.preventDefault();
    const form = event.target, given = new FormData(form), body = { name: given.get("name").trim(), is_admin: given.has("is_admin") };
    for (const [name, unit] of BOUNDS) if (given.get(name)) body[name] = Math.round(Number(given.get(name)) * unit);
    try {
      setMade(await post("/v1/tokens", body));
      form.reset();
    } catch (error) {
      failed(error);
    }
    load();
  };
  const revoke = async ({ id }) => {
    try {
      await call("DELETE", `/v1/tokens/${id}`);
    } catch (error) {
      failed(error);
    }
    load();
  };
  return html`<section aria-label=${t("tokens")}><h2>${t("tokens")}</h2><p class="small">${t("tokens.help")}</p>
    ${made && html`<${Once} label=${t("tokens.secret", { name: made.name })} secret=${made.secret} onClose=${() => setMade(null)} />`}
    <ul class="rows">${list.map((each) => html`<${Token} key=${each.id} token=${each} onRevoke=${revoke} />`)}</ul>
    <form class="new" onSubmit=${make}>
      <label>${t("tokens.name")}<input name="name" required maxlength="100" autocomplete="off" dir="auto" /></label>
      ${BOUNDS.map(([name]) => html`<label key=${name}>${t(`tokens.${name}`)}<input name=${name} type="number" min="1" step="1" placeholder=${t("me.unbounded")} /></label>`)}
      <label class="check"><input type="checkbox" name="is_admin" />${t("tokens.admin")}</label>
      <button>${t("tokens.make")}</button>
    </form>
  </section>`;
}

function Token({ token, onRevoke }) {
  const { name, is_admin: admin, revoked_at: revoked, created_at: created } = token;
  const bounds = BOUNDS.filter(([field]) => token[field] != null).map(([field, unit]) => `${t(`tokens.${field}`)}: ${number(token[field] / unit)}`);
  const facts = [admin && t("tokens.admin"), created && dateOf(created), ...bounds, revoked && t("tokens.revoked")].filter(Boolean);
  return html`<li class=${revoked ? "gone" : ""}><span><b dir="auto">${name}</b><span class="small">${facts.join(" · ")}</span></span>
    ${!revoked && html`<button class="quiet" aria-label=${t("queue.of", { what: t("tokens.revoke"), prompt: name })} onClick=${() => onRevoke(token)}>${t("tokens.revoke")}</button>`}</li>`;
}
