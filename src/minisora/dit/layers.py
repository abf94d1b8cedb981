"""The transformer's block, and the parts at its doors.

Source: Peebles and Xie 2022 (DiT, arXiv:2212.09748). Chen et al. 2023 (PixArt-alpha, arXiv:2310.00426, section 2.3)
for one time MLP shared by all blocks with a table in each. Wan (arXiv:2503.20314) for the rest: RMS norm of queries and
keys over all heads together, rotary positions in self-attention, an affine norm before cross-attention, which has no
gate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.dit.attention import Segments, attention
from minisora.dit.linear import into_gelu, linear
from minisora.dit.norm import RMSNorm, rms_norm


@dataclass(frozen=True, eq=False)
class Context:
    """What a block needs of the text: its keys and values, the same at every step of sampling."""

    keys: tuple[Tensor, ...]  # one for each block, (S, N, head_width)
    values: tuple[Tensor, ...]
    lengths: tuple[int, ...]


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
        time_index: Tensor,
        rope: Tensor,
        clips: Segments,
        text: tuple[Tensor, Tensor],
        to_text: Segments,
    ) -> Tensor:
        """
        x:          (L, D)
        modulation: (K, 6, D) of the distinct times; the block adds its table
        time_index: (L,)
        rope:       (L, head_width/2, 2)
        clips:      which tokens attend to which
        text:       keys, values (S, N, head_width)
        to_text:    which tokens attend to which text
        returns     (L, D)
        """
        mod = self.table + modulation.float()
        shift1, scale1, gate1, shift2, scale2, gate2 = mod.to(x.dtype).unbind(1)

        h = self._modulated(x, scale1, shift1, time_index)
        qk, v = linear(self.qkv, h).split((2 * x.shape[-1], x.shape[-1]), -1)
        gains = torch.stack([self.q_norm.gain, self.k_norm.gain])
        q, k = self._heads(rms_norm(qk.unflatten(-1, (2, -1)), gains, self.eps, rope)).unbind(1)
        a = attention(q, k, self._heads(v), clips).flatten(1)
        x = torch.addcmul(x, linear(self.out, a), gather(gate1, time_index))

        q = self._heads(self.cross_q_norm(linear(self.cross_q, self.cross_norm(x).to(x.dtype))))
        x = x + linear(self.cross_out, attention(q, text[0], text[1], to_text).flatten(1))

        h = self._modulated(x, scale2, shift2, time_index)
        h = linear(self.mlp_out, into_gelu(self.mlp_in, h))
        return torch.addcmul(x, h, gather(gate2, time_index))

    def _heads(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.num_heads, -1))
        return heads

    def _modulated(self, x: Tensor, scale: Tensor, shift: Tensor, time_index: Tensor) -> Tensor:
        normed = F.layer_norm(x, x.shape[-1:], eps=self.eps).to(x.dtype)  # sums in float32 inside
        return torch.addcmul(gather(shift, time_index), normed, gather(1 + scale, time_index))


def gather(rows: Tensor, index: Tensor) -> Tensor:
    """(K, D) rows by (L,) index -> (L, D), or (1, D) where all are one row."""
    return rows if len(rows) == 1 else rows.index_select(0, index)


def time_features(times: Tensor, width: int, scale: float = 1000.0) -> Tensor:
    """Cosines and sines of `scale * t`. (K,) in 0..1 -> (K, width) float32.

    Vaswani et al. 2017 (arXiv:1706.03762), section 3.5, cosines first as in Wan.
    """
    half = width // 2
    rates = torch.exp(-math.log(10_000.0) * torch.arange(half, device=times.device, dtype=torch.float32) / half)
    angle = scale * times.float()[:, None] * rates
    return torch.cat([angle.cos(), angle.sin()], -1)
