"""A prompt that changes over time: "0-4s: a red ball rolls in | 4s-: it bounces".

Here: reading it, once, and what it says from or until a moment. Not here: which window is told which part (rollout.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from minisora.errors import UsageError

_MOMENT = r"(\d+(?:\.\d+)?)\s*s?"
_PART = re.compile(rf"^\s*{_MOMENT}\s*-\s*(?:{_MOMENT})?\s*:\s*(.*\S)\s*$", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """What is said from `start` seconds on, until the next part starts."""

    start: float
    text: str


@dataclass(frozen=True)
class Schedule:
    """The parts of a prompt, in order, the first of them from 0 on."""

    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, prompt: str) -> Schedule:
        """Read a prompt; one without times is one part.

        Raises UsageError where it is empty, where some parts have times and others have none, where they do not follow
        each other without a gap, or do not begin at 0.
        """
        if not prompt.strip():
            raise UsageError('the prompt is empty. Say what to show, such as "a red ball rolls to the left".')
        pieces = prompt.split("|")
        matches = [_PART.match(piece) for piece in pieces]
        if not any(matches):
            return cls((Part(0.0, prompt.strip()),))
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
                raise UsageError(
                    f"a part of the prompt runs from {start:g} s to {stop:g} s. Let it end after it starts."
                )
            found.append(Part(start, match[3]))
            end = stop
        return cls(tuple(found))

    @classmethod
    def joined(cls, shots: Sequence[tuple[Schedule, float]]) -> Schedule:
        """Schedules after each other, each with how many seconds it is given."""
        parts, start = list[Part](), 0.0
        for schedule, seconds in shots:
            parts += [Part(start + part.start, part.text) for part in schedule.until(seconds).parts]
            start += seconds
        return cls(tuple(parts))

    def __str__(self) -> str:
        """The prompt that `parse` reads as this."""
        if len(self.parts) == 1:
            return self.parts[0].text
        starts = [f"{part.start:.9g}" for part in self.parts]
        pieces = zip(self.parts, starts, [*starts[1:], ""], strict=True)
        return " | ".join(f"{start}-{stop}: {part.text}" for part, start, stop in pieces)

    @property
    def changes(self) -> bool:
        return len(self.parts) > 1

    @property
    def first(self) -> str:
        """What is said at the beginning."""
        return self.parts[0].text

    def since(self, seconds: float) -> Schedule:
        """What is said of a video that begins `seconds` after this one."""
        begun = max(n for n, part in enumerate(self.parts) if part.start <= max(seconds, 0.0))
        later = [replace(part, start=part.start - seconds) for part in self.parts[begun + 1 :]]
        return Schedule((replace(self.parts[begun], start=0.0), *later))

    def until(self, seconds: float) -> Schedule:
        """What is said of the first `seconds`."""
        return Schedule(tuple(part for part in self.parts if part.start == 0 or part.start < seconds))
