"""Report page of a run: where every clip went, distributions of scores around thresholds, examples.

Here: the values that the page shows, and which clips are shown. Not here: the page itself
(pages/templates/curate.html), the counts (ledger.py), the frames of a clip (look.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from minisora.curate.decide import Decisions
from minisora.curate.ledger import Ledger, ledger_lines
from minisora.curate.look import PLACES, Look
from minisora.curate.recipe import Recipe, scores_of
from minisora.pages import charts, write_page
from minisora.workers.pool import Engine

KEPT = ("kept", "")
_MOST_KEPT, _MOST_DROPPED = 12, 6  # clips shown, of those kept and of each reason
_MOST_LINES = 200  # of each list of files


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
    """Write the page. clips: all measured ones, with scores; decided: their decisions, by row"""
    write_page(
        path,
        "curate.html",
        name=recipe.out.name,
        ledger=ledger,
        counts=ledger_lines(ledger),
        scores=_scores(recipe, clips, decided),
        tail_percent=charts.TAIL_PERCENT,
        groups=_groups(recipe, clips, decided, engine),
        quarantine=[[row[name] for name in ("source", "stage", "error", "message")] for row in quarantine],
        missing=[[row[name] for name in ("origin", "source", "reason")] for row in missing],
        most_lines=_MOST_LINES,
    )


def chosen(decided: Decisions) -> dict[tuple[str, str], list[int]]:
    """Clips to show by kind: kept ones, then by stage and reason; evenly spaced rows of each."""
    groups: dict[tuple[str, str], list[int]] = {KEPT: []}
    for place, pair in enumerate(_kinds(decided)):
        groups.setdefault(pair, []).append(place)
    most = {pair: _MOST_KEPT if pair == KEPT else _MOST_DROPPED for pair in groups}
    return {pair: _spread(places, most[pair]) for pair, places in groups.items() if places}


def _kinds(decided: Decisions) -> list[tuple[str, str]]:
    """Stage and reason of every dropped clip, or KEPT."""
    return [pair if pair[0] else KEPT for pair in zip(decided.stage, decided.reason, strict=True)]


def _spread(places: Sequence[int], most: int) -> list[int]:
    picks = np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)
    return [places[pick] for pick in picks.tolist()]


def _scores(recipe: Recipe, clips: pa.Table, decided: Decisions) -> list[dict[str, Any]]:
    """Histograms of the scores, those with thresholds first, without scores that no clip has."""
    thresholds, meanings, shown = recipe.thresholds, scores_of(recipe), []
    for name in dict.fromkeys([*thresholds, *meanings]):
        values = clips.column(name).to_numpy()
        known = np.isfinite(values)
        if known.any():
            limits = [limit for limit in thresholds.get(name, ()) if limit is not None]
            chart = charts.histogram(values[known], decided.keep[known], limits)
            unknown = len(values) - int(known.sum())
            shown.append({"name": name, "meaning": meanings[name], "chart": chart, "unknown": unknown})
    return shown


def _groups(recipe: Recipe, clips: pa.Table, decided: Decisions, engine: Engine) -> list[dict[str, Any]]:
    """The clips to show with their frames, by kind."""
    groups, totals = chosen(decided), Counter(_kinds(decided))
    shown = clips.take(pa.array([place for places in groups.values() for place in places], pa.int64()))
    pictures: list[bytes | None] = []
    if shown.num_rows:
        results = engine(Look(recipe.input.media), shown.select(PLACES.names).cast(PLACES).combine_chunks())
        pictures = [jpeg for result in results for jpeg in result.column("jpeg").to_pylist()]
    rows = zip(shown.select([*PLACES.names, "captions"]).to_pylist(), pictures, strict=True)
    return [
        {
            "name": "kept" if pair == KEPT else f"dropped by {pair[0]}: {pair[1]}",
            "total": totals[pair],
            "clips": [_clip(*next(rows)) for _ in places],
        }
        for pair, places in groups.items()
    ]


def _clip(row: Mapping[str, Any], jpeg: bytes | None) -> dict[str, Any]:
    where = f"{row['source']} {row['start']:.2f}–{row['stop']:.2f} s"
    return {"where": where, "caption": row["captions"][0] if row["captions"] else "", "jpeg": jpeg}
