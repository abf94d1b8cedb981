"""Pixel metrics: PSNR and SSIM of two clips, and the motion energy of one.

SSIM source: Wang, Bovik, Sheikh and Simoncelli 2004, "Image quality assessment", with their
Gaussian window (standard deviation 1.5, 11 pixels) and constants; the mean over channels and over
all positions where the window fits entirely.

Here: metrics of pixels. Not here: the content of a clip (judge/).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_WINDOW, _DEVIATION = 11, 1.5  # pixels
_PEAK = 255.0
_STEADY = ((0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2)


def psnr(one: Tensor, other: Tensor) -> float:
    """PSNR of two clips (T, H, W, 3) uint8, in dB, averaged over frames.

    An identical frame counts as 100 dB.
    """
    assert one.shape == other.shape and one.dtype == other.dtype == torch.uint8, (one.shape, other.shape)
    error = (one.double() - other.double()).square().mean((1, 2, 3))
    return float((10 * torch.log10(_PEAK**2 / error)).clamp(max=100.0).mean())


def ssim(one: Tensor, other: Tensor) -> float:
    """SSIM of two clips (T, H, W, 3) uint8 of at least 11 x 11 pixels, averaged over frames."""
    assert one.shape == other.shape and one.dtype == other.dtype == torch.uint8, (one.shape, other.shape)
    assert min(one.shape[1:3]) >= _WINDOW, one.shape
    line = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    window = torch.exp(-line.square() / (2 * _DEVIATION**2))
    window = window / window.sum()

    def blurred(planes: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(planes, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1))

    total = 0.0
    for a, b in zip(one, other, strict=True):
        x, y = (frame.double().permute(2, 0, 1)[:, None] for frame in (a, b))
        mean_x, mean_y = blurred(x), blurred(y)
        var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
        shared = blurred(x * y) - mean_x * mean_y
        c1, c2 = _STEADY
        alike = (2 * mean_x * mean_y + c1) * (2 * shared + c2)
        total += float((alike / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())
    return total / len(one)


def motion_energy(frames: Tensor) -> float:
    """Mean absolute difference of neighbouring frames, in 0..255; 0 for one frame.

    frames: (T, H, W, 3) uint8
    """
    if len(frames) < 2:
        return 0.0
    return float((frames[1:].float() - frames[:-1].float()).abs().mean())
