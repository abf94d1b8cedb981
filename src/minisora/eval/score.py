"""Descriptions against what was asked for, and scores between floor and ceiling.

Only what the prompt says is asked: the size of things where the prompt names sizes.

Here: marks of one clip, means and intervals of many. Not here: the judge (judge/playroom.py), the table (report.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from minisora.eval.rows import DRAWS, INTERVAL, Marks
from minisora.judge.playroom import DIRECTIONS, Description, Found

ATTRIBUTES = ("colour", "shape", "count", "size", "motion", "direction", "camera")


@dataclass(frozen=True)
class Asked:
    """A prompt, and what is true of the scene that it was written for (worlds.playroom.facts)."""

    prompt: str
    facts: dict[str, Any]
    phrasing: str

    @property
    def says_size(self) -> bool:
        return bool({"small", "large"} & set(self.prompt.lower().split()))


@dataclass(frozen=True)
class Normalised:
    """(model - floor) / (ceiling - floor), and its interval that holds 95 % of the bootstrap's draws."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def marks(description: Description, asked: Asked) -> list[float]:
    """One mark in 0..1 for each of ATTRIBUTES; NaN where the prompt asks for none.

    colour:    colours both asked for and found, of all that are either
    shape, size, motion, direction: share of the things asked for that are found and have it; a thing is matched by its
               colour, and where there is none of it, with what is left over
    count, camera: right or not
    """
    things = asked.facts["things"]
    wanted = [thing["colour"] for thing in things]
    shown = [found.colour for found in description.things]
    either = set(wanted) | set(shown)
    pairs = match(things, description.things)

    def share(field: str, chosen: Sequence[int]) -> float:
        right = [
            found is not None and getattr(found, field) == (things[n][field] or DIRECTIONS[0])
            for n, found in enumerate(pairs)
            if n in chosen
        ]
        return sum(right) / len(right) if right else float("nan")

    everything = range(len(things))
    moving = [n for n in everything if things[n]["direction"]]
    return [
        len(set(wanted) & set(shown)) / len(either) if either else 1.0,
        share("shape", everything),
        float(description.count == asked.facts["count"]),
        share("size", everything if asked.says_size else ()),
        share("motion", everything),
        share("direction", moving),
        float(description.camera == asked.facts["camera"]),
    ]


def match(things: Sequence[dict[str, Any]], found: Sequence[Found]) -> list[Found | None]:
    """For each thing asked for what was found of it: as many right colours as can be, then as many right shapes."""
    left: list[Found | None] = [*found, *[None] * len(things)]

    def right(order: Sequence[Found | None]) -> tuple[int, int]:
        both = [(thing, one) for thing, one in zip(things, order, strict=True) if one is not None]
        return (
            sum(thing["colour"] == one.colour for thing, one in both),
            sum(thing["shape"] == one.shape for thing, one in both),
        )

    best = max((permutations(left[:6], len(things))), key=right, default=())
    return list(best)


def shuffled(descriptions: Sequence[Description], asked: Sequence[Asked]) -> Tensor:
    """Marks of clips against other prompts, each prompt against several clips: (P, ATTRIBUTES)."""
    count = len(asked)
    shifts = [shift for shift in (1, 2, 3, 5, 8, 13, 21) if shift < count]
    if not shifts:
        return torch.full((count, len(ATTRIBUTES)), float("nan"))
    rows = [[marks(descriptions[(n + shift) % count], asked[n]) for n in range(count)] for shift in shifts]
    return torch.tensor(rows, dtype=torch.float64).nanmean(0)


def prompt_marks(told: Sequence[Description], truth: Sequence[Description], asked: Sequence[Asked]) -> list[Marks]:
    """By attribute, for each prompt: the clip's mark, that of the clips of other prompts, and the real clip's."""
    floor = shuffled(told, asked)
    rows = []
    for n, one in enumerate(asked):
        row, best = marks(told[n], one), marks(truth[n], one)
        rows.append({name: ("higher", row[at], float(floor[n, at]), best[at]) for at, name in enumerate(ATTRIBUTES)})
    return rows


def normalised(model: Tensor, floor: Tensor, ceiling: Tensor, *, seed: int = 0) -> list[Normalised]:
    """For each attribute; (P, A) marks each, NaN where a prompt asks for none. Every draw is of prompts."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(len(model), (DRAWS, len(model)), generator=generator)

    def ratio(rows: Tensor) -> Tensor:
        top, bottom, high = (marks[rows].nanmean(-2) for marks in (model, floor, ceiling))
        return (top - bottom) / (high - bottom)

    value = ratio(torch.arange(len(model)))
    drawn = torch.stack([ratio(rows) for rows in draws])
    drawn = torch.where(drawn.isfinite(), drawn, float("nan"))
    low, high = (drawn.nanquantile(share, 0) for share in INTERVAL)
    return [Normalised(float(v), float(a), float(b)) for v, a, b in zip(value, low, high, strict=True)]
