"""Figures of every suite: the model between a floor and a ceiling, over n clips, with an interval.

Here: figures from marks of single clips or of whole sets, writing them to files, and the results of
a suite.
Not here: the measurements (the suites, quality.py, folder.py), the list of suites (suites.py).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

NAN = float("nan")
Marks = dict[str, tuple[str, float, float, float]]  # measure -> (better, model, floor, ceiling) of one clip
DRAWS, INTERVAL = 2000, (0.025, 0.975)  # bootstrap resamples, and the quantiles of the interval
_HALVES = 100


@dataclass(frozen=True)
class Figure:
    """One measure of one verb over n clips, with its 95 % bootstrap interval."""

    verb: str
    name: str
    better: str  # "higher" or "lower"
    n: int
    mean: float
    low: float
    high: float
    floor: float
    ceiling: float

    @property
    def closed(self) -> float:
        """Share of the gap between floor and ceiling that is closed; NaN if there is no gap."""
        return (self.mean - self.floor) / (self.ceiling - self.floor) if self.ceiling != self.floor else NAN

    def row(self) -> str:
        cells = (f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]", f"{self.floor:.3f}", f"{self.ceiling:.3f}")
        return f"| {self.verb} | {self.name} | {self.better} | {self.n} | {' | '.join(cells)} | {self.closed:.2f} |"


def verb_table(figures: Sequence[Figure]) -> str:
    head = "| verb | measure | better | n | model [95 %] | floor | ceiling | gap closed |"
    return "\n".join([head, "|" + " --- |" * 8, *(figure.row() for figure in figures)])


@dataclass(frozen=True)
class Findings:
    """The results of a suite.

    figures: rows of the common table of all suites
    table:   a table of the suite's own
    notes:   remarks on either
    """

    figures: tuple[Figure, ...] = ()
    table: str = ""
    notes: tuple[str, ...] = ()


def figures_of(verb: str, found: Sequence[Marks]) -> list[Figure]:
    """A figure of each measure, over clips that all have the same measures; empty without clips."""
    return [figure_of(verb, name, found) for name in (found[0] if found else ())]


def figure_of(verb: str, name: str, found: Sequence[Marks]) -> Figure:
    """The mean of one measure over clips, without those where it is NaN."""
    values = torch.tensor([marks[name][1:] for marks in found], dtype=torch.float64)
    values = values[~values.isnan().any(1)]
    if not len(values):
        return Figure(verb, name, found[0][name][0], 0, NAN, NAN, NAN, NAN, NAN)
    draws = torch.randint(len(values), (DRAWS, len(values)), generator=torch.Generator().manual_seed(0))
    low, high = (float(values[:, 0][draws].mean(1).quantile(share)) for share in INTERVAL)
    mean, floor, ceiling = values.mean(0).tolist()
    return Figure(verb, name, found[0][name][0], len(values), mean, low, high, floor, ceiling)


def figure_of_set(
    verb: str, name: str, better: str, of: Callable[[Tensor], float], rows: Tensor, *, floor: float, ceiling: float
) -> Figure:
    """A figure of a set, such as a distance between two sets. rows: (N, D), features of N clips

    Its interval is the spread over halves of the set, around the value of the whole: the delete-d
    jackknife with d = N/2, Shao and Wu 1989. A bootstrap would repeat clips, which such figures
    mistake for similarity.
    """
    value, count = of(rows), len(rows)
    low = high = NAN
    if count >= 4:
        generator = torch.Generator().manual_seed(0)
        drawn = [of(rows[torch.randperm(count, generator=generator)[: count // 2]]) for _ in range(_HALVES)]
        halves = torch.tensor(drawn, dtype=torch.float64)
        low, high = (value + float((halves - halves.mean()).quantile(share)) for share in INTERVAL)
    return Figure(verb, name, better, count, value, low, high, floor, ceiling)


def write_rows(figures: Sequence[Figure], out: Path, name: str) -> Findings:
    """Write name.json and name.md into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
    (out / f"{name}.md").write_text(verb_table(figures) + "\n")
    return Findings(tuple(figures))


def plain(value: Any) -> Any:
    """Replace NaN and inf by None, recursively, as JSON has no number for them."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
