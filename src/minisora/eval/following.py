"""Whether a model follows its prompts: real clips, the VAE, the model and shuffled captions under one judge.

The way is the same whatever prompts are of: what they say is drawn, goes through the VAE, is asked of the model, and a
judge says what each clip shows. Scores stand between the ceiling, real clips, and the floor, the model's clips held
against other prompts.

Here: the way, means and normalised scores, the table, the sheet, the files.
Not here: what is asked and how answers are marked (report.py, stickers.py), intervals (score.py).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from PIL import Image
from torch import Tensor

from minisora.eval.metrics import motion_energy
from minisora.eval.score import Asked, Normalised, normalised
from minisora.generate.model import Model
from minisora.progress import OnEvent, Watch
from minisora.vae.codec import round_trip
from minisora.video import contact_sheet

THROUGH, MODEL, SHUFFLED = "VAE round trip", "model", "captions shuffled"  # rows of a report, after that of real clips
PHRASINGS = {"train": "seen phrasing", "held_out": "unseen phrasing"}  # in turns: half are in words not trained on
SHEET_ROWS = 24

Scene = TypeVar("Scene")
Said = TypeVar("Said")


@dataclass(frozen=True, kw_only=True)
class Subject(Generic[Scene, Said]):
    """What prompts are of, and who judges.

    stage:   of its events
    real:    name of the row of real clips
    seconds: of the clips
    fps:     at which the judge looks
    all_drawn: the interval of one phrasing is over draws of all prompts, not of its own alone
    """

    stage: str
    real: str
    attributes: Sequence[str]
    seconds: float
    fps: float
    prompts: Callable[[int, tuple[int, int]], tuple[list[Scene], list[Asked]]]  # count; height, width
    render: Callable[[list[Scene], tuple[int, int]], list[Tensor]]  # (T, H, W, 3) uint8 each, at fps
    looks: Callable[[Tensor, float], Tensor]  # frames and their rate -> frames as the judge looks at them
    judge: Callable[[list[Tensor]], list[Said]]
    marks: Callable[[Mapping[str, list[Said]], Sequence[Asked]], dict[str, Tensor]]  # (P, attributes) for all four rows
    all_drawn: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Followed:
    """What came of the prompts."""

    subject: Subject[Any, Any]
    asked: Sequence[Asked]
    clips: Mapping[str, Sequence[Tensor]]  # by row, but for the last, as the judge looked at them
    table: Mapping[str, Tensor]  # by row: (P, attributes) marks in 0..1; NaN where a prompt does not ask
    watch: Watch

    def means(self) -> dict[str, dict[str, float]]:
        """Mean mark by row and attribute."""
        return {row: self._named(marks.nanmean(0).tolist()) for row, marks in self.table.items()}

    def normalised(self, phrasing: str | None = None) -> dict[str, Normalised]:
        """By attribute, over the prompts of one of PHRASINGS or all."""
        chosen = torch.tensor([phrasing in (None, one.phrasing) for one in self.asked])
        if not chosen.any():
            return self._named([Normalised(math.nan, math.nan, math.nan)] * len(self.subject.attributes))
        ceiling, model, floor = (
            self.table[row].where(chosen[:, None], math.nan) if self.subject.all_drawn else self.table[row][chosen]
            for row in (self.subject.real, MODEL, SHUFFLED)
        )
        return self._named(normalised(model, floor, ceiling))

    def by_phrasing(self) -> dict[str, dict[str, Normalised]]:
        return {phrasing: self.normalised(phrasing) for phrasing in PHRASINGS}

    def motion_energy(self) -> dict[str, float]:
        """By row: mean difference of neighbouring frames, in 0..255."""
        return {row: sum(map(motion_energy, clips)) / len(clips) for row, clips in self.clips.items()}

    def sheet(self, chosen: Iterable[int]) -> Image.Image:
        """Chosen prompts: the model's frames, and under them the real ones."""
        rows = []
        for n in chosen:
            ours, theirs = self.clips[MODEL][n], self.clips[self.subject.real][n]
            length = min(len(ours), len(theirs))
            both = torch.cat([ours[:length], theirs[:length]], 1) if ours.shape[1:] == theirs.shape[1:] else ours
            rows.append((f"{self.asked[n].prompt} (above the model, below real)", both, self.subject.fps))
        return contact_sheet(rows, tile=rows[0][1].shape[1])

    def _named(self, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self.subject.attributes, values, strict=True))


def follow(subject: Subject[Scene, Said], model: Model, *, count: int, on_event: OnEvent) -> Followed:
    """Ask a model `count` prompts and have the answers judged.

    on_event: told how many clips are made, and how many there will be
    """
    watch, size = Watch(on_event=on_event, stage=subject.stage), model.bundle.sampling.size
    scenes, asked = subject.prompts(count, size)
    with watch.timed("rendering"):
        real = subject.render(scenes, size)
    with watch.timed("VAE round trip"):
        through = [round_trip(model.bundle.vae, frames) for frames in real]
    made = []
    with watch.timed("generating"):
        for number, one in enumerate(asked):
            video = model.generate(one.prompt, seconds=subject.seconds, seed=number)
            made.append(subject.looks(video.frames, video.fps))
            watch.step(number + 1, count)
    with watch.timed("judging"):
        looked = ([subject.looks(frames, subject.fps) for frames in clips] for clips in (real, through))
        clips = dict(zip((subject.real, THROUGH, MODEL), (*looked, made), strict=True))
        told = {row: subject.judge(each) for row, each in clips.items()}
    return Followed(subject=subject, asked=asked, clips=clips, table=subject.marks(told, asked), watch=watch)


class Report(Protocol):
    """What is written of a subject; its scores are those of `Followed`."""

    @property
    def rows(self) -> Mapping[str, Mapping[str, float]]: ...

    @property
    def normalised(self) -> Mapping[str, Normalised]: ...

    @property
    def by_phrasing(self) -> Mapping[str, Mapping[str, Normalised]]: ...

    def to_json(self) -> dict[str, Any]: ...

    def to_markdown(self) -> str: ...


def score_table(report: Report, corner: str, more: Mapping[str, Mapping[str, int]] | None = None) -> str:
    """A line for each attribute: its mean mark in each row, and its score.

    more: further columns, after the first
    """
    more = more or {}
    head = [corner, *more, *report.rows, "normalised [95 %]", *(PHRASINGS[phrasing] for phrasing in report.by_phrasing)]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, score in report.normalised.items():
        cells = [name, *(str(column[name]) for column in more.values())]
        cells += [*(f"{marks[name]:.3f}" for marks in report.rows.values()), str(score)]
        cells += [f"{each[name].value:.2f}" for each in report.by_phrasing.values()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(report: Report, sheet: Image.Image, out: Path, names: tuple[str, str, str]) -> None:
    """Put a report into the folder `out`. names: of its JSON, Markdown and PNG"""
    figures, text, picture = (out / name for name in names)
    figures.write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
    text.write_text(report.to_markdown(), encoding="utf-8")
    sheet.save(picture)
