/** Words of the page in the chosen language: the browser's own, until another is chosen. One is loaded at a time. */
import { kept } from "./cell.js";

export const LANGUAGES = ["en", "zh"];
const SIZES = [["unit.gigabytes", 1e9], ["unit.megabytes", 1e6], ["unit.kilobytes", 1e3]];
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

/** A length of time, to a tenth of a second: 0.5 s, 12 s, 3 min. */
export function duration(seconds) {
  if (seconds >= 90) return t("unit.minutes", { n: number(seconds / 60, seconds < 600 ? 1 : 0) });
  return t("unit.seconds", { n: number(seconds, seconds < 10 ? 1 : 0) });
}

/** A moment, to a hundredth of a second. */
export const moment = (seconds) => t("unit.seconds", { n: number(seconds, 2) });

/** Size of a file, in powers of ten as systems and shops count: 12 kB, 3.4 MB, 10 GB. */
export function fileSize(bytes) {
  const [unit, size] = SIZES.find(([, each]) => bytes >= each) ?? SIZES.at(-1);
  return t(unit, { n: number(bytes / size, bytes < 10 * size && size > 1e3 ? 1 : 0) });
}

/** Name of a file format as its makers spell it. */
export const formatName = (format) => (format === "webm" ? "WebM" : format.toUpperCase());
