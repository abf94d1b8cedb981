"""Decisions from scores: which clips are kept, and the reason for each dropped one.

Thresholds are applied first, in the order of the recipe; then captions, if the recipe requires one;
then near-duplicates among the rest, of which the first in the table stays. A clip's reason is its
first failure.

Here: decisions over the whole table. Not here: scores (measure.py, words.py), similarity
(duplicates.py), writing the kept clips (write.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from minisora.curate.duplicates import near_duplicates

Limits = tuple[float | None, float | None]  # least and most, inclusive; None for an open end
THRESHOLDS, CAPTIONS, DUPLICATES = "thresholds", "captions", "duplicates"  # the stages that drop clips


@dataclass(frozen=True, eq=False)
class Decisions:
    """Arrays with one entry for each clip of a table, by row.

    stage:  the stage that dropped it; "" if it is kept
    reason: the reason within that stage
    twin:   the row of the clip that it duplicates; -1 if none
    """

    stage: list[str]
    reason: list[str]
    twin: npt.NDArray[np.int64]

    @property
    def keep(self) -> npt.NDArray[np.bool_]:
        return np.array([not stage for stage in self.stage], bool)


def decide(
    clips: pa.Table, thresholds: Mapping[str, Limits], *, need_caption: bool = False, distance: int | None = None
) -> Decisions:
    """Decide which clips are kept.

    clips:    columns `key`, each score of `thresholds`; `captions` if one is needed, `hashes` if
        there is a distance
    distance: most bits of 64 in which hashes of near-duplicates differ; None: keep duplicates
    """
    count = clips.num_rows
    stage, reason = [""] * count, [""] * count
    left = np.ones(count, bool)

    def drop(which: npt.NDArray[np.bool_], by: str, why: str) -> None:
        for place in np.flatnonzero(which & left).tolist():
            stage[place], reason[place] = by, why
        left[which] = False

    _, first = np.unique(np.array(clips.column("key").to_pylist(), dtype=str), return_index=True)
    drop(~np.isin(np.arange(count), first), DUPLICATES, "same span")  # of annotations of a span and of the whole file
    for score, (least, most) in thresholds.items():
        values = clips.column(score).to_numpy()
        drop(np.isnan(values), THRESHOLDS, f"{score} unknown")
        if least is not None:
            drop(values < least, THRESHOLDS, f"{score} < {least:g}")
        if most is not None:
            drop(values > most, THRESHOLDS, f"{score} > {most:g}")
    if need_caption:
        drop(np.array([not captions for captions in clips.column("captions").to_pylist()], bool), CAPTIONS, "none")
    twin = np.full(count, -1, np.int64)
    if distance is not None and (places := np.flatnonzero(left)).size:
        found = near_duplicates(clips.column("hashes").take(pa.array(places)), distance)
        twin[places[found >= 0]] = places[found[found >= 0]]
        drop(twin >= 0, DUPLICATES, "near-duplicate")
    return Decisions(stage, reason, twin)
