"""What the diffusion transformers share: patches, positions, the adaLN-Zero block.

Peebles and Xie 2022, arXiv:2212.09748, section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minisora.data.patch import patchify, unpatchify
from minisora.zoo.nets.attention import Attention
from minisora.zoo.nets.embed import sinusoids, zeroed


class Block(nn.Module):
    """A transformer block whose norms and gates come from an embedding; the identity at first.

    adaLN-Zero: x + gate * f((1 + scale) norm(x) + shift), for attention and for the MLP.
    """

    def __init__(self, width: int, heads: int, *, embedding: int | None = None) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.attention = Attention(width, width, width // heads, zero=False)
        self.mlp = mlp(width)
        self.modulation = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(embedding or width, 6 * width)))

    def forward(self, x: Tensor, embedding: Tensor, mask: Tensor | None = None) -> Tensor:
        """x: (B, L, D); embedding: (B, D), or (B, L, D) of each token"""
        shift1, scale1, gate1, shift2, scale2, gate2 = modulations(self.modulation, embedding, x)
        h = self.norm1(x) * (1 + scale1) + shift1
        x = x + gate1 * self.attention(h, h, mask)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class Head(nn.Module):
    """The last layer: adaptive norm, linear, zero at first. (B, L, D) -> (B, L, out)"""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(width, elementwise_affine=False), zeroed(nn.Linear(width, out))
        self.modulation = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(width, 2 * width)))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        shift, scale = modulations(self.modulation, embedding, x)
        out: Tensor = self.linear(self.norm(x) * (1 + scale) + shift)
        return out


def modulations(module: nn.Module, embedding: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """Shifts, scales and gates from an embedding, each (B, 1 or L, D)."""
    every: Tensor = module(embedding if embedding.ndim == 3 else embedding[:, None])
    return every.split(x.shape[-1], -1)


def mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


def patches(x: Tensor, side: int) -> Tensor:
    """Pictures (B, H, W, C) as tokens (B, H/side W/side, side side C), by rows."""
    return patchify(x[:, None], (1, side, side))


def pictures(tokens: Tensor, side: int, shape: tuple[int, int, int]) -> Tensor:
    """The inverse of `patches`. shape: (H, W, C) of a picture"""
    return unpatchify(tokens, (1, side, side), (1, shape[0] // side, shape[1] // side))[:, 0]


def positions(rows: int, columns: int, width: int) -> Tensor:
    """Sinusoids of row and column, half of the width each: (rows columns, width)."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.cat([sinusoids(each.flatten(), width // 2) for each in (row, column)], 1)
