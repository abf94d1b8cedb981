"""The four metrics of Physics-IQ: where, when and how much a clip moves, and its pixels.

Source: Motamed et al. 2025, arXiv:2501.09038, section 3.3;
github.com/google-deepmind/physics-IQ-benchmark, binary_mask_generator.py and
calculate_and_write_metrics_to_csv.py. Their clips are larger than ours: small frames are first
enlarged to LEAST_SIDE, as the filters of 5 x 5 pixels would erase small moving things.

    motion                 blurred brightness differs by more than 10 of 255 from its running mean;
                           opened, then closed
    spatial IoU            of the pixels that move at any time: where
    spatiotemporal IoU     mean over the frames: where and when
    weighted spatial IoU   of how often each pixel moves: where and how much
    MSE                    of RGB in 0..1

Two empty masks have an IoU of 1. OpenCV is not needed; a test compares the masks with OpenCV's.

Here: functions of clips. Not here: which clips (physics.py), the benchmark's own files
(exchange.py).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

THRESHOLD, MEMORY = 10.0, 0.3  # of 255; weight of a new frame in the running mean
LEAST_SIDE = 256  # pixels
_SOFT = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16  # OpenCV's Gaussian kernel of 5 pixels
_GREY = torch.tensor([0.299, 0.587, 0.114])


def motion_masks(frames: Tensor) -> Tensor:
    """(T, H, W, 3) uint8 -> (T, H', W') bool: moving pixels, none in the first frame.

    H', W' >= LEAST_SIDE.
    """
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
    """IoU of the pixels that move at any time. one, other: (T, H, W) bool, as in the next two"""
    return float(_ious(one.any(0)[None], other.any(0)[None]).mean())


def spatiotemporal_iou(one: Tensor, other: Tensor) -> float:
    return float(_ious(one, other).mean())


def weighted_spatial_iou(one: Tensor, other: Tensor) -> float:
    often, other_often = one.float().mean(0), other.float().mean(0)
    union = torch.maximum(often, other_often).sum()
    return float(torch.minimum(often, other_often).sum() / union) if union > 0 else 1.0


def mse(one: Tensor, other: Tensor) -> float:
    """Mean squared error of RGB in 0..1. one, other: (T, H, W, 3) uint8"""
    return float((one.double() - other.double()).div(255).square().mean())


def _ious(one: Tensor, other: Tensor) -> Tensor:
    """IoU of each frame, (T,)."""
    both, either = ((one & other).flatten(1).sum(1), (one | other).flatten(1).sum(1))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)
