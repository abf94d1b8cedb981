"""The four measures of Physics-IQ: where, when and how much a clip moves, and how it looks, against the real one.

Source: Motamed et al. 2025, arXiv:2501.09038, section 3.3; github.com/google-deepmind/physics-IQ-benchmark,
binary_mask_generator.py and calculate_and_write_metrics_to_csv.py. Their clips are larger than ours: frames are first
enlarged to LEAST_SIDE, as their filters of 5 x 5 pixels would wipe out what moves in a small one.

    motion           brightness, softened, differs by more than 10 of 255 from its running mean; opened, then closed
    spatial IoU            of all pixels that move at any time: where
    spatiotemporal IoU     the mean of the frames' own: where and when
    weighted spatial IoU   of how often each pixel moves: where and how much
    MSE                    of RGB in 0..1: how

Two empty masks agree wholly. OpenCV is not needed; a test holds the masks against it.

Here: functions of clips. Not here: which clips (physics.py), the benchmark's own files (exchange.py).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

THRESHOLD, MEMORY = 10.0, 0.3  # of 255; the share of a new frame in the running mean
LEAST_SIDE = 256  # pixels
_SOFT = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16  # OpenCV's own of 5 pixels
_GREY = torch.tensor([0.299, 0.587, 0.114])


def motion_masks(frames: Tensor) -> Tensor:
    """(T, H, W, 3) uint8 -> (T, H', W') bool: what moves; nothing in the first frame. H', W' at least LEAST_SIDE."""
    grey = (frames.float() @ _GREY)[:, None]
    factor = max(1.0, LEAST_SIDE / min(frames.shape[1:3]))
    if factor > 1:
        grey = F.interpolate(grey, scale_factor=factor, mode="bilinear", align_corners=False)
    padded = F.pad(grey.round(), (2, 2, 2, 2), mode="reflect")
    soft = F.conv2d(F.conv2d(padded, _SOFT.view(1, 1, 1, 5)), _SOFT.view(1, 1, 5, 1)).round()
    mean, masks = soft[0], [torch.zeros_like(soft[0])]
    for frame in soft[1:]:
        mean = torch.lerp(mean, frame, MEMORY)
        masks.append(((frame - mean.round()).abs() > THRESHOLD).float())
    opened = _grown(_shrunk(torch.stack(masks)))
    return _shrunk(_grown(opened))[:, 0] > 0


def _grown(masks: Tensor) -> Tensor:
    return F.max_pool2d(F.max_pool2d(masks, (5, 1), 1, (2, 0)), (1, 5), 1, (0, 2))


def _shrunk(masks: Tensor) -> Tensor:
    return -_grown(-masks)


def spatial_iou(one: Tensor, other: Tensor) -> float:
    """Masks (T, H, W) bool each, as in the other two."""
    return float(_ious(one.any(0)[None], other.any(0)[None]).mean())


def spatiotemporal_iou(one: Tensor, other: Tensor) -> float:
    return float(_ious(one, other).mean())


def weighted_spatial_iou(one: Tensor, other: Tensor) -> float:
    often, other_often = one.float().mean(0), other.float().mean(0)
    union = torch.maximum(often, other_often).sum()
    return float(torch.minimum(often, other_often).sum() / union) if union > 0 else 1.0


def mse(one: Tensor, other: Tensor) -> float:
    """Clips (T, H, W, 3) uint8."""
    return float((one.double() - other.double()).div(255).square().mean())


def _ious(one: Tensor, other: Tensor) -> Tensor:
    """(T,)"""
    both, either = ((one & other).flatten(1).sum(1), (one | other).flatten(1).sum(1))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)
