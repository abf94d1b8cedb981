"""Figures of a row: how near its samples are to the toy set, and whether they show what was asked.

    frechet  Frechet distance to held-out samples, by features of the playroom's judge: appearance
             for pictures, and motion too for clips (eval/frechet.py)
    score    share of the samples in which the judge sees a thing of the colour and the shape that
             were asked for, in clips with its motion too

Each stands between a floor (pixels drawn one by one from the set's mean and deviation; descriptions
of other samples) and a ceiling (held-out samples of the set itself). Intervals are of 95 %, by
bootstrap over the samples; what another seed of the training changes comes on top.

Here: the figures. Not here: the judge, which sees no generated sample in training (judge/).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from minisora.device import has_fast_bf16
from minisora.eval.frechet import clip_features, frechet_distance, picture_features, playroom_features
from minisora.judge.network import load_judge
from minisora.judge.playroom import PlayroomJudge
from minisora.video import to_uint8
from minisora.zoo.frame.codec import decoded
from minisora.zoo.frame.entry import Ask, Budget, Models, Row
from minisora.zoo.frame.sets import COLOUR, FIELDS, HELD_OUT, MOTION, SHAPE, Toy, opened

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Figures of a row, or of a bound of a set.

    evaluations: of the stages' models for one sample; seconds: of one sample, on this machine
    """

    frechet: float
    frechet_interval: Interval
    score: float
    score_interval: Interval
    evaluations: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """Samples of a row as frames (N, T, H, W, 3) uint8, what was asked for, and what they took."""

    frames: Tensor
    labels: Tensor
    evaluations: float
    seconds: float


def sampled(row: Row, models: Models, *, seed: int, budget: Budget) -> Sampled:
    count, labels = _asked(row.toy, budget)
    ask = Ask(labels, torch.Generator().manual_seed(seed))
    began, evaluated = time.perf_counter(), _Evaluations([models[stage.name] for stage in row.stages])
    with evaluated, torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=_is_fast()):
        samples = row.sample(models, ask).float()
    seconds = (time.perf_counter() - began) / count
    assert samples.shape == (count, *row.toy.shape), (row.name, samples.shape)
    frames = frames_of(row.toy, samples)
    return Sampled(frames=frames, labels=labels, evaluations=evaluated.samples / count, seconds=seconds)


def measured(row: Row, models: Models, *, seed: int, budget: Budget) -> tuple[Figures, Tensor]:
    """Figures of a row, and its samples as frames (N, T, H, W, 3) uint8."""
    samples = sampled(row, models, seed=seed, budget=budget)
    figures = _figures(samples.frames, samples.labels, row.toy)
    return replace(figures, evaluations=samples.evaluations, seconds=samples.seconds), samples.frames


@cache
def bounds(toy: Toy, budget: Budget) -> tuple[Figures, Figures]:
    """Floor and ceiling of a set, with as many samples as a row of it has."""
    count, labels = _asked(toy, budget)
    real = _real(toy)
    ceiling = _figures(real[:count], labels, toy)
    x = real.float()
    noise = torch.randn(count, *real.shape[1:], generator=torch.Generator().manual_seed(0))
    pixels = (x.mean(0) + x.std(0) * noise).round().clamp(0, 255).to(torch.uint8)
    score, interval = _share(scores(real[:count], labels.roll(1, 0), _asked_fields(toy)))
    return replace(_figures(pixels, labels, toy), score=score, score_interval=interval), ceiling


def frames_of(toy: Toy, samples: Tensor) -> Tensor:
    """Samples of a row (N, *toy.shape) as frames (N, T, H, W, 3) uint8."""
    pixels = to_uint8(decoded(samples) if toy.latents else samples)
    return pixels if toy.is_video else pixels[:, None]


def scores(frames: Tensor, labels: Tensor, fields: Iterable[int]) -> Tensor:
    """True for each clip in which the judge sees a thing that has all `fields`: (N,) bool."""
    names = [(number, list(FIELDS)[number]) for number in fields]
    found = _judge().describe(list(frames))
    wanted = [{name: FIELDS[name][int(row[number])] for number, name in names} for row in labels]
    return torch.tensor(
        [
            any(all(getattr(thing, name) == word for name, word in asked.items()) for thing in seen.things)
            for seen, asked in zip(found, wanted, strict=True)
        ]
    )


def _figures(frames: Tensor, labels: Tensor, toy: Toy) -> Figures:
    features, reference = _features(toy)(frames), _reference(toy)
    rows = _resamples(len(frames), 50)
    distance = frechet_distance(features, reference)
    spread = 2 * float(np.std([frechet_distance(features[chosen], reference) for chosen in rows]))
    score, interval = _share(scores(frames, labels, _asked_fields(toy)))
    return Figures(
        frechet=distance,
        frechet_interval=(distance - spread, distance + spread),  # resamples lie further off: their spread counts
        score=score,
        score_interval=interval,
    )


def _share(right: Tensor) -> tuple[float, Interval]:
    """Share of what is True, with its interval."""
    low, high = np.percentile(
        [float(right[chosen].float().mean()) for chosen in _resamples(len(right), 200)], [2.5, 97.5]
    )
    return float(right.float().mean()), (float(low), float(high))


def _resamples(count: int, times: int) -> list[Tensor]:
    rng = np.random.default_rng(0)
    return [torch.from_numpy(rng.integers(count, size=count)) for _ in range(times)]


def _asked_fields(toy: Toy) -> tuple[int, ...]:
    return (COLOUR, SHAPE, MOTION) if toy.is_video else (COLOUR, SHAPE)


def _asked(toy: Toy, budget: Budget) -> tuple[int, Tensor]:
    """Labels of the first held-out samples: what a row is asked for."""
    count = budget.clips if toy.is_video else budget.samples
    return count, torch.from_numpy(opened(toy.of_pixels, "held_out")[1][:count])


def _real(toy: Toy) -> Tensor:
    """All held-out samples as rendered frames (N, T, H, W, 3) uint8."""
    frames = torch.from_numpy(np.array(opened(toy.of_pixels, "held_out")[0]))
    return frames if toy.is_video else frames[:, None]


@cache
def _reference(toy: Toy) -> Tensor:
    """Features of the second half of the held-out samples; rows are asked for the first."""
    return _features(toy)(_real(toy)[HELD_OUT // 2 :])


def _features(toy: Toy) -> Callable[[Tensor], Tensor]:
    if not toy.is_video:
        return lambda frames: picture_features(frames[:, 0], _judge().segmenter)
    features = playroom_features(_judge().segmenter)
    return lambda frames: clip_features(frames, features)


@cache
def _judge() -> PlayroomJudge:
    return load_judge(PlayroomJudge)


def _is_fast() -> bool:
    return has_fast_bf16(torch.device("cpu"))


class _Evaluations:
    """Counts samples that models are called for: one call with a batch of B counts B."""

    def __init__(self, models: list[nn.Module]) -> None:
        self.models, self.samples = models, 0

    def __enter__(self) -> None:
        self.held = ExitStack()
        for model in self.models:
            handle = model.register_forward_hook(self._count)
            self.held.callback(handle.remove)

    def __exit__(self, *_: object) -> None:
        self.held.close()

    def _count(self, model: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        self.samples += len(inputs[0])
