"""The transformer's block, and the parts at its doors.

Source: Peebles and Xie 2022 (DiT, arXiv:2212.09748). Chen et al. 2023 (PixArt-alpha, arXiv:2310.00426, section 2.3)
for one time MLP shared by all blocks with a table in each. Wan (arXiv:2503.20314) for the rest: RMS norm of queries and
keys over all heads together, rotary positions in self-attention, an affine norm before cross-attention, which has no
gate.

What the time says to a token is float32 whatever the stream is: tables, shifts, scales and gates. A norm with its
modulation, and a gated sum, are worked out in float32 and rounded once to what the stream is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.dit.attention import Segments, attention
from minisora.dit.linear import into_gelu, is_watched, linear
from minisora.dit.norm import RMSNorm, rms_norm


@dataclass(frozen=True, eq=False)
class Context:
    """What a block needs of the text: its keys and values, the same at every step of sampling."""

    keys: tuple[Tensor, ...]  # one for each block, (S, N, head_width)
    values: tuple[Tensor, ...]
    lengths: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class TimeIndex:
    """Which of K distinct times each token has.

    index: (L,)
    runs:  neighbours that have one time, (first, last + 1, which); none where they are not asked for, or too many
    """

    index: Tensor
    runs: tuple[tuple[int, int, int], ...] = ()

    def rows(self, table: Tensor) -> Tensor:
        """(K, D) -> (L, D), or (1, D) where there is one time."""
        return table if len(table) == 1 else table.index_select(0, self.index)


MOST_RUNS = 16


def time_index(index: Tensor) -> TimeIndex:
    """With its runs where they are of use: in sampling on a CPU."""
    if is_watched() or index.device.type != "cpu":
        return TimeIndex(index)
    which, lengths = torch.unique_consecutive(index, return_counts=True)
    if len(which) > MOST_RUNS:
        return TimeIndex(index)
    ends = pairwise([0, *lengths.cumsum(0).tolist()])
    return TimeIndex(index, tuple((*pair, k) for pair, k in zip(ends, which.tolist(), strict=True)))


class Block(nn.Module):
    """Self-attention, attention to the text, MLP; the first and the last modulated by the token's own time."""

    def __init__(self, width: int, num_heads: int, mlp_width: int, cross_norm: bool, eps: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.eps = eps
        self.table = nn.Parameter(torch.zeros(6, width))  # shift, scale, gate of attention, then of the MLP
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = RMSNorm(width, eps)
        self.k_norm = RMSNorm(width, eps)
        self.out = nn.Linear(width, width)
        self.cross_norm = nn.LayerNorm(width, eps) if cross_norm else nn.Identity()
        self.cross_q = nn.Linear(width, width)
        self.cross_kv = nn.Linear(width, 2 * width)
        self.cross_q_norm = RMSNorm(width, eps)
        self.cross_k_norm = RMSNorm(width, eps)
        self.cross_out = nn.Linear(width, width)
        self.mlp_in = nn.Linear(width, mlp_width)
        self.mlp_out = nn.Linear(mlp_width, width)

    def text_kv(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """(S, D) -> keys and values, (S, N, head_width) each"""
        k, v = self.cross_kv(text).chunk(2, -1)
        return self._heads(self.cross_k_norm(k)), self._heads(v)

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        times: TimeIndex,
        rope: Tensor,
        clips: Segments,
        text: tuple[Tensor, Tensor],
        to_text: Segments,
    ) -> Tensor:
        """
        x:          (L, D)
        modulation: (K, 6, D) of the distinct times, no narrower than float32; the block adds its table
        times:      which of them each token has
        rope:       (L, head_width/2, 2)
        clips:      which tokens attend to which
        text:       keys, values (S, N, head_width)
        to_text:    which tokens attend to which text
        returns     (L, D)
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.table + modulation).unbind(1)

        h = modulated(x, scale1, shift1, times, self.eps)
        qk, v = linear(self.qkv, h).split((2 * x.shape[-1], x.shape[-1]), -1)
        gains = torch.stack([self.q_norm.gain, self.k_norm.gain])
        q, k = self._heads(rms_norm(qk.unflatten(-1, (2, -1)), gains, self.eps, rope)).unbind(1)
        a = attention(q, k, self._heads(v), clips).flatten(1)
        x = gated(x, linear(self.out, a), gate1, times)

        q = self._heads(self.cross_q_norm(linear(self.cross_q, self.cross_norm(x).to(x.dtype))))
        x = x + linear(self.cross_out, attention(q, text[0], text[1], to_text).flatten(1))

        h = modulated(x, scale2, shift2, times, self.eps)
        h = linear(self.mlp_out, into_gelu(self.mlp_in, h))
        return gated(x, h, gate2, times)

    def _heads(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.num_heads, -1))
        return heads


def modulated(x: Tensor, scale: Tensor, shift: Tensor, times: TimeIndex, eps: float) -> Tensor:
    """layer_norm(x) * (1 + scale) + shift, each token by its own time.

    x:            (L, D)
    scale, shift: (K, D) float32
    """
    scale = 1 + scale
    if times.runs:  # of each run the modulation is the norm's own gain and bias: one pass over it
        some = [F.layer_norm(x[a:b], x.shape[-1:], scale[k], shift[k], eps) for a, b, k in times.runs]
        return some[0] if len(some) == 1 else torch.cat(some)
    normed = F.layer_norm(x.to(scale.dtype), x.shape[-1:], eps=eps)
    return torch.addcmul(times.rows(shift), normed, times.rows(scale)).to(x.dtype)


def gated(x: Tensor, h: Tensor, gate: Tensor, times: TimeIndex) -> Tensor:
    """x + h * gate, each token by its own time. x, h: (L, D); gate: (K, D) float32"""
    return torch.addcmul(x.to(gate.dtype), h.to(gate.dtype), times.rows(gate)).to(x.dtype)


def time_features(times: Tensor, width: int, scale: float = 1000.0) -> Tensor:
    """Cosines and sines of `scale * t`. (K,) in 0..1 -> (K, width) float32.

    Vaswani et al. 2017 (arXiv:1706.03762), section 3.5, cosines first as in Wan.
    """
    half = width // 2
    rates = torch.exp(-math.log(10_000.0) * torch.arange(half, device=times.device, dtype=torch.float32) / half)
    angle = scale * times.float()[:, None] * rates
    return torch.cat([angle.cos(), angle.sin()], -1)
