/**
 * A cell: a value of the whole page that components follow.
 *
 * `kept` makes one whose value is still there after a reload; `keptApart` one of a list, to which
 * several tabs may add.
 */
import { useEffect, useReducer } from "./html.js";

export function cell(value) {
  const listeners = new Set();
  return {
    get value() { return value; },
    set(next) {
      value = typeof next === "function" ? next(value) : next;
      for (const each of [...listeners]) each(value);
    },
    /** Call a function at each change; returns one that ends this. */
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** Value of a cell; the component is drawn again when it changes. */
export function useCell(one) {
  const [, draw] = useReducer((count) => count + 1, 0);
  const seen = one.value;
  useEffect(() => {
    if (one.value !== seen) draw();
    return one.listen(draw);
  }, [one]);
  return seen;
}

/** A cell whose value is kept by the browser, as JSON. */
export function kept(name, initial) {
  const made = cell(read(name, initial));
  made.listen((value) => {
    try {
      localStorage.setItem(name, JSON.stringify(value));
    } catch { /* the browser keeps nothing: the page works on without */ }
  });
  return made;
}

/** A cell of a list of { key, at, ... }, each kept by itself: a tab overwrites nothing of another. */
export function keptApart(name) {
  const nameOf = ({ key }) => `${name}.${key}`;
  let before = found(name);
  const made = cell(before);
  made.listen((value) => {
    const gone = before.filter((each) => !value.includes(each));
    const added = value.filter((each) => !before.includes(each));
    before = value;
    try {
      for (const each of gone) localStorage.removeItem(nameOf(each));
      for (const each of added) localStorage.setItem(nameOf(each), JSON.stringify(each));
    } catch { /* the browser keeps nothing: the page works on without */ }
  });
  return made;
}

/** What is kept apart under a name, the oldest first. */
function found(name) {
  try {
    const names = Object.keys(localStorage).filter((each) => each.startsWith(`${name}.`));
    return names.map((each) => read(each, null)).filter(Boolean).sort((one, other) => one.at - other.at);
  } catch {
    return [];
  }
}

function read(name, initial) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? initial;
  } catch {
    return initial;
  }
}
