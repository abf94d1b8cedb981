"""Layers of the video VAE: convolutions over space and over time, and a norm between them.

Space and time are factored: on a CPU a channels-last conv2d in bfloat16 is as fast as a matmul, a
conv3d less than half as fast. Activations are (N, C, H, W) in channels-last layout, N running over
batch and time.

Source: residual blocks as in Esser, Rombach and Ommer 2021 (arXiv:2012.09841), channel RMS norm in
place of GroupNorm as in Wan (arXiv:2503.20314, section 4.1), causal convolution over time with a
cache as in the same section.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelNorm(nn.Module):
    """RMS norm over channels. x: (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 1)  # a view: the memory layout of channels-last
        scale = torch.rsqrt(rows.float().square().mean(-1, keepdim=True) + 1e-6)
        return (rows * (scale * self.gain).to(x.dtype)).permute(0, 3, 1, 2)


class SpaceBlock(nn.Module):
    """Two 3x3 convolutions with a skip. (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = ChannelNorm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)  # a block starts as the identity
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        changed: Tensor = self.conv2(F.silu(self.norm2(h)))
        return x + changed


class TimeBlock(nn.Module):
    """Causal convolution over three time steps, with a skip: each sees itself and two before it.

    x:       (B, T, C, H, W)
    past:    (B, 2, C, H, W) cache that the call before returned; None at the start of a video
    returns  (B, T, C, H, W) and the cache for the next call
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.mix = nn.Conv2d(3 * channels, channels, 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        batch, time = x.shape[:2]
        h = unfold_time(F.silu(self.norm(fold_time(x))), batch)
        if past is None:
            past = torch.zeros_like(h[:, :1]).expand(-1, 2, -1, -1, -1)
        line = torch.cat([past, h], 1)
        three = torch.cat([line[:, :-2], line[:, 1:-1], line[:, 2:]], 2)
        mixed = self.mix(fold_time(three).contiguous(memory_format=torch.channels_last))
        return x + unfold_time(mixed, batch), line[:, time:]


class PatchConv(nn.Conv2d):
    """Convolution whose stride is the side of its kernel: a linear map of each patch.

    (N, C, H, W) -> (N, E, H/side, W/side). As a matmul, because oneDNN's bf16 convolution by large
    kernels of few channels is wrong on CPUs with AMX, by as much as its output (torch 2.13).
    """

    def __init__(self, channels: int, out: int, side: int) -> None:
        super().__init__(channels, out, side, stride=side)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        cells = x.unflatten(3, (-1, self.side)).unflatten(2, (-1, self.side))  # (N, C, rows, side, columns, side)
        patches = cells.permute(0, 2, 4, 1, 3, 5).flatten(3)  # (N, rows, columns, C * side * side)
        return F.linear(patches, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class PatchConvTranspose(nn.ConvTranspose2d):
    """The transpose of PatchConv, whose gradient is such a convolution.

    (N, E, H/side, W/side) -> (N, C, H, W)
    """

    def __init__(self, channels: int, out: int, side: int) -> None:
        super().__init__(channels, out, side, stride=side)
        self.side = side

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        patches = F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1).mT)  # (N, rows, columns, C * side * side)
        cells = patches.unflatten(3, (-1, self.side, self.side)).permute(0, 3, 1, 4, 2, 5)
        assert self.bias is not None
        out: Tensor = cells.flatten(4).flatten(2, 3) + self.bias[:, None, None]
        return out


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """Initialize a layer to zero; returns it."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has one
    return layer


def cosines(channels: int, time: int, side: int) -> tuple[Tensor, Tensor]:
    """Cosine transform of a block in colour, time, row and column, lowest frequencies only.

    Of sixteen channels brightness gets ten, two colour differences three each; with one frame,
    finer frequencies in space replace those in time. Higher frequencies are amplified, as pictures
    have less of them, so that all latents have a similar size, near 1.

    time:    frames of the block, side: its pixels
    returns  analysis and synthesis, each (channels, time, 3, side, side): a latent is the mean of
             the block's product with the analysis, the block is the sum over latents times
             synthesis; together an orthogonal projection (Ahmed, Natarajan and Rao 1974)
    """
    colours = torch.tensor([[1.0, 1, 1], [-1, 0, 1], [-1, 2, -1]])
    low = [(0, 0, 0), (0, 0, 1), (0, 1, 0)]
    bright = [*low, (0, 1, 1), (0, 0, 2), (0, 2, 0)]
    bright += [(1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0)] if time > 1 else [(0, 1, 2), (0, 2, 1), (0, 2, 2), (0, 0, 3)]
    chosen = [(0, f) for f in bright] + [(1, f) for f in low] + [(2, f) for f in low]
    analysis, synthesis = [], []
    for n in range(channels):
        colour, (ft, fy, fx) = chosen[n % len(chosen)]
        wave = [_cosine(ft, time)[:, None, None, None], colours[colour][:, None, None]]
        piece = wave[0] * wave[1] * _cosine(fy, side)[:, None] * _cosine(fx, side)
        gain = 4 * (1 + 2 * (ft + fy + fx) + 2 * (colour > 0)) if n < len(chosen) else 0.0
        analysis.append(piece * gain / piece.square().mean())
        synthesis.append(piece / max(gain, 1.0))
    return torch.stack(analysis), torch.stack(synthesis)


def _cosine(frequency: int, size: int) -> Tensor:
    return torch.cos(torch.pi * frequency * (torch.arange(size) + 0.5) / size)


def fold_time(x: Tensor) -> Tensor:
    """Merge time into the batch: (B, T, C, H, W) -> (B*T, C, H, W)"""
    return x.flatten(0, 1)


def unfold_time(x: Tensor, batch: int) -> Tensor:
    """Inverse of `fold_time`: (B*T, C, H, W) -> (B, T, C, H, W)"""
    unfolded: Tensor = x.unflatten(0, (batch, -1))
    return unfolded
