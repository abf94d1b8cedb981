/**
 * A grid of thousands of cards, of which only those in view are in the page, and the one that has
 * the focus. All cards are equally high; the arrow keys go from one to the next.
 */
import { html, useEffect, useLayoutEffect, useRef, useState } from "../html.js";

const NARROWEST = 176, GAP = 16, WORDS = 86; // of a card and around it; height of its words
const BEYOND = 3; // rows above and below the view

/** Card: component with `id`; onEnd: called when the end is near */
export function Grid({ ids, Card, onEnd, label }) {
  const at = useRef(), [seen, setSeen] = useState({ width: 0, first: 0, rows: 0 });
  const [held, setHeld] = useState(null), wanted = useRef(null); // ids of cards: with the focus, to get it
  const columns = Math.max(2, Math.floor((seen.width + GAP) / (NARROWEST + GAP)));
  const side = Math.floor((seen.width - GAP * (columns - 1)) / columns), high = side + WORDS + GAP;
  const all = Math.ceil(ids.length / columns);
  const measure = () => {
    if (!at.current) return;
    const { top, width } = at.current.getBoundingClientRect();
    const across = Math.max(2, Math.floor((width + GAP) / (NARROWEST + GAP)));
    const row = Math.floor((width - GAP * (across - 1)) / across) + WORDS + GAP;
    const first = Math.max(0, Math.floor(-top / row) - BEYOND), rows = Math.ceil(innerHeight / row) + 2 * BEYOND;
    setSeen((before) => (before.width === width && before.first === first && before.rows === rows ? before : { width, first, rows }));
  };
  useLayoutEffect(() => {
    let due = 0;
    const later = () => { due ||= requestAnimationFrame(() => { due = 0; measure(); }); };
    const watch = new ResizeObserver(later);
    watch.observe(at.current);
    addEventListener("scroll", later, { passive: true });
    addEventListener("resize", later);
    measure();
    return () => { cancelAnimationFrame(due); watch.disconnect(); removeEventListener("scroll", later); removeEventListener("resize", later); };
  }, []);
  const { first } = seen, last = Math.min(all, first + seen.rows);
  useEffect(() => { if (last + seen.rows >= all) onEnd(); }, [last, all]);
  useLayoutEffect(() => {
    if (wanted.current !== held) return;
    at.current.querySelector(`[data-place="${ids.indexOf(held)}"] a`)?.focus();
    wanted.current = null;
  }, [held]);
  const placeOf = ({ target }) => Number(target.closest("[data-place]").dataset.place);
  const press = (event) => {
    const place = placeOf(event), id = ids[{
      ArrowRight: place + 1, ArrowLeft: place - 1, ArrowDown: place + columns, ArrowUp: place - columns, Home: 0, End: ids.length - 1,
    }[event.key]];
    if (id === undefined) return;
    event.preventDefault();
    wanted.current = id;
    setHeld(id);
  };
  const places = new Set(Array.from({ length: Math.max(0, Math.min(ids.length, last * columns) - first * columns) }, (_, n) => first * columns + n));
  if (held !== null && ids.includes(held)) places.add(ids.indexOf(held));
  return html`<div class="grid" ref=${at} role="list" aria-label=${label} style=${{ height: `${Math.max(0, all * high - GAP)}px` }}
    onFocusIn=${(event) => setHeld(ids[placeOf(event)])} onFocusOut=${({ relatedTarget }) => at.current.contains(relatedTarget) || setHeld(null)} onKeyDown=${press}>
    ${seen.width > 0 && [...places].sort((a, b) => a - b).map((place) => {
      const left = (place % columns) * (side + GAP), top = Math.floor(place / columns) * high;
      return html`<div key=${ids[place]} role="listitem" class="cell" data-place=${place} aria-posinset=${place + 1} aria-setsize=${ids.length}
        style=${{ width: `${side}px`, transform: `translate(${left}px, ${top}px)`, "--side-of-card": `${side}px` }}><${Card} id=${ids[place]} /></div>`;
    })}
  </div>`;
}
