/** Settings: who I am, how the page looks, and what reaches the server from outside. */
import { get, login, post } from "../api.js";
import { useCell } from "../cell.js";
import { html, useEffect, useState } from "../html.js";
import { duration, fileSize, LANGUAGES, language, number, speak, t } from "../language.js";
import { server } from "../store.js";
import { THEMES, theme } from "../theme.js";
import { failed, unheard } from "../toasts.js";
import { Tokens } from "./tokens.js";
import { Webhooks } from "./webhooks.js";

export function Settings() {
  const { me, models } = useCell(server), [now, setNow] = useState(me);
  useEffect(() => { get("/v1/me").then(setNow, failed); }, []);
  const providers = [...new Set(models.map(({ minisora }) => minisora.provider).filter(Boolean))];
  return html`<div class="options"><h1 class="hidden">${t("nav.settings")}</h1>
    <${Me} me=${now} />
    <${Looks} />
    ${now.is_admin && html`<${Tokens} />`}
    <${Webhooks} />
    ${providers.length > 0 && html`<section aria-label=${t("providers")}><h2>${t("providers")}</h2>
      <ul class="plain">${providers.map((each) => html`<li key=${each} dir="auto">${each}</li>`)}</ul><p class="small">${t("providers.help")}</p></section>`}
  </div>`;
}

function Me({ me: { token, usage, needs_token: needed, bounds } }) {
  const quota = (name, used, most, unit = (n) => number(n)) => [name, most == null ? unit(used) : html`${t("me.of", { n: unit(used), all: unit(most) })}
    <progress max=${most} value=${Math.min(used, most)} aria-label=${t(`me.${name}`)}></progress>`];
  const rows = [
    ["name", token?.name ?? t("me.open")], quota("waiting", usage.unfinished, token?.jobs_waiting), quota("kept", usage.bytes, token?.bytes_kept, fileSize),
    ["today", duration(usage.seconds_today)], ["calls", token?.calls_a_minute == null ? t("me.unbounded") : number(token.calls_a_minute)],
    ["longest", duration(bounds.video.seconds)], ["largest", fileSize(bounds.upload.size_bytes)],
  ];
  const leave = async () => {
    try {
      await post("/v1/logout", {});
      location.reload();
    } catch (error) {
      failed(error);
    }
  };
  return html`<section aria-label=${t("me")}><h2>${t("me")}</h2>
    <dl class="settings">${rows.map(([name, value]) => html`<div key=${name}><dt>${t(`me.${name}`)}</dt><dd dir="auto">${value}</dd></div>`)}</dl>
    ${needed && html`<button class="quiet" disabled=${login.value !== null} onClick=${leave}>${t("me.leave")}</button>`}
  </section>`;
}

function Looks() {
  const words = useCell(language), shown = useCell(theme);
  return html`<section aria-label=${t("looks")}><h2>${t("looks")}</h2><div class="fields">
    <label>${t("looks.language")}<select value=${words} onChange=${(event) => speak(event.target.value).catch(unheard)}>
      ${LANGUAGES.map((each) => html`<option key=${each} value=${each} lang=${each}>${t(`language.${each}`)}</option>`)}</select></label>
    <label>${t("looks.theme")}<select value=${shown} onChange=${(event) => theme.set(event.target.value)}>
      ${THEMES.map((each) => html`<option key=${each} value=${each}>${t(`looks.theme.${each}`)}</option>`)}</select></label>
  </div></section>`;
}
