/** Words of the page in the chosen language: the browser's own, until another is chosen. One is loaded at a time. */
import { kept } from "./cell.js";

export const LANGUAGES = ["en", "zh"];
const own = navigator.languages.map((each) => each.slice(0, 2)).find((each) => LANGUAGES.includes(each)) ?? "en";
export const language = kept("minisora.language", own);
const load = async (name) => (await import(`./strings/${name}.js`)).default;
let words = await load(LANGUAGES.includes(language.value) ? language.value : own);

/** Change the language. Raises TypeError if its words do not come. */
export async function speak(name) {
  words = await load(name);
  language.set(name);
}

/** Text of a key, its {names} replaced by values. */
export function t(key, values = {}) {
  const text = words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (found, name) => values[name] ?? found);
}

/** Text of a key if there is one, else another text, such as the server's. */
export function tOr(key, other) {
  return key in words ? t(key) : other;
}

/** A number with at most so many digits after the point. */
export function number(value, digits = 2) {
  return new Intl.NumberFormat(language.value, { maximumFractionDigits: digits }).format(value);
}

/** Seconds to read: 0.5 s, 12 s, 3 min. */
export function duration(seconds) {
  if (seconds >= 90) return t("unit.minutes", { n: number(seconds / 60, seconds < 600 ? 1 : 0) });
  return t("unit.seconds", { n: number(seconds, seconds < 10 ? 1 : 0) });
}

/** A moment, to a hundredth of a second. */
export const moment = (seconds) => t("unit.seconds", { n: number(seconds, 2) });

/** Size of a file: 12 kB, 3.4 MB. */
export function fileSize(bytes) {
  if (bytes < 1e6) return t("unit.kilobytes", { n: number(bytes / 1e3, 0) });
  return t("unit.megabytes", { n: number(bytes / 1e6, bytes < 1e7 ? 1 : 0) });
}
