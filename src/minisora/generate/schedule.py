"""A prompt that changes over time: "0-4s: a red ball rolls in | 4s-: it bounces".

Here: reading it, and telling it from a later moment on. Not here: which window is told which part (rollout.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from minisora.errors import UsageError

_MOMENT = r"(\d+(?:\.\d+)?)\s*s?"
_PART = re.compile(rf"^\s*{_MOMENT}\s*-\s*(?:{_MOMENT})?\s*:\s*(.*\S)\s*$", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """What is said from `start` seconds on, until the next part starts."""

    start: float
    text: str


def told_from(prompt: str, seconds: float) -> str:
    """The prompt of a video that begins `seconds` after the one that this prompt is of."""
    said = parts(prompt)
    begun = max(n for n, part in enumerate(said) if part.start <= max(seconds, 0.0))
    later = [f"{part.start - seconds:.3f}" for part in said[begun + 1 :]]
    return _written(said[begun:], ["0.000", *later])


def told_until(prompt: str, seconds: float) -> str:
    """The prompt of the first `seconds` of the video that this prompt is of."""
    said = [part for part in parts(prompt) if part.start == 0 or part.start < seconds]
    return _written(said, [f"{part.start:g}" for part in said])


def _written(said: Sequence[Part], starts: Sequence[str]) -> str:
    """Parts as a prompt: what `parts` reads again."""
    if len(said) == 1:
        return said[0].text
    pieces = zip(said, starts, [*starts[1:], ""], strict=True)
    return " | ".join(f"{start}-{stop}: {part.text}" for part, start, stop in pieces)


def parts(prompt: str) -> tuple[Part, ...]:
    """The parts of a prompt, in order; a prompt without times is one part from 0 on.

    Raises UsageError where some parts have times and others have none, where they do not follow each other without a
    gap, or do not begin at 0.
    """
    pieces = prompt.split("|")
    matches = [_PART.match(piece) for piece in pieces]
    if not any(matches):
        return (Part(0.0, prompt.strip()),)
    found: list[Part] = []
    end: float | None = 0.0
    for piece, match in zip(pieces, matches, strict=True):
        if match is None:
            text = piece.strip()
            raise UsageError(f'the part "{text}" of the prompt has no times. Write it as "4-6s: {text}".')
        start, stop = float(match[1]), None if match[2] is None else float(match[2])
        if end is None or start != end:
            before = "the part before it has no end" if end is None else f"the one before ends at {end:g} s"
            raise UsageError(
                f"a part of the prompt starts at {start:g} s, but {before}. Let each start where one ends."
            )
        if stop is not None and stop <= start:
            raise UsageError(f"a part of the prompt runs from {start:g} s to {stop:g} s. Let it end after it starts.")
        found.append(Part(start, match[3]))
        end = stop
    return tuple(found)
