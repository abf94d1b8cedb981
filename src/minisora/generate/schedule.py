"""Prompt schedule: a prompt that changes over time, "0-4s: a red ball rolls in | 4s-: it bounces".

Here: parsing it, once, and cutting it at a time. Not here: the text of each window (rollout.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from minisora.errors import UsageError
from minisora.outside import check_text

_MOMENT = r"(\d+(?:\.\d+)?)\s*(?:s\s*)?"  # no two neighbours take spaces: many would take cubic time
_PART = re.compile(rf"{_MOMENT}-\s*(?:{_MOMENT})?:\s*(\S.*)", re.DOTALL)  # of a stripped piece


@dataclass(frozen=True)
class Part:
    """Text from `start` seconds on, until the next part starts."""

    start: float
    text: str


@dataclass(frozen=True)
class Schedule:
    """Parts of a prompt, in order; the first starts at 0."""

    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, prompt: str) -> Schedule:
        """Parse a prompt; one without times is one part.

        Raises UsageError for an empty prompt, characters that words do not have, parts of which
        only some have times, and times that do not begin at 0 or leave a gap.
        """
        check_text(prompt, "the prompt")
        if not prompt.strip():
            raise UsageError('the prompt is empty. Say what to show, such as "a red ball rolls to the left".')
        whole, pieces = prompt.strip(), [piece.strip() for piece in prompt.split("|")]
        matches = [_PART.match(piece) for piece in pieces]
        if not any(matches):
            return cls((Part(0.0, whole),))
        if (only := matches[0]) and len(pieces) == 1 and (float(only[1]) > 0 or (only[2] and float(only[2]) == 0)):
            raise UsageError(
                f'"{whole[: only.start(3)].strip()}" was read as a time, and none such begins a prompt: parts are '
                f'from 0 s on. If it is to be shown, write "0-: {whole}".'
            )
        found: list[Part] = []
        end: float | None = 0.0
        for piece, match in zip(pieces, matches, strict=True):
            if match is None:
                raise UsageError(f'the part "{piece}" of the prompt has no times. Write it as "4-6s: {piece}".')
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
        """Concatenate schedules, each with its length in seconds."""
        parts, start = list[Part](), 0.0
        for schedule, seconds in shots:
            parts += [Part(start + part.start, part.text) for part in schedule.until(seconds).parts]
            start += seconds
        return cls(tuple(parts))

    def __str__(self) -> str:
        """Prompt text; the inverse of `parse`."""
        if len(self.parts) == 1:
            text = self.parts[0].text
            return f"0-: {text}" if _PART.match(text) else text
        starts = [f"{part.start:.9g}" for part in self.parts]
        pieces = zip(self.parts, starts, [*starts[1:], ""], strict=True)
        return " | ".join(f"{start}-{stop}: {part.text}" for part, start, stop in pieces)

    @property
    def changes(self) -> bool:
        return len(self.parts) > 1

    @property
    def first(self) -> str:
        """Text at the beginning."""
        return self.parts[0].text

    def since(self, seconds: float) -> Schedule:
        """Schedule of a video that begins `seconds` after this one."""
        begun = max(n for n, part in enumerate(self.parts) if part.start <= max(seconds, 0.0))
        later = [replace(part, start=part.start - seconds) for part in self.parts[begun + 1 :]]
        return Schedule((replace(self.parts[begun], start=0.0), *later))

    def until(self, seconds: float) -> Schedule:
        """Schedule of the first `seconds`."""
        return Schedule(tuple(part for part in self.parts if part.start == 0 or part.start < seconds))
