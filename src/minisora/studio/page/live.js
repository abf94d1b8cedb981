/**
 * The live channel: every change of the caller's jobs, as it happens.
 *
 * After each start the server sends all unfinished jobs; the newest of the list are loaded beside,
 * so that what ended while the page was away is known too. A channel that breaks is opened again.
 */
import { login, loggedIn, lost, parsed, tryAgain } from "./api.js";
import { cell } from "./cell.js";
import { loadJobs, putJob } from "./store.js";

export const otherVersion = cell(null); // of the server, if it serves another page than this
const OWN = document.querySelector("meta[name=page]").content; // digest of the page's files
const FIRST_WAIT = 400, LONGEST_WAIT = 5000; // ms
let wait = FIRST_WAIT;

export function listen() {
  const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/v1/live`, ["minisora"]);
  let refused = false;
  socket.onmessage = ({ data }) => {
    const message = parsed(data);
    if (message.type === "hello") hello(message);
    else if (message.type === "video") putJob(message.video, message.preview ?? undefined);
    else if (message.type === "error") refused = message.error;
  };
  socket.onclose = async () => {
    if (refused?.code === "invalid_api_key" || login.value) await loggedIn(refused?.message);
    else lost.set(true);
    setTimeout(listen, wait);
    wait = Math.min(2 * wait, LONGEST_WAIT);
  };
}

function hello({ version, page }) {
  wait = FIRST_WAIT;
  lost.set(false);
  tryAgain();
  otherVersion.set(page === OWN ? null : version);
  loadJobs().catch(() => {}); // the jobs of the channel are there; the rest comes at the next start
}
