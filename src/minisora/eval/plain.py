"""Figures of any clip, with no truth beside it; and how varied clips are, and how near to the training set.

Four have the form of a published rule with another source of motion, DIS optical flow (Kroeger et al. 2016,
arXiv:1603.03590), and say so in their names: `dynamic_degree[dis]` is not the score of VBench, which uses RAFT.

    flicker, motion_smoothness[dis], dynamic_degree[dis]   Huang et al. 2023, arXiv:2311.17982 (VBench)
    warping_error[dis]                                     Liu et al. 2023, arXiv:2310.11440 (EvalCrafter)

Here: the figures. Not here: distances between sets (frechet.py), clips with a truth (metrics.py, judge/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.errors import UsageError
from minisora.eval.frechet import Features, clip_features
from minisora.video import Video

# Two frames (H, W, 3) uint8 -> (H, W, 2): how far each pixel of the first moves, in pixels right and down.
Flow = Callable[[Tensor, Tensor], Tensor]

LEAST_SIDE = 12  # pixels that DIS asks for; warping_error halves frames first
DYNAMIC_FPS = 8  # VBench looks at motion at this rate
_FASTEST_SHARE = 0.05  # of the pixels
_SHORT_SIDE, _MOVES_PIXELS = 256, 6.0  # a pair moves where its fastest pixels do so far, in a frame of this side


def plain_figures(video: Video) -> dict[str, float]:
    """All four of one clip, by names that say how they were measured. Raises UsageError as `dis_flow` does."""
    flow = dis_flow()
    return {
        "flicker": flicker(video.frames),
        "motion_smoothness[dis]": motion_smoothness(video.frames, flow),
        "dynamic_degree[dis]": float(dynamic_degree(video, flow)),
        "warping_error[dis]": warping_error(video.frames, flow),
    }


def dis_flow() -> Flow:
    """Dense inverse search of OpenCV, medium preset, on brightness.

    Raises UsageError where OpenCV is not installed; the flow, for frames smaller than LEAST_SIDE.
    """
    try:
        import cv2
    except ImportError as error:
        raise UsageError(
            "optical flow needs OpenCV, which is not installed. Install it: pip install 'minisora[eval]', or, where "
            "another opencv package is wanted, that one alone."
        ) from error
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def flow(one: Tensor, other: Tensor) -> Tensor:
        if min(one.shape[:2]) < LEAST_SIDE:
            raise UsageError(
                f"optical flow needs frames of {LEAST_SIDE} pixels a side, and these have {min(one.shape[:2])}."
            )
        pictures = [cv2.cvtColor(frame.contiguous().numpy(), cv2.COLOR_RGB2GRAY) for frame in (one, other)]
        start = np.zeros((*one.shape[:2], 2), np.float32)
        return torch.from_numpy(search.calc(pictures[0], pictures[1], start))

    return flow


def flicker(frames: Tensor) -> float:
    """1 - mean difference of neighbouring frames over 255: 1 for a picture. For clips of a still scene.

    frames: (T, H, W, 3) uint8, as in the other figures
    """
    _need(frames, 2)
    return 1 - float(frames.float().diff(dim=0).abs().mean()) / 255


def motion_smoothness(frames: Tensor, flow: Flow) -> float:
    """1 - mean difference over 255 of every second frame from what its neighbours say of it: 1 for even motion.

    A frame in the middle is the mean of both neighbours, each moved half of the way to the other.
    """
    _need(frames, 3)
    errors = []
    for before, frame, after in zip(frames[:-2:2], frames[1:-1:2], frames[2::2], strict=True):
        halves = _warped(before, flow(after, before) / 2), _warped(after, flow(before, after) / 2)
        middle = ((halves[0] + halves[1]) / 2).round()
        errors.append((middle - frame.float()).abs().mean())
    return 1 - float(torch.stack(errors).mean()) / 255


def dynamic_degree(video: Video, flow: Flow) -> bool:
    """Whether enough neighbours of frames, at DYNAMIC_FPS, move enough; the share of such clips is the figure."""
    frames = video.frames[:: max(1, round(video.fps / DYNAMIC_FPS))]
    _need(frames, 2)
    height, width = frames.shape[1:3]
    fastest = max(1, int(height * width * _FASTEST_SHARE))
    least = _MOVES_PIXELS * min(height, width) / _SHORT_SIDE
    moving = [
        float(flow(one, other).norm(dim=-1).flatten().topk(fastest).values.mean()) > least
        for one, other in pairwise(frames)
    ]
    return sum(moving) >= max(1, round(4 * len(frames) / 16))  # their rule asks for no motion at all of two frames


def warping_error(frames: Tensor, flow: Flow) -> float:
    """Mean squared difference, summed over RGB in 0..1, of frames from the next ones moved back, at half the size.

    Left out is what is hidden in one of the two, where flow there and back does not end where it began, and the edges
    of motion: Lai et al. 2018, arXiv:1808.00449.
    """
    _need(frames, 2)
    x = F.interpolate(frames.permute(0, 3, 1, 2).float(), scale_factor=0.5, mode="bilinear", align_corners=False)
    half = x.permute(0, 2, 3, 1)
    pictures = half.round().to(torch.uint8)
    errors = []
    for n in range(len(half) - 1):
        there, back = flow(pictures[n], pictures[n + 1]), flow(pictures[n + 1], pictures[n])
        seen = ~_hidden(there, back)
        difference = (_warped(half[n + 1], there) - half[n]) / 255 * seen[..., None]
        errors.append(difference.square().sum() / (seen.sum() if seen.any() else difference.numel()))
    return float(torch.stack(errors).mean())


def _hidden(there: Tensor, back: Tensor) -> Tensor:
    """(H, W) bool of the first of two frames; flows (H, W, 2) from it and to it."""
    returned = _warped(back, there)
    squares = [moves.square().sum(-1) for moves in (there + returned, returned, there)]
    lost = squares[0] > 0.01 * (squares[1] + squares[2]) + 0.5
    steep = torch.zeros(there.shape[:2])
    steep[:, :-1] += there[..., 0].diff(dim=1).square()
    steep[:-1] += there[..., 0].diff(dim=0).square()
    steep[:, :-1] += there[..., 1].diff(dim=1).square()
    steep[:-1] += there[..., 1].diff(dim=0).square()
    return lost | (steep > 0.01 * squares[2] + 0.002)


def _warped(picture: Tensor, flow: Tensor) -> Tensor:
    """(H, W, C) as seen from where each pixel moves to: what is at x + flow(x), as float; the edge goes on outside."""
    height, width = flow.shape[:2]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return looked_up(picture.float()[None], (torch.stack([x, y], -1) + flow)[None])[0]


def looked_up(planes: Tensor, places: Tensor) -> Tensor:
    """(T, H, W, C) planes at (T, H, W, 2) places in pixels, between pixels by straight lines; the edge goes on."""
    height, width = planes.shape[1:3]
    grid = (2 * places.nan_to_num() + 1) / torch.tensor([width, height]) - 1
    found = F.grid_sample(planes.permute(0, 3, 1, 2), grid, "bilinear", "border", align_corners=False)
    return found.permute(0, 2, 3, 1)


def _need(frames: Tensor, least: int) -> None:
    if len(frames) < least:
        raise UsageError(f"{len(frames)} frames are too few for this figure. Give a clip of {least} or more.")


def diversity(clips: Sequence[Tensor], features: Features) -> float:
    """Mean distance between the features of every two clips, of one prompt and many seeds; 0 where all are alike."""
    if len(clips) < 2:
        raise UsageError("one clip has no diversity. Give 2 or more seeds of the same prompt.")
    return float(torch.pdist(clip_features(clips, features)).mean())


def distances_to_nearest(made: Sequence[Tensor], training: Iterable[Tensor], features: Features) -> list[float]:
    """For each generated clip how far its features are from the nearest of a training set, read one clip at a time.

    A copy is at a distance near 0; what is usual is said by held-out clips put in place of `made`.

    Raises UsageError where clips differ in frames or size, or there is no training clip.
    """
    told = clip_features(made, features)
    best = told.new_full((len(made),), float("inf"))
    for clip in training:
        if clip.shape != made[0].shape:
            raise UsageError(
                f"a training clip is {tuple(clip.shape)} and one made {tuple(made[0].shape)}. Cut and resize it."
            )
        best = torch.minimum(best, (told - features(clip).double().cpu()).norm(dim=1))
    if best.isinf().any():
        raise UsageError("there is no training clip to compare with. Give 1 or more.")
    distances: list[float] = best.tolist()
    return distances
