"""A file of captions by the key of a clip, as `minisora caption OUT --write jsonl` writes it.

    {"key": "8d40c0…", "path": "kite.mp4", "start": 0.0, "stop": 4.0, "text": "…" or ["…", "…"]}

They replace the captions of the annotations. A long clip that became several samples has a line for
each; a line is used only if its sample still covers the same span.

Here: reading the file and looking captions up. Not here: writing captions (caption/), rules for
them (words.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minisora.curate.importers.reading import captions_of
from minisora.curate.words import cleaned
from minisora.errors import UsageError
from minisora.tables.entry import STRICT, Skipped, names_of
from minisora.tables.records import records

NEAR = 1e-3  # seconds: tolerance for two spans to be the same


@dataclass(frozen=True)
class CaptionTable:
    """Captions by the key of a sample, and by the key of its clip."""

    of_sample: Mapping[str, tuple[float | None, float | None, list[str]]] = field(default_factory=dict)
    of_clip: Mapping[str, list[str]] = field(default_factory=dict)

    def clip(self, key: str, own: Sequence[str]) -> list[str]:
        """Captions of the clip's samples, or `own` if there are none."""
        return list(self.of_clip.get(key, own))

    def sample(self, key: str, start: float, stop: float, own: Sequence[str]) -> list[str]:
        """Captions of the sample with this span, or `own` if no sample of the clip has any."""
        begin, end, texts = self.of_sample.get(key, (None, None, []))
        if begin is not None and end is not None and max(abs(begin - start), abs(end - stop)) > NEAR:
            texts = []  # of another span: the clip was divided otherwise then
        clip = key.partition("-")[0]
        whole = self.clip(clip, own) if key == clip else self.of_sample.get(clip, (None, None, []))[2]
        return list(texts or whole or ([] if clip in self.of_clip else own))


def read_captions(path: Path, skipped: Skipped = STRICT, *, strip: bool = True) -> CaptionTable:
    """Read a file of captions.

    skipped: receives lines of another form
    strip:   remove openings such as "The video shows"

    Raises UsageError if the file is missing or every line has another form.
    """
    samples: dict[str, tuple[float | None, float | None, list[str]]] = {}
    clips: dict[str, list[str]] = {}
    for where, record in skipped.unless_all(records(path, (), skipped)):
        with skipped.entry(where):
            key, text = record.get("key"), cleaned(captions_of(record.get("text")), strip=strip)
            if not isinstance(key, str) or not text:
                raise UsageError(
                    f'{where} must be a line {{"key", "text"}}, as `minisora caption OUT --write jsonl` writes it; '
                    f"it has {names_of(record)}."
                )
            samples[key] = (_seconds(record.get("start")), _seconds(record.get("stop")), text)
            mine = clips.setdefault(key.partition("-")[0], [])
            mine += [each for each in text if each not in mine]
    return CaptionTable(samples, clips)


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
