"""Transformer block: self-attention, cross-attention to the text, MLP; modulated by token times.

Source: Peebles and Xie 2022 (DiT, arXiv:2212.09748). Chen et al. 2023 (PixArt-alpha,
arXiv:2310.00426, section 2.3) for one time MLP shared by all blocks with a table in each. Wan
(arXiv:2503.20314) for the rest: RMS norm of queries and keys over all heads together, rotary
positions in self-attention, an affine norm before cross-attention, which has no gate.

Modulation (tables, shifts, scales and gates) is float32 whatever the dtype of the stream. A norm
with its modulation, and a gated sum, are computed in float32 and rounded once to the stream's
dtype.

Here: the block. Not here: embedding and head (model.py), attention masks (attention.py). `linear`,
`modulated` and the like compute their plain forms (kernels/).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minisora.dit.attention import Segments, attention
from minisora.dit.kernels.linear import into_gelu, linear
from minisora.dit.kernels.modulation import TimeIndex, modulated
from minisora.dit.kernels.norm import rms_norm


class RMSNorm(nn.Module):
    """x / rms(x) * gain over the last axis, in float32."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.gain, self.eps)


class Block(nn.Module):
    """Self-attention, cross-attention, MLP; first and last modulated by the token's time."""

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
        """Keys and values of the text: (S, D) -> two of (S, N, head_width)"""
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
        """Apply the block.

        x:          (L, D)
        modulation: (K, 6, D) of the distinct times, no narrower than float32; the block adds its
                    table
        times:      index of each token's time
        rope:       (L, head_width/2, 2)
        clips:      segments of self-attention
        text:       keys, values (S, N, head_width)
        to_text:    segments of cross-attention
        returns     (L, D)
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.table + modulation).unbind(1)  # six of (K, D)

        h = modulated(x, scale1, shift1, times, self.eps)  # (L, D): layer_norm(x) * (1 + scale) + shift
        qk, v = linear(self.qkv, h).split((2 * x.shape[-1], x.shape[-1]), -1)  # (L, 2D), (L, D)
        gains = torch.stack([self.q_norm.gain, self.k_norm.gain])  # (2, D)
        qk = rms_norm(qk.unflatten(-1, (2, -1)), gains, self.eps, rope)  # (L, 2, D): normed, then turned by position
        q, k = self._heads(qk).unbind(1)  # (L, 2, N, head_width) -> two of (L, N, head_width)
        a = attention(q, k, self._heads(v), clips).flatten(1)  # (L, N, head_width) -> (L, D)
        x = gated(x, linear(self.out, a), gate1, times)  # (L, D): x + h * gate

        q = self._heads(self.cross_q_norm(linear(self.cross_q, self.cross_norm(x).to(x.dtype))))  # (L, N, head_width)
        x = x + linear(self.cross_out, attention(q, text[0], text[1], to_text).flatten(1))  # (L, D)

        h = modulated(x, scale2, shift2, times, self.eps)  # (L, D)
        h = linear(self.mlp_out, into_gelu(self.mlp_in, h))  # (L, D) -> (L, mlp_width) -> (L, D)
        return gated(x, h, gate2, times)  # (L, D)

    def _heads(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., N, head_width)"""
        heads: Tensor = x.unflatten(-1, (self.num_heads, -1))
        return heads


def gated(x: Tensor, h: Tensor, gate: Tensor, times: TimeIndex) -> Tensor:
    """x + h * gate, with the gate of each token's time. x, h: (L, D); gate: (K, D) float32"""
    return torch.addcmul(x.to(gate.dtype), h.to(gate.dtype), times.rows(gate)).to(x.dtype)
