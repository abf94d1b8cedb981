"""The prompt-following report: scores between real renders and shuffled captions, further figures.

Here: the playroom's prompts, and the content of the report.
Not here: the protocol (following.py), the judge (judge/playroom.py), marks and intervals
(score.py), the further figures (figures.py, quality.py).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from minisora.eval.figures import BINS, loss_by_noise, vae_figures
from minisora.eval.following import MODEL, PHRASINGS, SHEET_ROWS, SHUFFLED, THROUGH, Subject, follow, score_table, write
from minisora.eval.quality import quality_figures
from minisora.eval.rows import Figure, Findings, plain, verb_table
from minisora.eval.score import ATTRIBUTES, Normalised, PromptCase, marks, shuffled
from minisora.generate.model import Model
from minisora.judge.network import load_judge
from minisora.judge.playroom import FPS, Description, PlayroomJudge
from minisora.progress import OnEvent, no_listener
from minisora.video import at_fps
from minisora.worlds import playroom
from minisora.worlds.playroom import WORLD_VERSION
from minisora.worlds.seeds import REPORT, REPORT_OTHERS

SECONDS = 2.0  # length of the clips that the judge was trained on
REAL = "real renders"
FIGURE_CLIPS = 16
_RENDERED_AT_ONCE = 20


@dataclass(frozen=True, kw_only=True)
class Report:
    """The results of `evaluate`. str() gives the table."""

    model: str
    count: int
    size: tuple[int, int]  # height, width
    world: dict[str, int]  # version of the playroom that the model was trained on, and that it is judged on
    rows: dict[str, dict[str, float]]  # mean marks, by row and attribute
    normalised: dict[str, Normalised]
    by_phrasing: dict[str, dict[str, Normalised]]  # over the prompts of each of PHRASINGS
    vae: dict[str, dict[str, float]]  # PSNR and SSIM by source
    loss_by_noise: list[float]
    motion_energy: dict[str, float]
    figures: tuple[Figure, ...]  # of the model and of the VAE round trip, with real clips as reference (quality.py)
    versions: dict[str, str]
    device: str
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """JSON values; null for a value that was not measured or is undefined."""
        data: dict[str, Any] = plain(asdict(self))
        return data

    def __str__(self) -> str:
        return score_table(self, "")

    def to_markdown(self) -> str:
        """The table, an explanation of its rows, and the further figures."""
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
    """Caveat for a model trained on another version of the world; "" for the same version."""
    return f"The model was trained on world {trained}; what it is asked for, and the judge, are of world {judged}."


def run(model: Model, out: Path, *, count: int, i3d: Path | None = None, on_event: OnEvent = no_listener) -> Findings:
    """Run `evaluate` as a suite."""
    report = evaluate(model, out, count=count, i3d=i3d, on_event=on_event)
    notes = (other_world(**report.world),) if len(set(report.world.values())) > 1 else ()
    return Findings(report.figures, str(report), notes)


def evaluate(
    model: Model, out: Path, *, count: int, i3d: Path | None = None, on_event: OnEvent = no_listener
) -> Report:
    """Score a model; results.json, report.md and sheet.png go into the folder `out`.

    count:   held-out prompts
    i3d:     TorchScript file of I3D; distances are then FVD
    on_event: receives the number of clips done and in all

    Raises WeightsError if the judge's weights are missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = follow(_subject(), model, count=count, on_event=on_event)
    size, timed = model.bundle.sampling.size, found.watch.timed
    real, through, made = (found.clips[row] for row in (REAL, THROUGH, MODEL))
    with timed("beside real clips"):
        others = render_all([playroom.draw(REPORT_OTHERS[n], split="held_out") for n in range(count)], size)
        figures = quality_figures({MODEL: made, THROUGH: through}, real, others, i3d)
    with timed("other figures"):
        some = slice(0, FIGURE_CLIPS)
        vae = vae_figures(model.bundle.vae, real, count=FIGURE_CLIPS, num_frames=len(real[0]))
        losses = loss_by_noise(model.bundle, real[some], [one.prompt for one in found.asked[some]], FPS)
    energy = found.motion_energy()
    report = Report(
        model=model.bundle.name,
        count=count,
        size=size,
        world={"trained": model.bundle.world, "judged": WORLD_VERSION},
        rows=found.means(),
        normalised=found.normalised(),
        by_phrasing=found.by_phrasing(),
        vae=vae,
        loss_by_noise=losses,
        motion_energy={"real": energy[REAL], "model": energy[MODEL]},
        figures=tuple(figures),
        versions=_versions(),
        device=_device(model),
        seconds=found.watch.seconds,
    )
    write(report, found.sheet(range(min(count, SHEET_ROWS))), out, ("results.json", "report.md", "sheet.png"))
    return report


def _subject() -> Subject[playroom.Scene, Description]:
    """Prompts of the playroom, and its judge.

    Raises WeightsError if the judge's weights are missing.
    """
    return Subject(
        stage="prompts",
        real=REAL,
        attributes=ATTRIBUTES,
        seconds=SECONDS,
        fps=FPS,
        prompts=lambda count, size: prompts(count, aspect=size[1] / size[0]),
        render=render_all,
        looks=lambda frames, fps: at_fps(frames, fps, FPS, round((len(frames) - 1) / fps * FPS) + 1),
        judge=load_judge(PlayroomJudge).describe,
        marks=marks_of,
    )


def marks_of(descriptions: Mapping[str, Sequence[Description]], asked: Sequence[PromptCase]) -> dict[str, Tensor]:
    """Map rows of descriptions to rows of marks (P, ATTRIBUTES); shuffled captions come last."""
    table = {
        row: torch.tensor([marks(d, a) for d, a in zip(ds, asked, strict=True)]) for row, ds in descriptions.items()
    }
    return table | {SHUFFLED: shuffled(descriptions[MODEL], asked).to(table[MODEL].dtype)}


def prompts(
    count: int, *, aspect: float = 1.0, split: str = "held_out"
) -> tuple[list[playroom.Scene], list[PromptCase]]:
    """Scenes outside the training set and a prompt for each, short or long; deterministic.

    aspect: width / height; split: "train" for triples that occur in training
    """
    scenes = [playroom.draw(REPORT[n], split=split) for n in range(count)]
    asked = []
    for n, scene in enumerate(scenes):
        phrasing = list(PHRASINGS)[n % 2]
        written = playroom.captions(scene, seed=scene.seed, start=0.0, stop=SECONDS, phrasing=phrasing, aspect=aspect)
        text = Random(f"prompt {scene.seed}").choice(written).text
        asked.append(PromptCase(text, playroom.facts(scene, 0.0, SECONDS, aspect=aspect), phrasing))
    return scenes, asked


def render_all(scenes: Sequence[playroom.Scene], size: tuple[int, int]) -> list[Tensor]:
    clips: list[Tensor] = []
    for first in range(0, len(scenes), _RENDERED_AT_ONCE):
        part = scenes[first : first + _RENDERED_AT_ONCE]
        rendered = playroom.render(part, height=size[0], width=size[1], fps=FPS, num_frames=round(SECONDS * FPS) + 1)
        clips += list(rendered.frames)
    return clips


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for name in ("minisora", "opencv-python-headless"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # run from a checkout, or OpenCV under another package name
            versions[name] = "not installed"
    return versions


def _device(model: Model) -> str:
    device = model.bundle.vae.latent_mean.device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"
