/**
 * Calls of the server, as they fail in practice.
 *
 * An answer that is an error becomes a Failure, whose message says what to do. A call that gets no
 * answer is sent again until it gets one, so whoever makes something gives a key: one key, one
 * thing. A call without a valid login waits for one.
 */
import { cell } from "./cell.js";

export const lost = cell(false); // no answer from the server
export const login = cell(null); // { message, done } while one is needed

const FIRST_WAIT = 500, LONGEST_WAIT = 8000; // ms
const TRIES = 3; // of a file, while the server answers
const LARGE = /\d{16}/;
let again = null; // ends the wait for the next try

export class Failure extends Error {
  constructor(status, error, retryAfter = null) {
    super(error?.message ?? "");
    Object.assign(this, { status, code: error?.code ?? null, param: error?.param ?? null, retryAfter });
  }
}

/** Call the server; returns the JSON of its answer. body: sent as JSON; key: of what is made; range: of bytes that are enough; language: of texts */
export async function call(method, path, { body, key, signal, range, language } = {}) {
  const headers = range ? { Range: range } : {};
  if (language) headers["Accept-Language"] = language;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  const options = { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) };
  for (let wait = FIRST_WAIT; ; wait = Math.min(2 * wait, LONGEST_WAIT)) {
    let answer, found, none;
    try {
      answer = await fetch(path, options);
      found = parsed(await answer.text());
      none = isNone(answer.status, found);
    } catch (error) {
      if (signal?.aborted) throw error;
      none = true;
    }
    lost.set(none);
    if (none) {
      await pause(wait);
      continue;
    }
    if (answer.ok) return found;
    const failure = new Failure(answer.status, found?.error, Number(answer.headers.get("retry-after")) || null);
    if (answer.status !== 401) throw failure;
    await loggedIn(failure.message);
  }
}

/** Whether an answer counts as none: of a proxy whose server is away, or of a server whose database is. */
function isNone(status, found) {
  return [502, 503, 504].includes(status) && [undefined, "unavailable"].includes(found?.error?.code);
}

export const get = (path, options) => call("GET", path, options);
export const post = (path, body, key) => call("POST", path, { body, key });

const keys = new WeakMap(); // of files: one that is sent again, as its answer was lost, is kept once

/** Send a file to the library; onProgress gets shares of it. Raises Failure, of status 0 if it does not get through or is stopped. */
export function upload(file, onProgress, signal, tries = TRIES) {
  return new Promise((resolve, reject) => {
    const refuse = (error) => reject(error instanceof Failure ? error : new Failure(0, null));
    const anew = (waited, left) => waited.then(() => upload(file, onProgress, signal, left)).then(resolve, refuse);
    const form = new FormData(), request = new XMLHttpRequest();
    form.append("file", file, file.name);
    request.open("POST", "/v1/library");
    if (!keys.has(file)) keys.set(file, newKey());
    request.setRequestHeader("Idempotency-Key", keys.get(file));
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onabort = refuse;
    request.onerror = () => (tries > 1 ? anew(get("/v1/me", { signal }), tries - 1) : refuse()); // as soon as the server answers
    request.onload = () => {
      const found = parsed(request.responseText);
      if (request.status < 300) resolve(found);
      else if (request.status === 401) anew(loggedIn(found?.error?.message), tries);
      else if (isNone(request.status, found)) request.onerror();
      else reject(new Failure(request.status, found?.error));
    };
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** Log in with a token's secret. Raises Failure. */
export async function logIn(token) {
  const answer = await fetch("/v1/login", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }),
  });
  if (!answer.ok) throw new Failure(answer.status, parsed(await answer.text())?.error);
  const { done } = login.value;
  login.set(null);
  done();
}

/** Wait for a login, which the page asks for once. */
export function loggedIn(message) {
  if (login.value === null) {
    let done;
    const promise = new Promise((resolve) => { done = resolve; });
    login.set({ message, done, promise });
  }
  return login.value.promise;
}

/** A key that no other call has. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((each) => each.toString(16).padStart(2, "0")).join("");
}

/** Try at once what waits for the server. */
export function tryAgain() {
  again?.();
}

function pause(milliseconds) {
  return new Promise((resolve) => {
    const before = again;
    const timer = setTimeout(resolve, milliseconds);
    again = () => { before?.(); clearTimeout(timer); resolve(); };
  });
}

/** Value of JSON; whole numbers that JavaScript's cannot hold, such as large seeds, as text. */
export function parsed(text) {
  const exact = (_, value, { source }) => (Number.isInteger(value) && !Number.isSafeInteger(value) ? source : value);
  try {
    return text ? JSON.parse(text, LARGE.test(text) && "rawJSON" in JSON ? exact : undefined) : null;
  } catch {
    return null;
  }
}
