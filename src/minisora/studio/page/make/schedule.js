/** Prompts that change along the time, as the server writes them: "0-2: a ball rolls | 2-: it bounces". */
const PART = /^(\d+(?:\.\d+)?)\s*(?:s\s*)?-\s*(?:(\d+(?:\.\d+)?)\s*(?:s\s*)?)?:\s*(\S[\s\S]*)$/; // of a trimmed piece

/** Parts { start, text } of a prompt; one part if it has no times, or times that do not fit. */
export function parsed(prompt) {
  const found = prompt.split("|").map((piece) => PART.exec(piece.trim()));
  const joined = found.every((each, n) => each && Number(each[1]) === Number(n ? found[n - 1][2] : 0));
  if (!joined) return [{ start: 0, text: prompt }];
  return found.map((each) => ({ start: Number(each[1]), text: each[3] }));
}

export function written(parts) {
  if (parts.length === 1) return parts[0].text.trim();
  const end = (n) => (n + 1 < parts.length ? parts[n + 1].start : "");
  return parts.map(({ start, text }, n) => `${start}-${end(n)}: ${text.trim()}`).join(" | ");
}

/** Parts with another one from a moment on, with the text of the one that it cuts. */
export function cut(parts, moment) {
  const at = parts.findLastIndex(({ start }) => start < moment);
  return [...parts.slice(0, at + 1), { ...parts[at], start: moment }, ...parts.slice(at + 1)];
}

/** Parts without one; the part before, or after the first, takes its time. */
export function without(parts, n) {
  const rest = parts.filter((_, other) => other !== n);
  return rest.map((each, other) => (other === 0 ? { ...each, start: 0 } : each));
}
