"""The upscaler: decoded frames, with neighbours in time, to frames four times as wide and high.

All convolutions run at half the small size: decoded frames have little detail in single pixels, and
a wide receptive field costs less there. The channels of the last layer are the pixels of a block
(sub-pixel convolution), added to the bicubic enlargement. Each frame is seen with the frames before
and after it, to distinguish flicker of the decoder from motion.

Sources: sub-pixel convolution, Shi et al. 2016 (arXiv:1609.05158, section 3.1); residual blocks
without normalisation, Lim et al. 2017 (EDSR, arXiv:1707.02921, section 3.1).

Here: the network, and a video through it piece by piece. Not here: its files (files.py), its
training (train.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.errors import UsageError
from minisora.vae.layers import zeroed
from minisora.video import to_float, to_uint8

PIXELS_AT_ONCE = 1 << 14  # of small frames; features of more would not fit the cache


@dataclass(frozen=True, kw_only=True)
class UpscalerConfig:
    """Shape of the upscaler: every field changes the weights."""

    width: int = 128
    blocks: int = 6
    stride: int = 2  # pixels of a small frame on a side of a cell, where the convolutions run
    neighbours: int = 2  # frames on each side of the enlarged one
    factor: int = 4

    def __post_init__(self) -> None:
        if min(self.width, self.blocks, self.stride, self.factor) < 1 or self.neighbours < 0:
            raise UsageError(f"{self} cannot be: neighbours is 0 or more, the others 1 or more.")


class Block(nn.Module):
    """Two 3x3 convolutions with a skip; starts as the identity. (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.conv2(F.relu(self.conv1(x)))
        return x + changed


class Upscaler(nn.Module):
    """Frames (B, T, H, W, 3) in -1..1 to (B, T, factor*H, factor*W, 3), about -1..1.

    Starts as bicubic enlargement.
    """

    def __init__(self, config: UpscalerConfig) -> None:
        super().__init__()
        self.config = config
        seen, given = 2 * config.neighbours + 1, (config.factor * config.stride) ** 2
        self.network = nn.Sequential(
            nn.Conv2d(3 * seen * config.stride**2, config.width, 3, padding=1),
            *(Block(config.width) for _ in range(config.blocks)),
            zeroed(nn.Conv2d(config.width, 3 * given, 3, padding=1)),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form

    def forward(self, frames: Tensor) -> Tensor:
        """Enlarge a clip; the first and last frame are repeated as neighbours beyond its ends."""
        n = self.config.neighbours
        first, last = frames[:, :1].expand(-1, n, -1, -1, -1), frames[:, -1:].expand(-1, n, -1, -1, -1)
        return self.enlarge_middle(torch.cat([first, frames, last], 1))

    def enlarge_middle(self, frames: Tensor) -> Tensor:
        """Enlarge all but the first and last n = neighbours frames.

        (B, n + T + n, H, W, 3) -> (B, T, factor*H, factor*W, 3)
        """
        n, stride, factor = self.config.neighbours, self.config.stride, self.config.factor
        time, height, width = frames.shape[1] - 2 * n, *frames.shape[2:4]
        seen = torch.cat([frames[:, k : k + time] for k in range(2 * n + 1)], -1)
        weights: Tensor = self.network[0].weight  # type: ignore[assignment]
        x = seen.flatten(0, 1).permute(0, 3, 1, 2).to(weights.dtype)
        x = F.pixel_unshuffle(F.pad(x, (0, -width % stride, 0, -height % stride), mode="replicate"), stride)
        added = F.pixel_shuffle(self.network(x.contiguous(memory_format=torch.channels_last)), stride * factor)
        added = added[:, :, : factor * height, : factor * width].float()
        # float32: bfloat16 has 8 bits, and pixels near white would lose one
        plain = bicubic(frames[:, n : n + time].flatten(0, 1).float(), factor)
        enlarged: Tensor = (plain + added.permute(0, 2, 3, 1)).unflatten(0, (-1, time))
        return enlarged

    def upscale(self, frames: Tensor) -> Tensor:
        """Enlarge a clip: (T, H, W, 3) uint8 -> (T, factor*H, factor*W, 3) uint8, on the CPU"""
        return torch.cat(list(self.stream([frames])))

    @property
    def factor(self) -> int:
        """Factor of width and of height."""
        return self.config.factor

    @torch.inference_mode()
    def stream(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """Enlarge a video in pieces of any length; memory does not grow with the length.

        The network's batches do not depend on the pieces, so neither does the result.

        pieces:  (n, H, W, 3) uint8, in order, all of one size
        returns  (m, factor*H, factor*W, 3) uint8, on the CPU
        """
        n, waiting, at_once = self.config.neighbours, torch.empty(0), 0
        for piece in pieces:
            if not at_once:  # repeat the first frame as the neighbours before it
                at_once = max(1, PIXELS_AT_ONCE // (piece.shape[1] * piece.shape[2]))
                waiting = piece[:1].expand(n, -1, -1, -1)
            waiting = torch.cat([waiting, piece])
            while len(waiting) >= n + at_once + n:
                yield self._enlarged(waiting[: n + at_once + n])
                waiting = waiting[at_once:]
        waiting = torch.cat([waiting, waiting[-1:].expand(n, *waiting.shape[1:])])
        while len(waiting) > 2 * n:
            yield self._enlarged(waiting[: n + at_once + n])
            waiting = waiting[at_once:]

    def _enlarged(self, frames: Tensor) -> Tensor:
        weights: Tensor = self.network[0].weight  # type: ignore[assignment]
        return to_uint8(self.enlarge_middle(to_float(frames[None]).to(weights.device))[0]).cpu()

    @staticmethod
    def flops_per_pixel(config: UpscalerConfig) -> float:
        """FLOPs of the convolutions for one pixel of a small frame (a multiply-add is 2)."""
        ends = 3 * (2 * config.neighbours + 1 + config.factor**2)  # channels of one pixel in and out
        return 2.0 * 9 * config.width * (2 * config.blocks * config.width / config.stride**2 + ends)

    def muon_params(self) -> list[nn.Parameter]:
        """Weights for Muon: convolutions between features, without the first and last layers."""
        return [p for block in self.network if isinstance(block, Block) for p in block.parameters() if p.ndim == 4]

    def fsdp_units(self) -> list[nn.Module]:
        """Modules that are sharded (FSDP), checkpointed and compiled one by one."""
        return [self.network]

    def compile_parts(self) -> None:
        """Compile the network; training only.

        Each size of clip compiles once. Needs a C++ compiler on a CPU.
        """
        self.network.forward = torch.compile(self.network.forward, dynamic=False)  # type: ignore[method-assign]


def bicubic(frames: Tensor, factor: int) -> Tensor:
    """Bicubic, pixel centres aligned: (N, H, W, C) -> (N, factor*H, factor*W, C), float"""
    # torch's kernel without `antialias` differs, and turns ramps into stairs
    planes = F.interpolate(frames.permute(0, 3, 1, 2), scale_factor=factor, mode="bicubic", antialias=True)
    return planes.permute(0, 2, 3, 1)
