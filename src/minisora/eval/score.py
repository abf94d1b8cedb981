"""Scores of descriptions against prompts, normalised between floor and ceiling.

Only attributes that the prompt states are scored: the size of things only where the prompt names
sizes.

Here: marks of one clip, means and intervals of many. Not here: the judge (judge/playroom.py), the
table (report.py).
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
class PromptCase:
    """A prompt, and the facts of the scene that it describes (worlds.playroom.facts)."""

    prompt: str
    facts: dict[str, Any]
    phrasing: str

    @property
    def says_size(self) -> bool:
        return bool({"small", "large"} & set(self.prompt.lower().split()))


@dataclass(frozen=True)
class Normalised:
    """(model - floor) / (ceiling - floor), with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def marks(description: Description, asked: PromptCase) -> list[float]:
    """One mark in 0..1 for each of ATTRIBUTES; NaN where the prompt does not state it.

    colour:    IoU of the set of asked colours and the set of found ones
    shape, size, motion, direction: share of the asked things that are found with the right value; a
        thing is matched by its colour, or to a thing that is left over if its colour is not found
    count, camera: 1 or 0
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
    """Match each asked thing to a found one: most right colours, then most right shapes."""
    left: list[Found | None] = [*found, *[None] * len(things)]

    def right(order: Sequence[Found | None]) -> tuple[int, int]:
        both = [(thing, one) for thing, one in zip(things, order, strict=True) if one is not None]
        return (
            sum(thing["colour"] == one.colour for thing, one in both),
            sum(thing["shape"] == one.shape for thing, one in both),
        )

    best = max((permutations(left[:6], len(things))), key=right, default=())
    return list(best)


def shuffled(descriptions: Sequence[Description], asked: Sequence[PromptCase]) -> Tensor:
    """Mean marks of each prompt against the clips of other prompts, (P, ATTRIBUTES): the floor."""
    count = len(asked)
    shifts = [shift for shift in (1, 2, 3, 5, 8, 13, 21) if shift < count]
    if not shifts:
        return torch.full((count, len(ATTRIBUTES)), float("nan"))
    rows = [[marks(descriptions[(n + shift) % count], asked[n]) for n in range(count)] for shift in shifts]
    return torch.tensor(rows, dtype=torch.float64).nanmean(0)


def prompt_marks(
    descriptions: Sequence[Description], truth: Sequence[Description], asked: Sequence[PromptCase]
) -> list[Marks]:
    """Marks of each prompt by attribute: clip, floor (other prompts' clips), ceiling (real)."""
    floor = shuffled(descriptions, asked)
    rows = []
    for n, one in enumerate(asked):
        row, best = marks(descriptions[n], one), marks(truth[n], one)
        rows.append({name: ("higher", row[at], float(floor[n, at]), best[at]) for at, name in enumerate(ATTRIBUTES)})
    return rows


def normalised(model: Tensor, floor: Tensor, ceiling: Tensor, *, seed: int = 0) -> list[Normalised]:
    """Normalised score of each attribute.

    model, floor, ceiling: (P, A) marks, NaN if a prompt does not state it

    The bootstrap resamples prompts.
    """
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
