/**
 * A cell: a value of the whole page that components follow.
 *
 * `kept` makes one whose value is still there after a reload.
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

function read(name, initial) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? initial;
  } catch {
    return initial;
  }
}
