"""The Frechet distance between two sets of clips, by features of any network.

    d = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))        means m and covariances S of the features

Source: Dowson and Landau 1982; Heusel et al. 2017, arXiv:1706.08500; for videos Unterthiner et al.
2018, arXiv:1812.01717, with I3D. Only with I3D is it FVD; with our own features its numbers are on
a scale of their own.

Two distances are comparable only with equal numbers of clips (few clips bias it upwards, strongly
below the number of features), equal numbers of frames, equal fps and size, and the same features.

Here: the distance, and two sources of features. Not here: distances between single clips
(no_reference.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.errors import UsageError, WeightsError
from minisora.judge.network import load_judge
from minisora.judge.playroom import PlayroomJudge
from minisora.judge.segment import Segmenter, fitted
from minisora.judge.tracks import FIELD, Tracks, measure
from minisora.video import to_float

Features = Callable[[Tensor], Tensor]  # (T, H, W, 3) uint8 -> (D,)

_OWN = 11  # features of a track that describe the thing itself: seen, x, y, side, box, steps
_CHANGE, _MOVES = (
    12.0,
    2.0,
)  # scales that give change and motion the variance of appearance, over real renders of the playroom
I3D_SIDE = 224  # pixels
I3D_FRAMES = 10  # fewest frames that its pooling allows


def clip_features(clips: Iterable[Tensor], features: Features) -> Tensor:
    """Features of clips (T, H, W, 3) uint8, all of one T -> (N, D) float64."""
    rows, length = [], 0
    for clip in clips:
        length = length or len(clip)
        if len(clip) != length:
            raise UsageError(f"clips of {length} and of {len(clip)} frames cannot be compared. Cut all to one length.")
        rows.append(features(clip).double().cpu())
    if not rows:
        raise UsageError("there are no clips to compare. Give 2 or more.")
    return torch.stack(rows)


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """Distance between normal distributions fitted to two sets of features, (N, D) and (M, D).

    Covariances are over N - 1. With P = S1^(1/2), S1 S2 and P S2 P have the same eigenvalues, and
    the second is symmetric: the trace of the root is the sum of the roots of its eigenvalues, which
    are real and not below 0.
    """
    if one.shape[1:] != other.shape[1:] or min(len(one), len(other)) < 2:
        raise UsageError(
            f"features of {tuple(one.shape)} and {tuple(other.shape)} have no distance: give 2 or more clips in each "
            "set, as one alone has no covariance, and the same features of both."
        )
    (mean, cov), (other_mean, other_cov) = _moments(one), _moments(other)
    values, vectors = torch.linalg.eigh(cov)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.mT
    shared = torch.linalg.eigvalsh(root @ other_cov @ root).clamp(min=0).sqrt().sum()
    apart = (mean - other_mean).square().sum() + cov.trace() + other_cov.trace() - 2 * shared
    return max(0.0, float(apart))  # below 0 only by rounding, for equal sets


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    x = features.double()
    mean = x.mean(0)
    return mean, (x - mean).mT @ (x - mean) / (len(x) - 1)


def playroom_features(segmenter: Segmenter | None = None) -> Features:
    """Features (D = 128) of a clip at 8 fps by the judge's segmenter, trained on real renders only.

    Its coarse layers, 32 channels: mean, spread over the frame, and change between frames, each
    over the whole clip. Tracks up to the first cut: motion of the background, and motion of the
    things with its direction.

    They are sensitive to time: 12 real clips have distance 17 to themselves with frames shuffled, 6
    frozen, 1.6 at half speed, 1.1 blurred by 4 pixels, 1.0 reversed.

    Raises WeightsError if the judge's weights are missing.
    """
    network = load_judge(PlayroomJudge).segmenter if segmenter is None else segmenter

    @torch.inference_mode()
    def features(frames: Tensor) -> Tensor:
        if len(frames) < 2:
            raise UsageError("one frame does not move. Give clips of 2 or more.")
        cells = torch.cat([_cells(part, network) for part in frames.split(32)])
        looks = [cells.mean((0, 2, 3)), cells.std((2, 3)).mean(0), _CHANGE * cells.diff(dim=0).abs().mean((0, 2, 3))]
        return torch.cat([*looks, _MOVES * _moves(measure(frames, network))])

    return features


@torch.inference_mode()
def picture_features(pictures: Tensor, segmenter: Segmenter) -> Tensor:
    """Features (N, 64) of pictures (N, H, W, 3) uint8, float64: the appearance part of
    `playroom_features`.
    """
    cells = torch.cat([_cells(part, segmenter) for part in pictures.split(32)])
    return torch.cat([cells.mean((2, 3)), cells.std((2, 3))], 1).double()


def _cells(frames: Tensor, network: Segmenter) -> Tensor:
    """The segmenter's coarse layers, concatenated: (T, H, W, 3) uint8 -> (T, 32, rows, columns)."""
    x = to_float(fitted(frames)).permute(0, 3, 1, 2)
    coarse = network.coarse(network.enter(x))
    cells: Tensor = network.join(coarse + F.interpolate(network.coarser(coarse), scale_factor=2.0))
    return cells


def _moves(tracks: Tracks) -> Tensor:
    """(32,): mean and spread of the background's motion, the sky, mean motion of the things."""
    field, sky = tracks.clip[:, :FIELD], tracks.clip[:, -1:]
    things = tracks.things[..., :_OWN].flatten(0, 1)  # (n * T, 11)
    if not len(things):
        things = torch.zeros(1, _OWN)
    count = torch.tensor([(len(tracks.colours) + tracks.doubles) / 4])
    return torch.cat(
        [field.mean(0), field.std(0, correction=0), sky.mean(0), things.mean(0), things[:, -3:].abs().mean(0), count]
    )


def load_i3d(path: Path, device: str = "cpu") -> Features:
    """StyleGAN-V's I3D of Kinetics-400 in TorchScript, i3d_torchscript.pt: 400 logits per clip.

    Skorokhodov et al. 2021, arXiv:2112.14683. With these features `frechet_distance` is FVD: 8
    clips of 30 black frames of 64 x 64 against 8 white ones give 151.26
    (github.com/JunyaoHu/common_metrics_on_video_quality).

    Raises WeightsError if the file cannot be loaded; the features raise UsageError for clips that
    are too short.
    """
    try:
        network = torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError, OSError) as error:
        raise WeightsError(f"{path} is no TorchScript file of I3D. Give the file i3d_torchscript.pt.") from error

    @torch.inference_mode()
    def features(frames: Tensor) -> Tensor:
        if len(frames) < I3D_FRAMES:
            raise UsageError(f"I3D reads clips of {I3D_FRAMES} frames or more, and one has {len(frames)}.")
        logits = network(x=i3d_input(frames)[None].to(device), rescale=False, resize=False, return_features=True)
        first: Tensor = logits[0].float()
        return first

    return features


def i3d_input(frames: Tensor) -> Tensor:
    """Scale the smaller side, crop the centre: (T, H, W, 3) uint8 -> (3, T, I3D_SIDE, I3D_SIDE).

    The result is in -1..1.
    """
    x = frames.permute(3, 0, 1, 2).float() / 255
    height, width = x.shape[2:]
    scale = I3D_SIDE / min(height, width)
    size = (I3D_SIDE, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), I3D_SIDE)
    x = F.interpolate(x, size, mode="bilinear", align_corners=False)
    top, left = ((side - I3D_SIDE) // 2 for side in size)
    return 2 * x[:, :, top : top + I3D_SIDE, left : left + I3D_SIDE] - 1
