/** Moments to read. */
import { language } from "./language.js";

const known = new Map(); // formats by language and style: making one takes longer than using it

function format(style) {
  const key = `${language.value} ${JSON.stringify(style)}`;
  if (!known.has(key)) known.set(key, new Intl.DateTimeFormat(language.value, style));
  return known.get(key);
}

/** Day and time of a Unix time. */
export const dateOf = (seconds) => format({ dateStyle: "medium", timeStyle: "short" }).format(seconds * 1000);

/** Time of a moment of today, day of an earlier one. */
export function briefly(seconds) {
  const moment = new Date(seconds * 1000), now = new Date();
  if (moment.toDateString() === now.toDateString()) return format({ timeStyle: "short" }).format(moment);
  const year = moment.getFullYear() === now.getFullYear() ? {} : { year: "numeric" };
  return format({ day: "numeric", month: "short", ...year }).format(moment);
}
