/** Words of the page in the chosen language: the browser's own, until another is chosen. */
import { kept } from "./cell.js";
import en from "./strings/en.js";
import zh from "./strings/zh.js";

const STRINGS = { en, zh };
const own = navigator.languages.map((each) => each.slice(0, 2)).find((each) => each in STRINGS) ?? "en";
export const LANGUAGES = Object.keys(STRINGS);
export const language = kept("minisora.language", own);

/** Text of a key, its {names} replaced by values. */
export function t(key, values = {}) {
  const text = STRINGS[language.value]?.[key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (found, name) => values[name] ?? found);
}

/** Text of a key if there is one, else another text, such as the server's. */
export function tOr(key, other) {
  return key in en ? t(key) : other;
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

/** Size of a file: 12 kB, 3.4 MB. */
export function fileSize(bytes) {
  if (bytes < 1e6) return t("unit.kilobytes", { n: number(bytes / 1e3, 0) });
  return t("unit.megabytes", { n: number(bytes / 1e6, bytes < 1e7 ? 1 : 0) });
}
