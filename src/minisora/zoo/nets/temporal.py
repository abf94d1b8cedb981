"""Layers over time, for networks of pictures that become networks of clips.

Frames are folded into the batch, (B T, ...), so that the picture's layers see pictures; the layers
here unfold them, look along time at each place, and fold them again (Ho et al. 2022,
arXiv:2204.03458, section 3; Blattmann et al. 2023, arXiv:2304.08818, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.zoo.nets.attention import Attention
from minisora.zoo.nets.embed import sinusoids, zeroed
from minisora.zoo.nets.norm import GroupNorm
from minisora.zoo.nets.unet import GROUPS, Level, UNet


class TimeAttention(nn.Module):
    """Self-attention along time at each place: (B T, L, D) -> (B T, L, D)."""

    def __init__(self, width: int, head_width: int, *, zero: bool = True) -> None:
        super().__init__()
        self.width, self.attention = width, Attention(width, width, head_width, zero=zero)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        along = rearrange(x, "(b t) l d -> (b l) t d", t=frames)
        along = along + sinusoids(torch.arange(frames, device=x.device), self.width)
        return rearrange(self.attention(along, along), "(b l) t d -> (b t) l d", b=len(x) // frames)


class TimeConv(nn.Module):
    """Convolution along time with a kernel of three frames, zero at first. Shapes as above."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = zeroed(nn.Linear(3 * width, width))

    def forward(self, x: Tensor, frames: int) -> Tensor:
        padded = F.pad(x.unflatten(0, (-1, frames)), (0, 0, 0, 0, 1, 1))
        mixed: Tensor = self.linear(torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], -1))
        return mixed.flatten(0, 1)


class Inflated(nn.Module):
    """A level of the U-Net, then a layer over time: h (B T, C, H, W), one embedding per clip."""

    def __init__(self, level: Level, over_time: Callable[[int], nn.Module]) -> None:
        super().__init__()
        width = level.block.norm2.num_channels
        self.level, self.norm, self.over_time = level, GroupNorm(GROUPS, width), over_time(width)

    def forward(self, h: Tensor, embedding: Tensor, context: Tensor | None) -> Tensor:
        frames = len(h) // len(embedding)
        h = self.level(h, embedding.repeat_interleave(frames, 0), context)
        x = self.norm(h).flatten(2).mT
        return h + self.over_time(x, frames).mT.unflatten(2, h.shape[2:])


def inflated(unet: UNet, over_time: Callable[[int], nn.Module]) -> UNet:
    """The U-Net with a layer over time after each of its levels; over_time: width -> the layer."""
    for blocks in (unet.down, unet.middle, unet.up):
        for n, block in enumerate(blocks):
            if isinstance(block, Level):
                blocks[n] = Inflated(block, over_time)
    return unet
