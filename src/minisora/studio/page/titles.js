/** Titles of items and jobs, which the server makes of their prompts (studio/names.py). */
import { t } from "./language.js";

/** Title of an item: its name; without one the server names a video by its verb. */
export const titleOf = ({ name, verb }) => (name === verb ? t(`verb.${verb}`) : name);

/** What was done to make an item. */
export const did = ({ verb }) => t(`did.${verb ?? "upload"}`);

/** Title of a job. */
export const jobTitle = ({ minisora: { title, verb } }) => titleOf({ name: title, verb });
