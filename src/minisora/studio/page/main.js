/**
 * The page of the studio. It has no build step: the browser loads these modules as they lie here.
 *
 *   main.js        starts the page; which view an address shows (#make, #library/ID, ...)
 *   shell.js       what is around every view: bar, login, connection, page of keys
 *   late.js        views that are loaded when they are first shown
 *   html.js        elements and hooks; dialog.js, toasts.js, icons.js, markdown.js: parts for all views
 *   titles.js      names to read; when.js: moments to read
 *   cell.js        values that components follow, some kept over a reload
 *   language.js    words; strings/: one file of them for each language, and no words elsewhere
 *   focus.js       what has the focus when its element goes away; playable.js: clips of any codec
 *   theme.js       light and dark; style.css has all colours as variables
 *   api.js         calls of the server, errors, login, lost connections
 *   store.js       jobs, items, verbs and models; live.js keeps jobs up to date
 *   outbox.js      requests on their way
 *   make/          the view Make; its make.js says more, as library/library.js does
 *   library/, queue/, models/, settings/   the other views
 *   vendor/        Preact and htm
 *
 * A new view is a component, a line in VIEWS, and its strings. It reads cells with `useCell`,
 * changes them with `set`, and calls the server by `get`, `post` and `call`.
 */
import { cell, useCell } from "./cell.js";
import { html, render, useEffect } from "./html.js";
import { language, t } from "./language.js";
import { late } from "./late.js";
import { Library } from "./library/library.js";
import { listen } from "./live.js";
import { Make } from "./make/make.js";
import { sendAll } from "./outbox.js";
import { Queue } from "./queue/queue.js";
import { Shell } from "./shell.js";
import { loadServer, server } from "./store.js";
import { failed } from "./toasts.js";
import "./focus.js";
import "./playable.js";
import "./theme.js";

const Models = late(() => import("./models/models.js"), "Models"), Settings = late(() => import("./settings/settings.js"), "Settings");
const VIEWS = { make: Make, library: Library, queue: Queue, models: Models, settings: Settings };
const view = cell(shown());

/** View of the address, and what follows its name there. */
function shown() {
  const [name, ...path] = location.hash.slice(1).split("/");
  return name in VIEWS ? { name, path } : { name: "make", path: [] };
}

function Page() {
  const { name, path } = useCell(view), words = useCell(language), ready = useCell(server);
  useEffect(() => {
    document.documentElement.lang = words;
    document.title = `${t(`nav.${name}`)} · minisora`;
  }, [name, words]);
  const View = VIEWS[name];
  return html`<${Shell} name=${name} views=${Object.keys(VIEWS)}>
    ${ready ? html`<${View} name=${name} path=${path} />` : html`<p class="loading">${t("loading")}</p>`}
  <//>`;
}

addEventListener("hashchange", () => {
  view.set(shown());
  document.querySelector("main").focus({ preventScroll: true });
  scrollTo(0, 0);
});
render(html`<${Page} />`, document.getElementById("page"));
loadServer().then(() => { listen(); sendAll(); }, failed);
