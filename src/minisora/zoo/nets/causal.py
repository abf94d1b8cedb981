"""A language model's transformer: causal attention, a cache for sampling, two-sided prefixes.

Vaswani et al. 2017 (arXiv:1706.03762) with the norms first, as in GPT-2. It knows nothing of its
tokens: embedding them and reading logits off is left to the papers (videogpt.py, videopoet.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minisora.zoo.nets.attention import attend
from minisora.zoo.nets.embed import zeroed
from minisora.zoo.nets.transformer import mlp


class Cache:
    """Keys and values of the positions that were read so far, so that each is computed once.

    length: positions that it has room for
    """

    def __init__(self, depth: int, length: int) -> None:
        self.length, self.read = length, 0
        self.kept: list[Tensor | None] = [None] * depth

    def extended(self, layer: int, kv: Tensor) -> Tensor:
        """Keep new keys and values (2, B, N, L, D) of a layer; returns those of all positions."""
        kept = self.kept[layer]
        if kept is None:
            kept = self.kept[layer] = kv.new_empty(*kv.shape[:3], self.length, kv.shape[4])
        end = self.read + kv.shape[3]
        kept[:, :, :, self.read : end] = kv
        return kept[:, :, :, :end]


class CausalTransformer(nn.Module):
    """Each position sees itself and those before it; the first `prefix` ones see each other.

    condition: width of a vector that gives gain and bias of every norm; 0: they are parameters
    """

    def __init__(self, width: int, depth: int, heads: int, *, condition: int = 0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([CausalBlock(width, heads, condition) for _ in range(depth)])
        self.norm = Norm(width, condition)

    def forward(
        self, x: Tensor, *, condition: Tensor | None = None, prefix: int = 0, cache: Cache | None = None
    ) -> Tensor:
        """(B, L, D) -> (B, L, D). cache: holds the positions before x, and x afterwards"""
        before = cache.read if cache else 0
        key = torch.arange(before + x.shape[1])
        mask = (key <= key[before:, None]) | (key < prefix)
        for layer, block in enumerate(self.blocks):
            x = block(x, mask, condition, cache, layer)
        if cache:
            cache.read += x.shape[1]
        return self.norm(x, condition)


class CausalBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int, condition: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = Norm(width, condition), Norm(width, condition)
        self.qkv, self.out, self.mlp = nn.Linear(width, 3 * width), nn.Linear(width, width), mlp(width)

    def forward(self, x: Tensor, mask: Tensor, condition: Tensor | None, cache: Cache | None, layer: int) -> Tensor:
        qkv = self.qkv(self.norm1(x, condition)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, (k, v) = qkv[0], qkv[1:] if cache is None else cache.extended(layer, qkv[1:])
        x = x + self.out(attend(q, k, v, mask=mask).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x, condition))


class Norm(nn.Module):
    """LayerNorm; with a condition, its gain and bias are affine functions of that."""

    def __init__(self, width: int, condition: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=not condition)
        self.affine = zeroed(nn.Linear(condition, 2 * width)) if condition else None

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        normed: Tensor = self.norm(x)
        if self.affine is None:
            return normed
        gain, bias = self.affine(condition)[:, None].chunk(2, -1)
        return (1 + gain) * normed + bias


class Places(nn.Module):
    """Embeddings of the places of a grid, a vector for each axis, summed: (product of it, D)."""

    def __init__(self, grid: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.axes = nn.ParameterList([0.02 * torch.randn(size, width) for size in grid])

    def forward(self) -> Tensor:
        places = self.axes[0]
        for axis in self.axes[1:]:
            places = (places[:, None] + axis).flatten(0, 1)
        return places


def drawn(logits: Tensor, noise: torch.Generator, *, temperature: float = 1.0) -> Tensor:
    """A token from softmax(logits / temperature), the likeliest at 0: (B, K) -> (B, 1)."""
    if not temperature:
        return logits.argmax(-1, keepdim=True)
    return torch.multinomial((logits.float() / temperature).softmax(-1), 1, generator=noise)
