/** Titles to read, of items and jobs: what a prompt says, without the times of its parts. */
import { t } from "./language.js";

const TIMES = /^\s*\d+(?:\.\d+)?\s*s?\s*-\s*(?:\d+(?:\.\d+)?\s*s?)?\s*:\s*/;
const OLD_LETTERS = 80; // after which older servers cut a prompt

/** Title of an item. An older server named a video by its prompt as it was written. */
export function titleOf({ name, verb }) {
  if (!verb || name === verb) return verb ? t(`verb.${verb}`) : name;
  if (!TIMES.test(name)) return name;
  const parts = name.split("|").filter((each) => TIMES.test(each)).map((each) => each.replace(TIMES, "").trim());
  return `${parts.filter(Boolean).join(", then ")}${name.length === OLD_LETTERS ? "…" : ""}`;
}

/** What was done to make an item. */
export const did = ({ verb }) => t(`did.${verb ?? "upload"}`);

/** Title of a job. */
export const jobTitle = ({ minisora: { title, verb } }) => titleOf({ name: title, verb });
