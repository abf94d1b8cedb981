"""The page of a run: where every clip went, how the scores lie about their thresholds, what was kept and dropped.

It holds all that it shows, its pictures too, so it can be sent as one file.

Here: the page. Not here: the counts (ledger.py), the frames of a clip (look.py).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from minisora import webpage
from minisora.curate.decide import Decisions, Limits
from minisora.curate.ledger import Ledger, ledger_lines
from minisora.curate.look import PLACES, Look
from minisora.curate.recipe import Recipe, scores_of
from minisora.video.files import replacing
from minisora.webpage import table
from minisora.workers.pool import Engine

KEPT = ("kept", "")
_MOST_KEPT, _MOST_DROPPED = 12, 6  # clips shown, of those kept and of each reason
_MOST_LINES = 200  # of each list of files
_BINS = 48
_WIDTH, _HEIGHT = 336, 96  # of a histogram
_EDGE = 0.5  # percent of the clips at each end that share the last bin


def write_report(
    path: Path,
    recipe: Recipe,
    ledger: Ledger,
    clips: pa.Table,
    decided: Decisions,
    quarantine: Sequence[Mapping[str, Any]],
    missing: Sequence[Mapping[str, Any]],
    engine: Engine,
) -> None:
    """clips: all that were measured, with their scores; decided: about them, by place"""
    body = [_counts(ledger), _histograms(recipe, clips, decided), _sheets(recipe, clips, decided, engine)]
    if quarantine:
        rows = [[row["source"], row["stage"], row["error"], row["message"]] for row in quarantine]
        body.append(_list("Quarantined", ["file", "in", "reason", "error"], rows))
    if missing:
        rows = [[row["origin"], row["source"], row["reason"]] for row in missing]
        body.append(_list("Missing", ["annotation", "names", "why it was not found"], rows))
    title = f"Curation: {recipe.out.name}"
    with replacing(path) as temporary:
        page = webpage.page(title, "\n".join(body), _STYLE)
        temporary.write_text(page, encoding="utf-8", errors="replace")


def chosen(decided: Decisions) -> dict[tuple[str, str], list[int]]:
    """The places of the clips that are shown, evenly over all of their kind: kept first, then by stage and reason."""
    groups: dict[tuple[str, str], list[int]] = {KEPT: []}
    for place, pair in enumerate(zip(decided.stage, decided.reason, strict=True)):
        groups.setdefault(pair if pair[0] else KEPT, []).append(place)
    most = {pair: _MOST_KEPT if pair == KEPT else _MOST_DROPPED for pair in groups}
    return {pair: _spread(places, most[pair]) for pair, places in groups.items() if places}


def _spread(places: Sequence[int], most: int) -> list[int]:
    picks = np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)
    return [places[pick] for pick in picks.tolist()]


def _counts(ledger: Ledger) -> str:
    rows = [[escape(what), escape(why), f"{count:,}"] for what, why, count in ledger_lines(ledger)]
    hours_in, hours_kept = ledger.seconds_in / 3600, ledger.seconds_kept / 3600
    return (
        f"<p>{ledger.files:,} files; {hours_in:.2f} hours of clips measured, {hours_kept:.2f} hours kept, "
        f"in {ledger.samples:,} samples.</p>\n" + table(["", "why", "clips"], rows)
    )


def _histograms(recipe: Recipe, clips: pa.Table, decided: Decisions) -> str:
    keep, parts, thresholds, meanings = decided.keep, [], recipe.thresholds, scores_of(recipe)
    for name in dict.fromkeys([*thresholds, *meanings]):
        values = clips.column(name).to_numpy()
        known = np.isfinite(values)
        if known.any():
            text = f"<b>{escape(name)}</b> {escape(meanings[name])}"
            unknown = f" Unknown of {(~known).sum():,} clips." if not known.all() else ""
            picture = _histogram(values[known], keep[known], thresholds.get(name, (None, None)))
            parts.append(f"<figure>{picture}<figcaption>{text}.{unknown}</figcaption></figure>")
    return (
        "<h2>Scores</h2>\n<p>All clips that were measured; dark, those that were kept. Lines are the recipe's "
        f"thresholds. The outermost {_EDGE} % at each end are in the last bars.</p>\n"
        f"<div class=figures>{''.join(parts)}</div>"
    )


def _histogram(values: npt.NDArray[np.float64], keep: npt.NDArray[np.bool_], limits: Limits) -> str:
    low, high = (float(end) for end in np.percentile(values, [_EDGE, 100 - _EDGE]))
    ends = [end for end in limits if end is not None]
    low, high = min([low, *ends]), max([high, *ends])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    inside = np.clip(values, low, high)
    every, _ = np.histogram(inside, _BINS, (low, high))
    kept, _ = np.histogram(inside[keep], _BINS, (low, high))
    most, step = every.max(), _WIDTH / _BINS
    bars = ""
    for kind, counts in (("all", every), ("kept", kept)):
        path = "".join(
            f"M{n * step:.1f} {_HEIGHT}v{-_HEIGHT * count / most:.1f}h{step - 1:.1f}V{_HEIGHT}z"
            for n, count in enumerate(counts.tolist())
            if count
        )
        bars += f'<path class={kind} d="{path}"/>'
    for end in ends:
        at = _WIDTH * (end - low) / (high - low)
        bars += f'<path class=limit d="M{at:.1f} 0V{_HEIGHT}"><title>{end:g}</title></path>'
    texts = f'<text x="0" y="{_HEIGHT + 14}">{low:.4g}</text>'
    texts += f'<text x="{_WIDTH}" y="{_HEIGHT + 14}" text-anchor="end">{high:.4g}</text>'
    said = ", ".join(f"{end:g}" for end in ends) or "none"
    label = f"histogram of {len(values)} clips from {low:.4g} to {high:.4g}, thresholds {said}"
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 18}" role=img aria-label="{label}">{bars}{texts}</svg>'


def _sheets(recipe: Recipe, clips: pa.Table, decided: Decisions, engine: Engine) -> str:
    groups = chosen(decided)
    places = [place for group in groups.values() for place in group]
    shown = clips.take(pa.array(places, pa.int64()))
    table = shown.select(PLACES.names).cast(PLACES).combine_chunks()
    stage = Look(recipe.input.media)
    pictures = [jpeg for result in engine(stage, table) for jpeg in result.column("jpeg").to_pylist()] if places else []
    rows = iter(zip(shown.select([*PLACES.names, "captions"]).to_pylist(), pictures, strict=True))
    totals = {pair: 0 for pair in groups}
    for pair in zip(decided.stage, decided.reason, strict=True):
        totals[pair if pair[0] else KEPT] += 1
    parts = ["<h2>Clips</h2>"]
    for pair, group in groups.items():
        name = "kept" if pair == KEPT else f"dropped by {pair[0]}: {pair[1]}"
        parts.append(f"<h3>{escape(name)} ({totals[pair]:,})</h3>\n<div class=clips>")
        for _ in group:
            row, jpeg = next(rows)
            where = f"{row['source']} {row['start']:.2f}–{row['stop']:.2f} s"
            picture = "<i>no frame could be read</i>"
            if jpeg is not None:
                data = base64.b64encode(jpeg).decode()
                picture = f'<img src="data:image/jpeg;base64,{data}" alt="frames of {escape(where)}">'
            caption = f"<br>{escape(row['captions'][0])}" if row["captions"] else ""
            parts.append(f"<figure>{picture}<figcaption>{escape(where)}{caption}</figcaption></figure>")
        parts.append("</div>")
    return "\n".join(parts)


def _list(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    shown = [[escape(str(cell)) for cell in row] for row in rows[:_MOST_LINES]]
    more = f"<p>and {len(rows) - _MOST_LINES:,} more.</p>" if len(rows) > _MOST_LINES else ""
    return f"<h2>{title} ({len(rows):,})</h2>\n{table(head, shown)}{more}"


_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fdfdfc; --faint: #6a7078; --rule: #dcdfe3;
        --all: #c3cfdb; --kept: #4a7fb5; --limit: #a33 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6e9; --paper: #16181b; --faint: #9aa1a9; --rule: #33383e;
          --all: #3c4854; --kept: #5b93cb; --limit: #ff8a80 } }
body { margin: 0 auto; padding: 1rem; max-width: 80rem; color: var(--ink); background: var(--paper);
       font: 15px/1.5 system-ui, sans-serif }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 .5em }
p, figcaption { color: var(--faint) } p { max-width: 46rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid var(--rule); vertical-align: top }
th { font-weight: 600; color: var(--faint) }
figure { margin: 0 } figcaption { font-size: 12px; line-height: 1.35; overflow-wrap: anywhere }
figcaption b { color: var(--ink) }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1.2rem }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1rem }
svg, img { display: block; width: 100%; height: auto }
.all { fill: var(--all) } .kept { fill: var(--kept) } .limit { stroke: var(--limit); stroke-width: 1.5 }
text { font: 11px sans-serif; fill: var(--faint) }
"""
