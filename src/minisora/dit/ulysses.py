"""Ulysses context parallelism: processes hold slices of tokens, for attention slices of heads.

Two all-to-alls around attention convert between the two; the rest of the network acts on each token
alone. Source: Jacobs et al. 2023, "DeepSpeed Ulysses" (arXiv:2309.14509), section 3.1.

Here: the slices, and the exchanges with their gradients. Not here: meshes (train/parallel.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from minisora.errors import UsageError


@dataclass(frozen=True, eq=False)
class Across:
    """Group of processes that share one pack, and this process's rank in it."""

    group: dist.ProcessGroup
    rank: int
    count: int

    def bounds(self, tokens: int) -> list[int]:
        """Boundaries of the processes' slices of `tokens`: count + 1 numbers."""
        return [tokens * n // self.count for n in range(self.count + 1)]

    def mine(self, rows: Tensor) -> Tensor:
        """This process's slice of rows that all processes hold."""
        begin, end = self.bounds(len(rows))[self.rank : self.rank + 2]
        return rows[begin:end]

    def sizes(self, tokens: int) -> list[int]:
        return [end - begin for begin, end in pairwise(self.bounds(tokens))]

    def to_heads(self, x: Tensor, tokens: int) -> Tensor:
        """All-to-all: (own tokens, N, d) -> (all tokens, N / count, d)"""
        swapped: Tensor = _Swap.apply(x, _heads_from_tokens, _tokens_from_heads, self, tokens)  # type: ignore[no-untyped-call]
        return swapped

    def to_tokens(self, x: Tensor, tokens: int) -> Tensor:
        """All-to-all: (all tokens, N / count, d) -> (own tokens, N, d)"""
        swapped: Tensor = _Swap.apply(x, _tokens_from_heads, _heads_from_tokens, self, tokens)  # type: ignore[no-untyped-call]
        return swapped

    def own_heads(self, x: Tensor) -> Tensor:
        """This process's heads of rows that all hold: (S, N, d) -> (S, N / count, d)"""
        return x.chunk(self.count, 1)[self.rank]

    def whole(self, rows: Tensor, tokens: int) -> Tensor:
        """All-gather (own tokens, C) -> (all tokens, C); gradients are summed over processes."""
        gathered: Tensor = _Whole.apply(rows, self, tokens)  # type: ignore[no-untyped-call]
        return gathered

    def of_first(self, value: Tensor) -> Tensor:
        """Broadcast a value from the first process, for decisions that must agree."""
        value = value.clone()
        dist.broadcast(value, group=self.group, group_src=0)
        return value


def check_heads(num_heads: int, count: int) -> None:
    """Raise UsageError if `count` processes cannot divide the heads evenly."""
    if num_heads % count:
        raise UsageError(
            f"{num_heads} heads cannot be shared by {count} processes. "
            f"Ask for a context of {', '.join(str(n) for n in range(1, num_heads + 1) if num_heads % n == 0)}."
        )


Exchange = Callable[[Tensor, Across, int], Tensor]


def _heads_from_tokens(x: Tensor, across: Across, tokens: int) -> Tensor:
    sent = torch.stack(x.chunk(across.count, 1))  # (count, own, N / count, d): a part for each
    got = x.new_empty(tokens, *sent.shape[2:])
    _exchange(got, sent.flatten(0, 1), across.sizes(tokens), [len(x)] * across.count, across)
    return got


def _tokens_from_heads(x: Tensor, across: Across, tokens: int) -> Tensor:
    own = across.sizes(tokens)[across.rank]
    got = x.new_empty(across.count * own, *x.shape[1:])
    _exchange(got, x.contiguous(), [own] * across.count, across.sizes(tokens), across)
    return torch.cat(tuple(got.unflatten(0, (across.count, own))), 1)


def _exchange(into: Tensor, rows: Tensor, into_sizes: list[int], sizes: list[int], across: Across) -> None:
    dist.all_to_all_single(into, rows, into_sizes, sizes, group=across.group)


class _Swap(torch.autograd.Function):
    """One exchange in the forward pass, its inverse in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, there: Exchange, back: Exchange, across: Across, tokens: int) -> Tensor:
        ctx.back, ctx.across, ctx.tokens = back, across, tokens
        return there(x, across, tokens)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.back(grad, ctx.across, ctx.tokens), None, None, None, None


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, across: Across, tokens: int) -> Tensor:
        ctx.across = across
        sizes = across.sizes(tokens)
        parts = [rows.new_empty(max(sizes), *rows.shape[1:]) for _ in sizes]
        padded = torch.cat([rows, rows.new_zeros(max(sizes) - len(rows), *rows.shape[1:])])
        dist.all_gather(parts, padded, group=across.group)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return ctx.across.mine(grad), None, None
