"""Wear: augmentation that makes real clips as soft and noisy as those of a codec or a model.

Here: `wear`. Not here: the networks trained with it (judge/, caption/train.py).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def wear(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Soften, smear in time and add noise, each by a random amount, as a codec or a model would.

    frames: (T, H, W, 3) uint8, as the result
    """
    if float(torch.rand((), generator=generator)) < 0.3:
        return frames
    blur, smear, noise, gain, light = torch.rand(5, generator=generator).tolist()
    x = frames.permute(0, 3, 1, 2).float().contiguous()
    height, width = x.shape[2:]
    for factor in (2, 4):
        soft = F.interpolate(F.avg_pool2d(x, factor), (height, width), mode="bilinear", align_corners=False)
        x = torch.lerp(x, soft, (0.9 if factor == 2 else 0.35) * blur)
    before = torch.cat([x[:1], x[:-1]])
    x = torch.lerp(x, before, 0.25 * smear)
    coarse = torch.randn(len(x), 3, height // 4, width // 4, generator=generator)
    coarse = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    x = x + 6 * noise * (coarse + 0.5 * torch.randn(x.shape, generator=generator))
    x = (x - 128) * (0.9 + 0.2 * gain) + 128 + 16 * (light - 0.5)
    worn: Tensor = x.round().clamp(0, 255).to(torch.uint8)
    return worn.permute(0, 2, 3, 1).contiguous()
