"""The U-Net of the diffusion papers: residual blocks at falling resolution, skip connections.

Ho et al. 2020 (arXiv:2006.11239, appendix B) took it from PixelCNN++; Nichol and Dhariwal 2021
(arXiv:2102.09672) made the time the scale and shift of a norm, which `adm` switches on; Dhariwal
and Nichol 2021 (arXiv:2105.05233, section 3) put attention at several resolutions. Rombach et al.
2021 (arXiv:2112.10752, section 3.3) added cross-attention to `context`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.zoo.nets.attention import Attention
from minisora.zoo.nets.embed import zeroed
from minisora.zoo.nets.norm import GroupNorm

GROUPS = 8


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Shape of a U-Net.

    widths:    channels at each resolution, which halves from one to the next
    attention: resolutions, by index, with self-attention, and cross-attention if there is a context
    context:   width of the tokens that cross-attention reads; 0: none
    """

    in_channels: int = 3
    out_channels: int = 3
    widths: tuple[int, ...] = (32, 64, 96)
    blocks: int = 2
    attention: tuple[int, ...] = (2,)
    head_width: int = 32
    embedding: int = 128
    context: int = 0
    adm: bool = True


class UNet(nn.Module):
    """Images and an embedding to images: (B, H, W, in), (B, embedding) -> (B, H, W, out)."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        first = config.widths[0]
        self.enter = nn.Conv2d(config.in_channels, first, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, width = [first], first
        for level, out in enumerate(config.widths):
            for _ in range(config.blocks):
                self.down.append(Level(config, width, out, attends=level in config.attention))
                width = out
                skips.append(width)
            if level + 1 < len(config.widths):
                self.down.append(Resample(config, width, up=False))
                skips.append(width)
        self.middle = nn.ModuleList([Level(config, width, width, attends=True), Level(config, width, width)])
        for level, out in reversed(list(enumerate(config.widths))):
            for _ in range(config.blocks + 1):
                self.up.append(Level(config, width + skips.pop(), out, attends=level in config.attention))
                width = out
            if level:
                self.up.append(Resample(config, width, up=True))
        self.leave = nn.Sequential(
            GroupNorm(GROUPS, width), nn.SiLU(), zeroed(nn.Conv2d(width, config.out_channels, 3, padding=1))
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor | None = None) -> Tensor:
        h = self.enter(x.permute(0, 3, 1, 2))
        skips = [h]
        for block in self.down:
            h = block(h, embedding, context)
            skips.append(h)
        for block in self.middle:
            h = block(h, embedding, context)
        for block in self.up:
            h = block(h if isinstance(block, Resample) else torch.cat([h, skips.pop()], 1), embedding, context)
        return self.leave(h).permute(0, 2, 3, 1)


class Level(nn.Module):
    """A residual block, then attention where the resolution has it."""

    def __init__(self, config: UNetConfig, width: int, out: int, *, attends: bool = False) -> None:
        super().__init__()
        self.block = ResBlock(config, width, out)
        self.attention = Attention2d(config, out) if attends else None

    def forward(self, h: Tensor, embedding: Tensor, context: Tensor | None) -> Tensor:
        h = self.block(h, embedding)
        return h if self.attention is None else self.attention(h, context)


class ResBlock(nn.Module):
    """x + conv(norm(conv(norm(x)) with the embedding)); adaptive group norm if `adm`."""

    def __init__(self, config: UNetConfig, width: int, out: int) -> None:
        super().__init__()
        self.adm = config.adm
        self.norm1, self.conv1 = GroupNorm(GROUPS, width), nn.Conv2d(width, out, 3, padding=1)
        self.embed = nn.Linear(config.embedding, 2 * out if self.adm else out)
        self.norm2, self.conv2 = GroupNorm(GROUPS, out), zeroed(nn.Conv2d(out, out, 3, padding=1))
        self.skip = nn.Identity() if width == out else nn.Conv2d(width, out, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        told = self.embed(F.silu(embedding))[..., None, None]
        if self.adm:  # AdaGN(h, y) = y_s GroupNorm(h) + y_b, Dhariwal and Nichol, section 3.1
            scale, shift = told.chunk(2, 1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + told)
        return self.skip(x) + self.conv2(F.silu(h))


class Resample(nn.Module):
    """Halve by a strided convolution, or double by the nearest pixel and a convolution."""

    def __init__(self, config: UNetConfig, width: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(width, width, 3, stride=1 if up else 2, padding=1)

    def forward(self, h: Tensor, embedding: Tensor, context: Tensor | None) -> Tensor:
        resampled: Tensor = self.conv(F.interpolate(h, scale_factor=2.0) if self.up else h)
        return resampled


class Attention2d(nn.Module):
    """Self-attention over the pixels, then cross-attention to the context if there is one."""

    def __init__(self, config: UNetConfig, width: int) -> None:
        super().__init__()
        self.norm = GroupNorm(GROUPS, width)
        self.own = Attention(width, width, config.head_width)
        self.cross = Attention(width, config.context, config.head_width) if config.context else None

    def forward(self, h: Tensor, context: Tensor | None) -> Tensor:
        rows, columns = h.shape[2:]
        x = self.norm(h).flatten(2).mT  # (B, H W, C)
        y = self.own(x, x)
        if self.cross is not None:
            assert context is not None
            y = y + self.cross(x + y, context)
        return h + y.mT.unflatten(2, (rows, columns))
