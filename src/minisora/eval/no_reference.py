"""No-reference metrics of a clip; diversity of a set of clips, and distance to the training set.

They follow published definitions, but with DIS optical flow (Kroeger et al. 2016,
arXiv:1603.03590), as their names say: `dynamic_degree[dis]` is not the score of VBench, which uses
RAFT.

    flicker, motion_smoothness[dis],
    dynamic_degree[dis]                Huang et al. 2023, arXiv:2311.17982 (VBench)
    warping_error[dis]                 Liu et al. 2023, arXiv:2310.11440 (EvalCrafter)

Here: the metrics. Not here: distances between sets (frechet.py), comparison with a true clip
(metrics.py, judge/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from statistics import fmean

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.errors import UsageError
from minisora.eval.frechet import Features, clip_features
from minisora.video import Video

# Two frames (H, W, 3) uint8 -> (H, W, 2): how far each pixel of the first moves, in pixels right
# and down.
Flow = Callable[[Tensor, Tensor], Tensor]

LEAST_SIDE = 12  # smallest frame for DIS, in pixels; warping_error halves frames first
DYNAMIC_FPS = 8  # the fps at which VBench measures motion
_FASTEST_SHARE = 0.05  # of the pixels
_SHORT_SIDE, _MOVES_PIXELS = (
    256,
    6.0,
)  # a pair of frames is moving if its fastest pixels move so far, scaled to this side


def dis_flow() -> Flow:
    """OpenCV's dense inverse search (DIS), medium preset, on brightness.

    Raises UsageError if OpenCV is not installed; the returned function raises it for frames below
    LEAST_SIDE.
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
    """1 - mean absolute difference of neighbouring frames / 255: 1 for a still picture.

    Meant for static scenes.

    frames: (T, H, W, 3) uint8, as in the other metrics
    """
    _need(frames, 2)
    return 1 - fmean(float((after.float() - before).abs().mean()) for before, after in pairwise(frames)) / 255


def motion_smoothness(frames: Tensor, flow: Flow) -> float:
    """1 - mean absolute error / 255 of every second frame, interpolated from its neighbours.

    It is 1 for even motion. The interpolation is the mean of both neighbours, each warped by half
    of the flow to the other.
    """
    _need(frames, 3)
    errors = []
    for before, frame, after in zip(frames[:-2:2], frames[1:-1:2], frames[2::2], strict=True):
        halves = _warped(before, flow(after, before) / 2), _warped(after, flow(before, after) / 2)
        middle = ((halves[0] + halves[1]) / 2).round()
        errors.append((middle - frame.float()).abs().mean())
    return 1 - float(torch.stack(errors).mean()) / 255


def dynamic_degree(video: Video, flow: Flow) -> bool:
    """True if enough pairs of neighbouring frames, at DYNAMIC_FPS, move.

    The metric is the share of such clips.
    """
    frames = video.frames[:: max(1, round(video.fps / DYNAMIC_FPS))]
    _need(frames, 2)
    height, width = frames.shape[1:3]
    fastest = max(1, int(height * width * _FASTEST_SHARE))
    least = _MOVES_PIXELS * min(height, width) / _SHORT_SIDE
    moving = [
        float(flow(one, other).norm(dim=-1).flatten().topk(fastest).values.mean()) > least
        for one, other in pairwise(frames)
    ]
    return sum(moving) >= max(
        1, round(4 * len(frames) / 16)
    )  # VBench's rule rounds to 0 for two frames, which would always count as dynamic


def warping_error(frames: Tensor, flow: Flow) -> float:
    """Mean squared difference, summed over RGB in 0..1, to the next frames warped back.

    Frames are halved in size. Occluded pixels (forward and backward flow disagree) and motion
    boundaries are left out, as in Lai et al. 2018, arXiv:1808.00449.
    """
    _need(frames, 2)
    errors = []
    for one, other in pairwise(map(_halved, frames)):
        before, after = one.round().to(torch.uint8), other.round().to(torch.uint8)
        there, back = flow(before, after), flow(after, before)
        seen = ~_hidden(there, back)
        difference = (_warped(other, there) - one) / 255 * seen[..., None]
        errors.append(difference.square().sum() / (seen.sum() if seen.any() else difference.numel()))
    return float(torch.stack(errors).mean())


def _halved(frame: Tensor) -> Tensor:
    """(H, W, 3) uint8 at half the size, as float."""
    x = frame.permute(2, 0, 1)[None].float()
    return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)


def _hidden(there: Tensor, back: Tensor) -> Tensor:
    """(H, W) bool: occluded pixels of the first of two frames.

    there, back: (H, W, 2) flow from it and to it
    """
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
    """(H, W, C) picture sampled at x + flow(x), as float; borders are replicated."""
    height, width = flow.shape[:2]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return looked_up(picture.float()[None], (torch.stack([x, y], -1) + flow)[None])[0]


def looked_up(planes: Tensor, places: Tensor) -> Tensor:
    """Planes (T, H, W, C) sampled bilinearly at (T, H, W, 2) pixels; borders are replicated."""
    height, width = planes.shape[1:3]
    grid = (2 * places.nan_to_num() + 1) / torch.tensor([width, height]) - 1
    found = F.grid_sample(planes.permute(0, 3, 1, 2), grid, "bilinear", "border", align_corners=False)
    return found.permute(0, 2, 3, 1)


def _need(frames: Tensor, least: int) -> None:
    if len(frames) < least:
        raise UsageError(f"{len(frames)} frames are too few for this figure. Give a clip of {least} or more.")


def diversity(clips: Sequence[Tensor], features: Features) -> float:
    """Mean pairwise distance of features of clips of one prompt with different seeds."""
    if len(clips) < 2:
        raise UsageError("one clip has no diversity. Give 2 or more seeds of the same prompt.")
    return float(torch.pdist(clip_features(clips, features)).mean())


def distances_to_nearest(generated: Sequence[Tensor], training: Iterable[Tensor], features: Features) -> list[float]:
    """Distance from each generated clip to its nearest training clip, in features.

    Training clips are read one by one.

    A copy has a distance near 0; held-out clips in place of `generated` give the usual distance.

    Raises UsageError if clips differ in frames or size, or there is no training clip.
    """
    ours = clip_features(generated, features)
    best = ours.new_full((len(generated),), float("inf"))
    for clip in training:
        if clip.shape != generated[0].shape:
            raise UsageError(
                f"a training clip is {tuple(clip.shape)} and a generated one {tuple(generated[0].shape)}. "
                "Cut and resize it."
            )
        best = torch.minimum(best, (ours - features(clip).double().cpu()).norm(dim=1))
    if best.isinf().any():
        raise UsageError("there is no training clip to compare with. Give 1 or more.")
    distances: list[float] = best.tolist()
    return distances
