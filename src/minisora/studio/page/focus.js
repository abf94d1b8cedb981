/**
 * Focus is never lost. When the element that has it goes away or is disabled, it passes to the next
 * in the same part of the page, else to the one that had it before.
 */
const FOCUSABLE = "a[href], button, input, select, textarea, summary, video[controls], [tabindex='0']";
const PARTS = "main, dialog, [role=status]"; // which are not left to find the next
const MOST = 20;
let had = []; // elements that had the focus, the last first

const canHave = (one) => one?.isConnected && !one.matches(":disabled") && one.checkVisibility();
const follows = (one, other) => (one.compareDocumentPosition(other) & (Node.DOCUMENT_POSITION_FOLLOWING | Node.DOCUMENT_POSITION_CONTAINED_BY)) === Node.DOCUMENT_POSITION_FOLLOWING;

/** The next that can have the focus, or the last. before: what it comes after; null: the first */
function nextIn(part, before) {
  const all = [...part.querySelectorAll(FOCUSABLE)].filter(canHave);
  return all.find((each) => !before?.isConnected || follows(before, each)) ?? all.at(-1);
}

/** Where an element went away: { part, before }; null if it did not. */
function placeOf(lost, records) {
  let found = null;
  for (const { type, target, removedNodes, previousSibling } of records) {
    if (type === "attributes" && target === lost) found = { part: target.parentElement, before: target };
    else if ([...removedNodes].some((each) => each.contains(found?.part ?? lost))) found = { part: target, before: previousSibling };
  }
  return found;
}

function keep(records) {
  const [lost, ...earlier] = had, now = document.activeElement;
  if (!lost || (now !== document.body && now !== lost)) return;
  const place = placeOf(lost, records);
  if (!place) return;
  if (canHave(lost)) { lost.focus({ preventScroll: true }); return; } // it was moved
  for (let { part, before } = place; part?.isConnected; [part, before] = [part.parentElement, part]) {
    const next = nextIn(part, before);
    if (next) { next.focus(); return; }
    if (part.matches(PARTS)) break;
  }
  const other = earlier.find(canHave);
  if (other) other.focus();
  else document.querySelector("main").focus({ preventScroll: true });
}

addEventListener("focusin", ({ target }) => { had = [target, ...had.filter((each) => each !== target)].slice(0, MOST); });
addEventListener("focusout", ({ target }) => queueMicrotask(() => {
  if (had[0] === target && document.activeElement === document.body && canHave(target)) had = [null, ...had]; // left on purpose
}));
new MutationObserver(keep).observe(document.body, { childList: true, subtree: true, attributeFilter: ["disabled"] });
