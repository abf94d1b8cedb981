"""The report on stickers: are names, people, work and skin tones shown as asked, and does time run forward.

Asked are unseen stagings of one sticker each. Names of the training set: is the asked name among the judge's best, and
are the frames in order, where the judge is sure of the real clip's order. Held-out combinations: is each of person,
activity and skin tone right.

Here: what is asked, marks, rows and the table. Not here: the judge (judge/stickers.py), intervals (score.py), the
playroom's report (report.py).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from minisora.errors import UsageError
from minisora.eval.metrics import motion_energy
from minisora.eval.score import Asked, Normalised, normalised
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
from minisora.progress import Event, OnEvent, unheard
from minisora.vae.codec import round_trip
from minisora.video import contact_sheet
from minisora.worlds import stickers
from minisora.worlds.seeds import STICKER_REPORT
from minisora.worlds.stickers.staging import Staging

COUNT = 160
NAMES_SHARE = 5 / 8  # of the prompts; the others are of held-out combinations
SECONDS = (NUM_FRAMES - 1) / FPS
PHRASINGS = ("train", "held_out")  # in turns: half of the prompts use templates that training never saw
ATTRIBUTES = ("name", "order", "person", "activity", "tone")
ROWS = ("real clips", "VAE round trip", "model", "captions shuffled")
CHANCE = 0.5  # of an order; it is in no caption, so shuffling captions says nothing of it
SHEET_ROWS = 24


@dataclass(frozen=True, kw_only=True)
class StickerReport:
    """All that `sticker_report` found. Its text is the table."""

    model: str
    count: int
    asked: dict[str, int]  # of how many prompts each of ATTRIBUTES was asked
    rows: dict[str, dict[str, float]]  # mean mark of each of ROWS, by attribute
    normalised: dict[str, Normalised]
    by_phrasing: dict[str, dict[str, Normalised]]  # over the prompts of each of PHRASINGS
    motion_energy: dict[str, float]  # of the first three of ROWS
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """JSON values only; what was not asked or could not be worked out is null."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)), parse_constant=lambda name: None)
        return data

    def __str__(self) -> str:
        head = ["stickers", "prompts", *ROWS, "normalised [95 %]", "seen phrasing", "unseen phrasing"]
        lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
        for name in ATTRIBUTES:
            cells = [name, str(self.asked[name]), *(f"{self.rows[row][name]:.3f}" for row in ROWS)]
            cells += [str(self.normalised[name])]
            cells += [f"{self.by_phrasing[phrasing][name].value:.2f}" for phrasing in PHRASINGS]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)

    def to_markdown(self) -> str:
        energy = self.motion_energy
        share = 100 * energy[ROWS[2]] / max(energy[ROWS[0]], 1e-9)
        told = ", ".join(f"{row} {value:.2f}" for row, value in energy.items())
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
                f"Motion energy (mean difference of neighbouring frames, of 255): {told}; the model has {share:.0f} % "
                "of the real clips'.",
                "",
                f"Seconds: {timed}.",
                "",
            ]
        )


def _heading(model: str) -> str:
    return f"# {model}: stickers"


def left_out() -> str | None:
    """Why stickers cannot be judged here, in one line; None where they can."""
    try:
        keys = [each.key for each in stickers.names()]
        if missing := len(stickers.missing(keys)):
            return f"{missing} of {len(keys)} are not in the cache. Fetch them: minisora.worlds.stickers.prepare()."
        load_judge(StickerJudge)
    except UsageError as error:  # no names, or no weights
        return str(error)
    return None


def sticker_report(model: Model, out: Path, *, count: int = COUNT, on_event: OnEvent = unheard) -> StickerReport:
    """Score a model; stickers.json, stickers.md and stickers.png go into the folder `out`.

    What is in stickers.md is added to a report.md that is there, in place of an earlier one.

    count:   prompts
    on_event: told how many clips are made, and how many there will be

    Raises UsageError where the stickers are not in the cache, WeightsError where the judge's weights are missing.
    """
    judge = load_judge(StickerJudge)
    out.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        now = time.perf_counter()
        seconds[name], began = now - began, now

    stagings, asked = prompts(count)
    real = [rendered(staging, *model.bundle.sampling.size) for staging in stagings]
    lap("rendering")
    through = [round_trip(model.bundle.vae, frames) for frames in real]
    lap("VAE round trip")
    made = []
    for number, one in enumerate(asked):
        video = model.generate(one.prompt, seconds=SECONDS, seed=number)
        made.append(looks(video.frames, video.fps))
        on_event(Event("stickers", number + 1, count))
    lap("generating")
    clips = dict(zip(ROWS, ([looks(c, FPS) for c in real], [looks(c, FPS) for c in through], made), strict=False))
    told = {row: judge.read(looked) for row, looked in clips.items()}
    lap("judging")
    table = marks_of(told, asked)
    report = StickerReport(
        model=model.bundle.name,
        count=count,
        asked=dict(zip(ATTRIBUTES, table[ROWS[0]].isfinite().sum(0).tolist(), strict=True)),
        rows={row: dict(zip(ATTRIBUTES, values.nanmean(0).tolist(), strict=True)) for row, values in table.items()},
        normalised=_normalised(table, asked, PHRASINGS),
        by_phrasing={phrasing: _normalised(table, asked, (phrasing,)) for phrasing in PHRASINGS},
        motion_energy={row: sum(map(motion_energy, looked)) / count for row, looked in clips.items()},
        seconds=seconds,
    )
    _write(report, out)
    _sheet(asked, clips[ROWS[2]], clips[ROWS[0]]).save(out / "stickers.png")
    return report


def prompts(count: int) -> tuple[list[Staging], list[Asked]]:
    """Unseen stagings of one sticker each and a prompt for each; always the same. Held-out combinations come last."""
    named = math.ceil(NAMES_SHARE * count)
    drawn = [
        *singles(STICKER_REPORT.start, named, split="train"),
        *singles(STICKER_REPORT.start, count - named, split="held_out"),
    ]
    asked = []
    for n, (seed, staging) in enumerate(drawn):
        phrasing = PHRASINGS[n % 2]
        written = stickers.captions(staging, seed=seed, start=0.0, stop=SECONDS, phrasing=phrasing)
        text = Random(f"prompt {staging.split} {seed}").choice(written).text
        asked.append(Asked(text, stickers.facts(staging), phrasing))
    return [staging for _, staging in drawn], asked


def marks(reading: Reading, asked: Asked, *, sure: bool) -> list[float]:
    """One mark in 0..1 for each of ATTRIBUTES; NaN where the prompt is not asked for it.

    sure: of the order of the real clip
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


def marks_of(told: dict[str, list[Reading]], asked: Sequence[Asked]) -> dict[str, Tensor]:
    """The readings of the first three of ROWS -> the marks (P, ATTRIBUTES) of all of them.

    Captions are shuffled among prompts that are asked for the same, each prompt against several clips.
    """
    sure = [max(one.forward, 1 - one.forward) >= SURE for one in told[ROWS[0]]]
    cases = list(zip(asked, sure, strict=True))
    table = {
        row: torch.tensor([marks(r, a, sure=s) for r, (a, s) in zip(readings, cases, strict=True)])
        for row, readings in told.items()
    }
    made, floor = told[ROWS[2]], []
    for n, (one, known) in enumerate(cases):
        alike = [m for m, other in enumerate(asked) if other.facts["split"] == one.facts["split"]]
        place, length = alike.index(n), len(alike)
        others = [alike[(place + shift) % length] for shift in (1, 2, 3, 5, 8, 13, 21) if shift < length]
        against = torch.tensor([marks(made[m], one, sure=known) for m in others]).reshape(len(others), len(ATTRIBUTES))
        floor.append(against.mean(0))
    table[ROWS[3]] = torch.stack(floor)
    table[ROWS[3]][:, ATTRIBUTES.index("order")] = torch.where(torch.tensor(sure), CHANCE, math.nan)
    return table


def _normalised(table: dict[str, Tensor], asked: Sequence[Asked], phrasings: Sequence[str]) -> dict[str, Normalised]:
    chosen = torch.tensor([one.phrasing in phrasings for one in asked])[:, None]
    ceiling, model, floor = (table[row].where(chosen, math.nan) for row in (ROWS[0], ROWS[2], ROWS[3]))
    return dict(zip(ATTRIBUTES, normalised(model, floor, ceiling), strict=True))


def _write(report: StickerReport, out: Path) -> None:
    text = report.to_markdown()
    (out / "stickers.json").write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
    (out / "stickers.md").write_text(text, encoding="utf-8")
    whole = out / "report.md"
    if whole.exists():
        before = whole.read_text(encoding="utf-8").split(_heading(report.model))[0].rstrip()
        whole.write_text(f"{before}\n\n{text}", encoding="utf-8")


def _sheet(asked: Sequence[Asked], made: Sequence[Tensor], real: Sequence[Tensor]) -> Any:
    """The model's frames, and under them the real ones: half of the rows of names, half of held-out combinations."""
    held_out = [n for n, one in enumerate(asked) if one.facts["split"] == "held_out"]
    named = [n for n in range(len(asked)) if n not in held_out]
    chosen = [*named[: SHEET_ROWS // 2], *held_out[: SHEET_ROWS // 2]]
    rows = [(f"{asked[n].prompt} (above the model, below real)", torch.cat([made[n], real[n]], 1), FPS) for n in chosen]
    return contact_sheet(rows, tile=rows[0][1].shape[1])
