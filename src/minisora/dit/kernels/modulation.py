"""Norm and modulation by token times; in sampling on a CPU, one norm per run of equal times.

Every token has a time, but a pack has few distinct ones: modulation is computed once for each of
the K times, and `TimeIndex` gathers it for the tokens. Its gradient, a sum over the tokens of each
time, is one operator: torch.compile would add them atomically, a quarter of a training step.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.dit.kernels import is_traced

MOST_RUNS = 16


@dataclass(frozen=True, eq=False)
class TimeIndex:
    """Index of each token's time among K distinct ones.

    index: (L,)
    runs:  runs of tokens with equal time, (first, last + 1, index); empty if unused, or too many
    """

    index: Tensor
    runs: tuple[tuple[int, int, int], ...] = ()

    def rows(self, table: Tensor) -> Tensor:
        """Gather (K, D) -> (L, D), or (1, D) if there is one time."""
        if len(table) == 1:
            return table
        gathered: Tensor = _Rows.apply(table, self.index)  # type: ignore[no-untyped-call]
        return gathered


class _Rows(torch.autograd.Function):
    """`table.index_select(0, index)`: a compiled block fuses it, but not its gradient."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.count = len(table)
        return table.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _sums(grad, *ctx.saved_tensors, ctx.count), None


@torch.library.custom_op("minisora::sums_of_rows", mutates_args=())
def _sums(rows: Tensor, index: Tensor, count: int) -> Tensor:
    return rows.new_zeros(count, rows.shape[-1]).index_add_(0, index, rows)


@_sums.register_fake
def _(rows: Tensor, index: Tensor, count: int) -> Tensor:
    return rows.new_empty(count, rows.shape[-1])


def plain_modulated(x: Tensor, scale: Tensor, shift: Tensor, times: TimeIndex, eps: float) -> Tensor:
    """layer_norm(x) * (1 + scale) + shift, with each token's time; in float32, rounded once.

    x:            (L, D)
    scale, shift: (K, D) float32
    """
    normed = F.layer_norm(x.to(scale.dtype), x.shape[-1:], eps=eps)
    return torch.addcmul(times.rows(shift), normed, times.rows(1 + scale)).to(x.dtype)


def modulated(x: Tensor, scale: Tensor, shift: Tensor, times: TimeIndex, eps: float) -> Tensor:
    """Compute `plain_modulated`; over a run, as the norm's gain and bias: one pass less."""
    if not times.runs:
        return plain_modulated(x, scale, shift, times, eps)
    gain = 1 + scale
    some = [F.layer_norm(x[a:b], x.shape[-1:], gain[k], shift[k], eps) for a, b, k in times.runs]
    return some[0] if len(some) == 1 else torch.cat(some)


def time_index(index: Tensor) -> TimeIndex:
    """Make a TimeIndex, with runs in sampling on a CPU. index: (L,)"""
    if is_traced() or index.device.type != "cpu":
        return TimeIndex(index)
    which, lengths = torch.unique_consecutive(index, return_counts=True)
    if len(which) > MOST_RUNS:
        return TimeIndex(index)
    ends = pairwise([0, *lengths.cumsum(0).tolist()])
    return TimeIndex(index, tuple((*pair, k) for pair, k in zip(ends, which.tolist(), strict=True)))
