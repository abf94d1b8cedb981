/** Light, dark, or as the system has it. */
import { kept } from "./cell.js";

export const THEMES = ["system", "light", "dark"];
export const theme = kept("minisora.theme", "system");

const system = matchMedia("(prefers-color-scheme: dark)");
export const calm = matchMedia("(prefers-reduced-motion: reduce)");
export const isDark = () => theme.value === "dark" || (theme.value !== "light" && system.matches);

function apply() {
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
}
theme.listen(apply);
system.addEventListener("change", () => theme.set((chosen) => chosen));
apply();
