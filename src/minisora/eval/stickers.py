"""The report on stickers: names, persons, activities and skin tones, and the direction of time.

Prompts describe unseen stagings of one sticker each. For names of the training set: is the name
among the judge's best, and are the frames in order, where the judge is sure of the real clip's
order. For held-out combinations: is each of person, activity and skin tone right.

Here: the prompts of stickers, marks, and the content of the report. Not here: the protocol
(following.py), the judge (judge/stickers.py), the playroom's report (report.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from minisora.errors import UsageError
from minisora.eval.following import MODEL, PHRASINGS, SHEET_ROWS, SHUFFLED, Subject, follow, score_table, write
from minisora.eval.rows import Findings, plain
from minisora.eval.score import Normalised, PromptCase
from minisora.generate.model import Model
from minisora.judge.network import load_judge
from minisora.judge.stickers import (
    BEST,
    FPS,
    NUM_FRAMES,
    SURE,
    Reading,
    StickerJudge,
    looks,
    rendered,
    singles,
    words,
)
from minisora.progress import OnEvent, no_listener
from minisora.worlds import stickers
from minisora.worlds.seeds import STICKER_REPORT
from minisora.worlds.stickers.staging import Staging

NAMES_SHARE = 5 / 8  # share of the prompts that ask for names; the others ask for held-out combinations
SECONDS = (NUM_FRAMES - 1) / FPS
REAL = "real clips"
ATTRIBUTES = ("name", "order", "person", "activity", "tone")
CHANCE = 0.5  # floor of `order`: no caption states it, so shuffled captions give no floor


@dataclass(frozen=True, kw_only=True)
class StickerReport:
    """The results of `sticker_report`. str() gives the table."""

    model: str
    count: int
    asked: dict[str, int]  # number of prompts that state each of ATTRIBUTES
    rows: dict[str, dict[str, float]]  # mean marks, by row and attribute
    normalised: dict[str, Normalised]
    by_phrasing: dict[str, dict[str, Normalised]]  # over the prompts of each of PHRASINGS
    motion_energy: dict[str, float]  # by row, without the last
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """JSON values; null for a value that was not measured or is undefined."""
        data: dict[str, Any] = plain(asdict(self))
        return data

    def __str__(self) -> str:
        return score_table(self, "stickers", {"prompts": self.asked})

    def to_markdown(self) -> str:
        energy = self.motion_energy
        share = 100 * energy[MODEL] / max(energy[REAL], 1e-9)
        listed = ", ".join(f"{row} {value:.2f}" for row, value in energy.items())
        timed = ", ".join(f"{name} {value:.0f}" for name, value in self.seconds.items())
        return "\n".join(
            [
                _heading(self.model),
                "",
                f"{self.count} prompts of one sticker each, stagings that no training saw, half of them in words that "
                "training never used. A classifier that was trained on real clips says what each clip shows; its own "
                "mistakes are in the row of real clips, which is the ceiling. The floor is the model's clips held "
                "against other prompts. Normalised is (model - floor) / (ceiling - floor), with a bootstrap over "
                "prompts.",
                "",
                f"Name: of the training set, among the judge's best {BEST} of "
                f"{len(words())}. Order: the frames run forward, asked where the judge is sure "
                f"({SURE:.0%}) of the real clip's order; its floor is chance. "
                "Person, activity and tone: of combinations that training never showed.",
                "",
                str(self),
                "",
                f"Motion energy (mean difference of neighbouring frames, of 255): {listed}; "
                f"the model has {share:.0f} % "
                "of the real clips'.",
                "",
                f"Seconds: {timed}.",
                "",
            ]
        )


def _heading(model: str) -> str:
    return f"# {model}: stickers"


def left_out() -> str | None:
    """The reason why stickers cannot be judged here, in one line; None if they can."""
    try:
        keys = [each.key for each in stickers.names()]
        if missing := len(stickers.missing(keys)):
            return f"{missing} of {len(keys)} are not in the cache. Fetch them: minisora.worlds.stickers.prepare()."
        load_judge(StickerJudge)
    except UsageError as error:  # the stickers are not in the cache, or the weights are missing
        return str(error)
    return None


def run(model: Model, out: Path, *, count: int, on_event: OnEvent = no_listener) -> Findings:
    """Run `sticker_report` as a suite; only a note if stickers cannot be judged."""
    if (reason := left_out()) is not None:
        return Findings(notes=(f"stickers are not judged: {reason}",))
    return Findings(table=str(sticker_report(model, out, count=count, on_event=on_event)))


def sticker_report(model: Model, out: Path, *, count: int, on_event: OnEvent = no_listener) -> StickerReport:
    """Score a model; stickers.json, stickers.md and stickers.png go into the folder `out`.

    The content of stickers.md is appended to an existing report.md, in place of an earlier one.

    count:   prompts
    on_event: receives the number of clips done and in all

    Raises UsageError if the stickers are not in the cache, WeightsError if the judge's weights are
    missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = follow(_subject(), model, count=count, on_event=on_event)
    report = StickerReport(
        model=model.bundle.name,
        count=count,
        asked=dict(zip(ATTRIBUTES, found.table[REAL].isfinite().sum(0).tolist(), strict=True)),
        rows=found.means(),
        normalised=found.normalised(),
        by_phrasing=found.by_phrasing(),
        motion_energy=found.motion_energy(),
        seconds=found.watch.seconds,
    )
    write(report, found.sheet(_shown(found.asked)), out, ("stickers.json", "stickers.md", "stickers.png"))
    _add(report, out / "report.md")
    return report


def _subject() -> Subject[Staging, Reading]:
    """Prompts of stickers, and their judge.

    Raises WeightsError if the judge's weights are missing.
    """
    return Subject(
        stage="stickers",
        real=REAL,
        attributes=ATTRIBUTES,
        seconds=SECONDS,
        fps=FPS,
        prompts=lambda count, size: prompts(count),
        render=lambda stagings, size: [rendered(staging, *size) for staging in stagings],
        looks=looks,
        judge=load_judge(StickerJudge).read,
        marks=marks_of,
        all_drawn=True,
    )


def prompts(count: int) -> tuple[list[Staging], list[PromptCase]]:
    """Unseen stagings of one sticker, with prompts; always the same, held-out combinations last."""
    named = math.ceil(NAMES_SHARE * count)
    drawn = [
        *singles(STICKER_REPORT.start, named, split="train"),
        *singles(STICKER_REPORT.start, count - named, split="held_out"),
    ]
    asked = []
    for n, (seed, staging) in enumerate(drawn):
        phrasing = list(PHRASINGS)[n % 2]
        written = stickers.captions(staging, seed=seed, start=0.0, stop=SECONDS, phrasing=phrasing)
        text = Random(f"prompt {staging.split} {seed}").choice(written).text
        asked.append(PromptCase(text, stickers.facts(staging), phrasing))
    return [staging for _, staging in drawn], asked


def marks(reading: Reading, asked: PromptCase, *, sure: bool) -> list[float]:
    """One mark in 0..1 for each of ATTRIBUTES; NaN where the prompt does not state it.

    sure: the judge is sure of the order of the real clip
    """
    actor = asked.facts["actors"][0]
    if actor["held_out"]:
        right = (
            reading.person == actor["person"],
            reading.activity == actor["activity"],
            reading.tone == actor["tone"],
        )
        return [math.nan, math.nan, *map(float, right)]
    # a still clip has no order: neither right nor wrong
    order = CHANCE if reading.forward == 0.5 else float(reading.forward > 0.5)
    return [float(actor["words"] in reading.names), order if sure else math.nan, *[math.nan] * 3]


def marks_of(readings_by_row: Mapping[str, Sequence[Reading]], asked: Sequence[PromptCase]) -> dict[str, Tensor]:
    """Readings by row -> marks (P, ATTRIBUTES) by row; the last row is that of shuffled captions.

    Captions are shuffled among prompts that state the same attributes, each prompt against several
    clips.
    """
    sure = [max(one.forward, 1 - one.forward) >= SURE for one in readings_by_row[REAL]]
    cases = list(zip(asked, sure, strict=True))
    table = {
        row: torch.tensor([marks(r, a, sure=s) for r, (a, s) in zip(readings, cases, strict=True)])
        for row, readings in readings_by_row.items()
    }
    made, floor = readings_by_row[MODEL], []
    for n, (one, known) in enumerate(cases):
        alike = [m for m, other in enumerate(asked) if other.facts["split"] == one.facts["split"]]
        place, length = alike.index(n), len(alike)
        others = [alike[(place + shift) % length] for shift in (1, 2, 3, 5, 8, 13, 21) if shift < length]
        against = torch.tensor([marks(made[m], one, sure=known) for m in others]).reshape(len(others), len(ATTRIBUTES))
        floor.append(against.mean(0))
    table[SHUFFLED] = torch.stack(floor)
    table[SHUFFLED][:, ATTRIBUTES.index("order")] = torch.where(torch.tensor(sure), CHANCE, math.nan)
    return table


def _add(report: StickerReport, whole: Path) -> None:
    """Append a report to another, if that exists, in place of an earlier one."""
    if whole.exists():
        before = whole.read_text(encoding="utf-8").split(_heading(report.model))[0].rstrip()
        whole.write_text(f"{before}\n\n{report.to_markdown()}", encoding="utf-8")


def _shown(asked: Sequence[PromptCase]) -> list[int]:
    """Numbers of the prompts on the sheet: half of names, half of held-out combinations."""
    held_out = [n for n, one in enumerate(asked) if one.facts["split"] == "held_out"]
    named = [n for n in range(len(asked)) if n not in held_out]
    return [*named[: SHEET_ROWS // 2], *held_out[: SHEET_ROWS // 2]]
