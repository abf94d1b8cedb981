"""Prompt following: real clips, the VAE, the model and shuffled captions, all read by one judge.

The protocol is the same for every subject: render the prompts' scenes, pass them through the VAE,
generate from the prompts, and let a judge describe each clip. Scores are normalised between the
ceiling, real clips, and the floor, the model's clips scored against other prompts.

Here: the protocol, means and normalised scores, the table, the sheet, the files.
Not here: the prompts and the marks of a subject (report.py, stickers.py), intervals (score.py).
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
from minisora.eval.score import Normalised, PromptCase, normalised
from minisora.generate.model import Model
from minisora.progress import OnEvent, Watch
from minisora.vae.codec import round_trip
from minisora.video import contact_sheet
from minisora.video.write import write_picture

THROUGH, MODEL, SHUFFLED = "VAE round trip", "model", "captions shuffled"  # rows of a report, after that of real clips
PHRASINGS = {
    "train": "seen phrasing",
    "held_out": "unseen phrasing",
}  # alternating: half of the prompts are in held-out phrasing
SHEET_ROWS = 24

Scene = TypeVar("Scene")
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Subject(Generic[Scene, Answer]):
    """A subject of prompts with its judge, such as the playroom or the stickers.

    stage:   stage of its events
    real:    name of the row of real clips
    seconds: length of the clips
    fps:     of the clips that the judge reads
    all_drawn: the bootstrap of one phrasing resamples all prompts, not only those of this phrasing
    """

    stage: str
    real: str
    attributes: Sequence[str]
    seconds: float
    fps: float
    prompts: Callable[[int, tuple[int, int]], tuple[list[Scene], list[PromptCase]]]  # count; height, width
    render: Callable[[list[Scene], tuple[int, int]], list[Tensor]]  # (T, H, W, 3) uint8 each, at fps
    looks: Callable[[Tensor, float], Tensor]  # (frames, fps) -> frames as the judge reads them
    judge: Callable[[list[Tensor]], list[Answer]]
    marks: Callable[
        [Mapping[str, list[Answer]], Sequence[PromptCase]], dict[str, Tensor]
    ]  # (P, attributes) for all four rows
    all_drawn: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """Clips, marks and scores of all prompts."""

    subject: Subject[Any, Any]
    asked: Sequence[PromptCase]
    clips: Mapping[str, Sequence[Tensor]]  # by row, without the last, as the judge read them
    table: Mapping[str, Tensor]  # by row: (P, attributes) marks in 0..1; NaN where a prompt does not state it
    watch: Watch

    def means(self) -> dict[str, dict[str, float]]:
        """Mean mark by row and attribute."""
        return {row: self._named(marks.nanmean(0).tolist()) for row, marks in self.table.items()}

    def normalised(self, phrasing: str | None = None) -> dict[str, Normalised]:
        """Normalised scores by attribute, over the prompts of one of PHRASINGS, or all."""
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
        """Mean absolute difference of neighbouring frames by row, in 0..255."""
        return {row: sum(map(motion_energy, clips)) / len(clips) for row, clips in self.clips.items()}

    def sheet(self, chosen: Iterable[int]) -> Image.Image:
        """A contact sheet of chosen prompts: the model's frames above the real ones."""
        rows = []
        for n in chosen:
            ours, theirs = self.clips[MODEL][n], self.clips[self.subject.real][n]
            length = min(len(ours), len(theirs))
            both = torch.cat([ours[:length], theirs[:length]], 1) if ours.shape[1:] == theirs.shape[1:] else ours
            rows.append((f"{self.asked[n].prompt} (above the model, below real)", both, self.subject.fps))
        return contact_sheet(rows, tile=rows[0][1].shape[1])

    def _named(self, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self.subject.attributes, values, strict=True))


def follow(subject: Subject[Scene, Answer], model: Model, *, count: int, on_event: OnEvent) -> Outcome:
    """Generate from `count` prompts and judge the clips.

    on_event: receives the number of clips done and in all
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
        judged = {row: subject.judge(each) for row, each in clips.items()}
    return Outcome(subject=subject, asked=asked, clips=clips, table=subject.marks(judged, asked), watch=watch)


class Report(Protocol):
    """The written report on a subject; its scores are those of `Outcome`."""

    @property
    def rows(self) -> Mapping[str, Mapping[str, float]]: ...

    @property
    def normalised(self) -> Mapping[str, Normalised]: ...

    @property
    def by_phrasing(self) -> Mapping[str, Mapping[str, Normalised]]: ...

    def to_json(self) -> dict[str, Any]: ...

    def to_markdown(self) -> str: ...


def score_table(report: Report, corner: str, more: Mapping[str, Mapping[str, int]] | None = None) -> str:
    """A Markdown table with a line for each attribute: its mean mark in each row, and its score.

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
    """Write a report into the folder `out`. names: file names of its JSON, Markdown and PNG"""
    figures, text, picture = (out / name for name in names)
    figures.write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
    text.write_text(report.to_markdown(), encoding="utf-8")
    write_picture(picture, sheet)
