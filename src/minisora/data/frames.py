"""Batches of frames for the VAE: each sample is drawn by (seed, step, place in the batch).

Sources are the worlds and footage; each is a function of a seed and a size, so a step's batch is
always the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Source = Callable[[int, int, int, int], Tensor]  # seed, frames, height, width -> (T, H, W, 3) uint8


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """frames: (B, T, H, W, 3) uint8"""

    frames: Tensor
    flops: float

    @property
    def tokens(self) -> int:
        return self.frames[..., 0].numel()

    def to(self, device: torch.device) -> FrameBatch:
        return FrameBatch(self.frames.to(device), self.flops)


@dataclass(frozen=True, kw_only=True)
class FrameBatches:
    """step -> batch of crops, some cut from larger renderings, so that edges differ in scale."""

    sources: Mapping[str, tuple[float, Source]]  # name -> weight, source
    batch_size: int
    num_frames: int
    side: int  # of the square crop, in pixels
    scales: tuple[float, ...] = (1.0, 1.5, 2.0)  # side of the rendering, over the side of the crop
    flops_per_pixel: float = 0.0
    seeds: range = range(2**31)  # of the sources
    seed: int = 0

    def __call__(self, step: int) -> FrameBatch:
        frames = torch.stack([self._sample(step, place) for place in range(self.batch_size)])
        return FrameBatch(frames, self.flops_per_pixel * frames[..., 0].numel())

    def _sample(self, step: int, place: int) -> Tensor:
        rng = random.Random(f"{self.seed}/{step}/{place}")
        weights = [weight for weight, _ in self.sources.values()]
        _, source = rng.choices(list(self.sources.values()), weights)[0]
        size = round(self.side * rng.choice(self.scales) / 8) * 8
        frames = source(self.seeds[rng.randrange(len(self.seeds))], self.num_frames, size, size)
        top, left = (rng.randint(0, size - self.side) for _ in range(2))
        return frames[:, top : top + self.side, left : left + self.side]
