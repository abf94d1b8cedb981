"""Native aspect ratios, a claim of Sora's report: prompts are followed, and things are not cut off.

Here: prompt following and the share of things cut off, by aspect; also for small and large
pictures.
Not here: the marks (score.py), the judge (judge/playroom.py).
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from minisora.eval.report import SECONDS, prompts, render_all
from minisora.eval.rows import NAN, Figure, Findings, figure_of, write_rows
from minisora.eval.score import PromptCase, prompt_marks
from minisora.generate.model import Model
from minisora.judge.network import load_judge
from minisora.judge.playroom import FPS, PlayroomJudge
from minisora.judge.segment import Segmenter, colour_mask
from minisora.progress import Event, OnEvent, no_listener

ASPECTS = {"1:1": (1, 1), "16:9": (16, 9), "9:16": (9, 16)}  # width, height
LARGE = 4  # factor on the model's own side
_MEASURES = ("colour", "shape", "count", "things cut off")


def run(model: Model, out: Path, *, count: int, on_event: OnEvent = no_listener) -> Findings:
    """Measure `count` held-out prompts at each aspect; write aspects.json and .md to `out`."""
    judge, figures = load_judge(PlayroomJudge), list[Figure]()
    own = model.bundle.sampling.size
    asks = [(name, model.preview_size((high * 64, wide * 64)), SECONDS) for name, (wide, high) in ASPECTS.items()]
    asks += [("picture", (times * own[0], times * own[1]), 0.0) for times in (1, LARGE)]
    for number, (name, size, seconds) in enumerate(asks):
        scenes, asked = prompts(count, aspect=size[1] / size[0])
        real, made = render_all(scenes, size), list[Tensor]()
        real = real if seconds else [frames[:1] for frames in real]
        for n, one in enumerate(asked):
            on_event(Event(name, number * count + n, len(asks) * count))
            if seconds:
                made.append(model.generate(one.prompt, seconds=seconds, fps=FPS, size=size, seed=n).frames)
            else:
                made.append(model.image(one.prompt, size=size, seed=n).frames)
        found = prompt_marks(judge.describe(made), judge.describe(real), asked)
        for n, one in enumerate(asked):
            cut = [cut_off(frames, one, judge.segmenter) for frames in (made[n], _cropped(real[n]), real[n])]
            found[n]["things cut off"] = ("lower", cut[0], cut[1], cut[2])
        label = f"{name}, {size[1]}x{size[0]}"
        figures += [figure_of(label, measure, found) for measure in _MEASURES]
    return write_rows(figures, out, "aspects")


def cut_off(frames: Tensor, asked: PromptCase, segmenter: Segmenter) -> float:
    """Share of the frames of the prompt's things that touch the edge; NaN if none is seen."""
    touching = seen = 0
    for thing in asked.facts["things"]:
        mask = colour_mask(frames, thing["colour"], segmenter)
        there = mask.flatten(1).any(1)
        edge = mask[:, 0].any(1) | mask[:, -1].any(1) | mask[:, :, 0].any(1) | mask[:, :, -1].any(1)
        touching, seen = touching + int(edge.sum()), seen + int(there.sum())
    return touching / seen if seen else NAN


def _cropped(frames: Tensor) -> Tensor:
    """The central square: what a model trained on squares would have seen of such a scene."""
    side = min(frames.shape[1:3])
    top, left = (frames.shape[1] - side) // 2, (frames.shape[2] - side) // 2
    return frames[:, top : top + side, left : left + side]
