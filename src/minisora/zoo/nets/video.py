"""What the papers on video share: factorised attention, positions of tokens.

Each attention here is put in the place of `Attention`: tokens are (B, L, D), by frame, row and
column, and each frame has L / frames of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minisora.zoo.nets.attention import Attention, attend
from minisora.zoo.nets.embed import sinusoids
from minisora.zoo.nets.transformer import positions


class SpatialAttention(Attention):
    """Each token sees its own frame."""

    def __init__(self, width: int, heads: int, frames: int) -> None:
        super().__init__(width, width, width // heads, zero=False)
        self.frames = frames

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x.unflatten(1, (self.frames, -1)).flatten(0, 1)
        return super().forward(x, x, mask).unflatten(0, (-1, self.frames)).flatten(1, 2)


class TemporalAttention(Attention):
    """Each token sees its own place in all frames."""

    def __init__(self, width: int, heads: int, frames: int) -> None:
        super().__init__(width, width, width // heads, zero=False)
        self.frames = frames

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        places = x.shape[1] // self.frames
        x = x.unflatten(1, (self.frames, places)).transpose(1, 2).flatten(0, 1)
        return super().forward(x, x, mask).unflatten(0, (-1, places)).transpose(1, 2).flatten(1, 2)


class SplitAttention(Attention):
    """Half of the heads see their own frame, the others their own place in all frames."""

    def __init__(self, width: int, heads: int, frames: int) -> None:
        super().__init__(width, width, width // heads, zero=False)
        self.frames = frames

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        every = [self.q(x), *self.kv(x).chunk(2, -1)]
        q, k, v = (each.unflatten(1, (self.frames, -1)).unflatten(-1, (self.heads, -1)) for each in every)
        (q_s, q_t), (k_s, k_t), (v_s, v_t) = (each.chunk(2, 3) for each in (q, k, v))  # (B, T, S, N/2, D/N)
        space = attend(*(each.transpose(2, 3) for each in (q_s, k_s, v_s))).transpose(2, 3)
        time = attend(*(each.permute(0, 2, 3, 1, 4) for each in (q_t, k_t, v_t))).permute(0, 3, 1, 2, 4)
        attended: Tensor = self.out(torch.cat([space, time], 3).flatten(3).flatten(1, 2))
        return attended


def clip_positions(frames: int, rows: int, columns: int, width: int) -> Tensor:
    """Sinusoids of the place in a frame plus those of the frame: (frames rows columns, width)."""
    space, time = positions(rows, columns, width), sinusoids(torch.arange(frames), width)
    return (space + time[:, None]).flatten(0, 1)
