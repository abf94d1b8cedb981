"""A small convolutional autoencoder of pictures: f = 4, residual blocks at two resolutions.

After the VQGAN of Esser, Rombach and Ommer 2020 (arXiv:2012.09841), without its attention.

Here: encoder and decoder. Not here: what bounds the latents between them (latent_diffusion.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.zoo.nets.norm import GroupNorm
from minisora.zoo.nets.unet import GROUPS

WIDTH = 32


def encoder(out: int) -> nn.Module:
    """(B, 3, H, W) -> (B, out, H/4, W/4)."""
    return _fast(
        nn.Conv2d(3, WIDTH, 4, stride=2, padding=1),
        Block(WIDTH, WIDTH),
        nn.Conv2d(WIDTH, 2 * WIDTH, 4, stride=2, padding=1),
        Block(2 * WIDTH, 2 * WIDTH),
        GroupNorm(GROUPS, 2 * WIDTH),
        nn.Conv2d(2 * WIDTH, out, 1),
    )


def decoder(channels: int) -> nn.Module:
    """(B, channels, H/4, W/4) -> (B, 3, H, W)."""
    return _fast(
        nn.Conv2d(channels, 2 * WIDTH, 3, padding=1),
        Block(2 * WIDTH, 2 * WIDTH),
        Block(2 * WIDTH, 2 * WIDTH),
        nn.Upsample(scale_factor=2.0),
        Block(2 * WIDTH, WIDTH),
        Block(WIDTH, WIDTH),
        nn.Conv2d(WIDTH, 12, 3, padding=1),
        nn.PixelShuffle(2),
    )


class Block(nn.Module):
    """x + conv(norm(conv(norm(x))))"""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = GroupNorm(GROUPS, width), nn.Conv2d(width, out, 3, padding=1)
        self.norm2, self.conv2 = GroupNorm(GROUPS, out), nn.Conv2d(out, out, 3, padding=1)
        self.skip = nn.Identity() if width == out else nn.Conv2d(width, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        skipped: Tensor = self.skip(x) + h
        return skipped


def _fast(*layers: nn.Module) -> nn.Module:
    network = nn.Sequential(*layers)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
