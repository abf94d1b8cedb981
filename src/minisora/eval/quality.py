"""Visual quality of a set of clips against a set of real ones, without prompts or pairs.

    no_reference.py    mean over clips. The floor is the real clips with their frames shuffled;
                       that of motion (`dynamic_degree`) is a frozen frame
    Frechet distance   to real renders of other scenes, by the judge's features or by I3D. The
                       ceiling is that of as many real renders, the floor that of their first
                       frames, frozen. Few clips bias it upwards: compare only figures of equal
                       numbers of clips

Here: rows for any source of clips. Not here: the metrics (no_reference.py), the distance
(frechet.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from minisora.errors import UsageError
from minisora.eval.frechet import Features, clip_features, frechet_distance, load_i3d, playroom_features
from minisora.eval.no_reference import dis_flow, dynamic_degree, flicker, motion_smoothness, warping_error
from minisora.eval.rows import Figure, Marks, figure_of_set, figures_of
from minisora.judge.playroom import FPS
from minisora.video import Video

MOST_CLIPS = 48  # largest number of clips for the metrics of no_reference.py


def quality_figures(
    sources: Mapping[str, Sequence[Tensor]], real: Sequence[Tensor], others: Sequence[Tensor], i3d: Path | None = None
) -> list[Figure]:
    """Rows for each source of clips, (T, H, W, 3) uint8 at FPS, all of one T.

    real:   as many real clips, of the prompts' scenes
    others: real clips of other scenes, the reference of the distances
    i3d:    TorchScript file of I3D; the distance is then FVD
    """
    assert all(len(clips) == len(real) for clips in sources.values()), {n: len(c) for n, c in sources.items()}
    return frame_figures(sources, real) + set_figures(sources, real, others, i3d)


def frame_figures(sources: Mapping[str, Iterable[Tensor]], real: Sequence[Tensor]) -> list[Figure]:
    """Metrics of no_reference.py of the first MOST_CLIPS clips, read one at a time."""
    few = slice(0, MOST_CLIPS)
    order = torch.randperm(len(real[0]), generator=torch.Generator().manual_seed(0))
    best, worst = [_plain(clip) for clip in real[few]], [_plain(clip[order]) for clip in real[few]]
    figures = list[Figure]()
    for source, clips in sources.items():
        found = [
            plain_marks(_plain(clip), floor, ceiling)
            for clip, floor, ceiling in zip(islice(clips, MOST_CLIPS), worst, best, strict=True)
        ]
        figures += figures_of(source, found)
    return figures


def set_figures(
    sources: Mapping[str, Iterable[Tensor]], real: Sequence[Tensor], others: Sequence[Tensor], i3d: Path | None = None
) -> list[Figure]:
    """Distances of whole sets, by the judge's features or by I3D; empty for sets of one clip."""
    if min(len(real), len(others)) < 2:
        return []
    features, name = (playroom_features(), "Frechet distance") if i3d is None else (load_i3d(i3d), "FVD")
    return distance_figures(sources, real, others, features, name)


def distance_figures(
    sources: Mapping[str, Iterable[Tensor]],
    real: Sequence[Tensor],
    others: Sequence[Tensor],
    features: Features,
    name: str,
) -> list[Figure]:
    """Frechet distance from each source to `others`, of two clips or more each."""
    away = partial(frechet_distance, clip_features(others, features))
    frozen = (clip[:1].expand_as(clip) for clip in real)
    floor, ceiling = away(clip_features(frozen, features)), away(clip_features(real, features))
    return [
        figure_of_set(source, name, "lower", away, clip_features(clips, features), floor=floor, ceiling=ceiling)
        for source, clips in sources.items()
    ]


def plain_marks(figures: dict[str, float], floor: dict[str, float], ceiling: dict[str, float]) -> Marks:
    marks: Marks = {}
    for name, value in figures.items():
        better = "lower" if name.startswith("warping_error") else "higher"
        marks[name] = (better, value, 0.0 if name.startswith("dynamic_degree") else floor[name], ceiling[name])
    return marks


def frame_metrics(video: Video) -> dict[str, float]:
    """All metrics of one clip, by name: the table. Raises UsageError as `dis_flow` does."""
    flow = dis_flow()
    return {
        "flicker": flicker(video.frames),
        "motion_smoothness[dis]": motion_smoothness(video.frames, flow),
        "dynamic_degree[dis]": float(dynamic_degree(video, flow)),
        "warping_error[dis]": warping_error(video.frames, flow),
    }


def _plain(frames: Tensor) -> dict[str, float]:
    try:
        return frame_metrics(Video(frames, FPS))
    except UsageError:  # OpenCV is not installed, or frames are too small for DIS
        return {"flicker": flicker(frames)}
