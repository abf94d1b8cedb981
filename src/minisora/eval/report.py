"""The report: a model's score between real renders and shuffled captions, and the figures beside it.

Here: what is asked, which rows are judged, and how it is written down.
Not here: the judge (judge/playroom.py), marks and intervals (score.py), other figures (figures.py).
"""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from minisora.eval.figures import BINS, loss_by_noise, vae_figures
from minisora.eval.metrics import motion_energy
from minisora.eval.quality import quality_figures
from minisora.eval.rows import Figure, plain, verb_table
from minisora.eval.score import ATTRIBUTES, Asked, Normalised, marks, normalised, shuffled
from minisora.generate.model import Model
from minisora.judge.network import load_judge
from minisora.judge.playroom import PlayroomJudge
from minisora.progress import Event, OnEvent, unheard
from minisora.vae.codec import round_trip
from minisora.video import at_fps, contact_sheet
from minisora.worlds import playroom
from minisora.worlds.playroom import WORLD_VERSION
from minisora.worlds.seeds import REPORT, REPORT_OTHERS

SECONDS, FPS = 2.0, 8.0  # what the judge was trained to look at
PHRASINGS = ("train", "held_out")  # in turns: half of the prompts use templates that training never saw
ROWS = ("real renders", "VAE round trip", "model", "captions shuffled")
SHEET_ROWS = 24
FIGURE_CLIPS = 16
_RENDERED_AT_ONCE = 20


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that `evaluate` found. Its text is the table."""

    model: str
    count: int
    size: tuple[int, int]  # height, width
    world: dict[str, int]  # version of the playroom that the model was trained on, and that it is judged on
    rows: dict[str, dict[str, float]]  # mean mark of each of ROWS, by attribute
    normalised: dict[str, Normalised]
    by_phrasing: dict[str, dict[str, Normalised]]  # over the prompts of each of PHRASINGS
    vae: dict[str, dict[str, float]]  # PSNR and SSIM by source
    loss_by_noise: list[float]
    motion_energy: dict[str, float]
    figures: tuple[Figure, ...]  # of the model and of the VAE round trip, beside real clips (quality.py)
    versions: dict[str, str]
    device: str
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """JSON values only; what was not asked or could not be worked out is null."""
        data: dict[str, Any] = plain(asdict(self))
        return data

    def __str__(self) -> str:
        head = ["", *ROWS, "normalised [95 %]", *(f"{_PHRASES[name]} phrasing" for name in PHRASINGS)]
        lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
        for name in ATTRIBUTES:
            cells = [name, *(f"{self.rows[row][name]:.3f}" for row in ROWS), str(self.normalised[name])]
            cells += [f"{self.by_phrasing[phrasing][name].value:.2f}" for phrasing in PHRASINGS]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """The table, what its rows are, and the other figures."""
        vae = [
            f"| {name} | {self.vae[name]['psnr_db']:.2f} | {self.vae[name]['ssim']:.4f} | {self.vae[name]['clips']} |"
            if name in self.vae
            else f"| {name} | not measured | not measured | 0 |"
            for name in ("playroom", "stickers", "footage")
        ]
        losses = " | ".join(f"{value:.4f}" for value in self.loss_by_noise)
        levels = " | ".join(f"{(n + 0.5) / BINS:.2f}" for n in range(BINS))
        energy = self.motion_energy
        timed = ", ".join(f"{name} {value:.0f}" for name, value in self.seconds.items())
        made = ", ".join(f"{name} {value}" for name, value in self.versions.items())
        return "\n".join(
            [
                f"# {self.model}: prompt following at {self.size[1]}x{self.size[0]}",
                "",
                f"{self.count} held-out playroom prompts, half of them in words that training never used. A judge "
                "that sees frames only says what they show; its own mistakes are in the row of real renders. "
                "That row is the ceiling; the floor is the model's clips held against other prompts. Normalised is "
                "(model - floor) / (ceiling - floor), with a bootstrap over prompts.",
                "",
                str(self),
                "",
                *([other_world(**self.world), ""] if len(set(self.world.values())) > 1 else []),
                "## Around it",
                "",
                "| VAE, held-out clips | PSNR dB | SSIM | clips |",
                "| --- | --- | --- | --- |",
                *vae,
                "",
                f"| noise level | {levels} |",
                f"|{' --- |' * (BINS + 1)}",
                f"| held-out loss | {losses or 'not measured'} |",
                "",
                f"Motion energy (mean difference of neighbouring frames, of 255): real {energy['real']:.2f}, "
                f"model {energy['model']:.2f}, {100 * energy['model'] / max(energy['real'], 1e-9):.0f} % of it.",
                "",
                "## Beside real clips",
                "",
                verb_table(self.figures),
                "",
                f"On {self.device}; {made}. Seconds: {timed}.",
                "",
            ]
        )


def other_world(trained: int, judged: int) -> str:
    """What a score says less of, where a model was trained on another version of the world."""
    return f"The model was trained on world {trained}; what it is asked for, and the judge, are of world {judged}."


_PHRASES = {"train": "seen", "held_out": "unseen"}


def evaluate(
    model: Model,
    out: Path,
    *,
    count: int = 200,
    i3d: Path | None = None,
    on_event: OnEvent = unheard,
) -> Report:
    """Score a model; results.json, report.md and sheet.png go into the folder `out`.

    count:   held-out prompts
    i3d:     a TorchScript file, for distances that may be called FVD
    on_event: told how many clips are made, and how many there will be

    Raises WeightsError where the judge's weights are missing.
    """
    judge = load_judge(PlayroomJudge)
    out.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        now = time.perf_counter()
        seconds[name], began = now - began, now

    size = model.bundle.sampling.size
    scenes, asked = prompts(count, aspect=size[1] / size[0])
    real = render_all(scenes, size)
    lap("rendering")
    through = [round_trip(model.bundle.vae, frames) for frames in real]
    lap("VAE round trip")
    made = []
    for number, one in enumerate(asked):
        video = model.generate(one.prompt, seconds=SECONDS, seed=number)
        made.append(_at_rate(video.frames, video.fps))
        on_event(Event("prompts", number + 1, count))
    lap("generating")
    told = {name: judge.describe(clips) for name, clips in zip(ROWS, (real, through, made), strict=False)}
    lap("judging")
    table = {name: torch.tensor([marks(d, a) for d, a in zip(ds, asked, strict=True)]) for name, ds in told.items()}
    table[ROWS[3]] = shuffled(told[ROWS[2]], asked).to(table[ROWS[2]].dtype)
    scored = _normalised(table, range(count))
    by_phrasing = {
        name: _normalised(table, [n for n, one in enumerate(asked) if one.phrasing == name]) for name in PHRASINGS
    }
    others = render_all([playroom.draw(REPORT_OTHERS[n], split="held_out") for n in range(count)], size)
    figures = quality_figures({ROWS[2]: made, ROWS[1]: through}, real, others, i3d)
    lap("beside real clips")
    some = slice(0, FIGURE_CLIPS)
    report = Report(
        model=model.bundle.name,
        count=count,
        size=size,
        world={"trained": model.bundle.world, "judged": WORLD_VERSION},
        rows={name: dict(zip(ATTRIBUTES, values.nanmean(0).tolist(), strict=True)) for name, values in table.items()},
        normalised=scored,
        by_phrasing=by_phrasing,
        vae=vae_figures(model.bundle.vae, real, count=FIGURE_CLIPS, num_frames=len(real[0])),
        loss_by_noise=loss_by_noise(model.bundle, real[some], [one.prompt for one in asked[some]], FPS),
        motion_energy={
            "real": sum(map(motion_energy, real)) / count,
            "model": sum(map(motion_energy, made)) / count,
        },
        figures=tuple(figures),
        versions=_versions(),
        device=_device(model),
        seconds=seconds,
    )
    lap("other figures")
    (out / "results.json").write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
    (out / "report.md").write_text(report.to_markdown(), encoding="utf-8")
    _sheet(asked, made, real).save(out / "sheet.png")
    return report


def prompts(count: int, *, aspect: float = 1.0, split: str = "held_out") -> tuple[list[playroom.Scene], list[Asked]]:
    """Scenes that no training saw and a prompt for each, a short or a long one; always the same.

    aspect: width / height; split: "train" for scenes of triples that training knows
    """
    scenes = [playroom.draw(REPORT[n], split=split) for n in range(count)]
    asked = []
    for n, scene in enumerate(scenes):
        phrasing = PHRASINGS[n % 2]
        written = playroom.captions(scene, seed=scene.seed, start=0.0, stop=SECONDS, phrasing=phrasing, aspect=aspect)
        text = Random(f"prompt {scene.seed}").choice(written).text
        asked.append(Asked(text, playroom.facts(scene, 0.0, SECONDS, aspect=aspect), phrasing))
    return scenes, asked


def render_all(scenes: Sequence[playroom.Scene], size: tuple[int, int]) -> list[Tensor]:
    clips: list[Tensor] = []
    for first in range(0, len(scenes), _RENDERED_AT_ONCE):
        part = scenes[first : first + _RENDERED_AT_ONCE]
        rendered = playroom.render(part, height=size[0], width=size[1], fps=FPS, num_frames=round(SECONDS * FPS) + 1)
        clips += list(rendered.frames)
    return clips


def _at_rate(frames: Tensor, fps: float) -> Tensor:
    """The frames nearest to the moments that the judge looks at."""
    return at_fps(frames, fps, FPS, round((len(frames) - 1) / fps * FPS) + 1)


def _normalised(table: dict[str, Tensor], rows: Sequence[int]) -> dict[str, Normalised]:
    if not rows:
        nothing = Normalised(math.nan, math.nan, math.nan)
        return dict.fromkeys(ATTRIBUTES, nothing)
    chosen = torch.tensor(list(rows))
    ceiling, model, floor = (table[name][chosen] for name in (ROWS[0], ROWS[2], ROWS[3]))
    return dict(zip(ATTRIBUTES, normalised(model, floor, ceiling), strict=True))


def _sheet(asked: Sequence[Asked], made: Sequence[Tensor], real: Sequence[Tensor]) -> Any:
    """The model's frames, and under them the real ones."""
    rows = []
    for one, ours, theirs in list(zip(asked, made, real, strict=True))[:SHEET_ROWS]:
        length = min(len(ours), len(theirs))
        beside = torch.cat([ours[:length], theirs[:length]], 1) if ours.shape[1:] == theirs.shape[1:] else ours
        rows.append((f"{one.prompt} (above the model, below real)", beside, FPS))
    return contact_sheet(rows, tile=rows[0][1].shape[1])


def _versions() -> dict[str, str]:
    told = {"python": platform.python_version(), "torch": torch.__version__}
    for name in ("minisora", "opencv-python-headless"):
        try:
            told[name] = version(name)
        except PackageNotFoundError:  # run from a checkout, or with another build of OpenCV
            told[name] = "not installed"
    return told


def _device(model: Model) -> str:
    device = model.bundle.vae.latent_mean.device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"
