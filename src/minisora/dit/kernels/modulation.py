"""Norm and modulation by the token's time; in sampling on a CPU, where few times are told apart, a norm for each.

Every token has a time, but a pack has few: `TimeIndex` says which token has which, so that what a time says is computed
once for each of the K times and gathered.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.dit.kernels import is_traced

MOST_RUNS = 16


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


def plain_modulated(x: Tensor, scale: Tensor, shift: Tensor, times: TimeIndex, eps: float) -> Tensor:
    """layer_norm(x) * (1 + scale) + shift, each token by its own time; in float32, rounded once.

    x:            (L, D)
    scale, shift: (K, D) float32
    """
    normed = F.layer_norm(x.to(scale.dtype), x.shape[-1:], eps=eps)
    return torch.addcmul(times.rows(shift), normed, times.rows(1 + scale)).to(x.dtype)


def modulated(x: Tensor, scale: Tensor, shift: Tensor, times: TimeIndex, eps: float) -> Tensor:
    """As `plain_modulated`; over a run the modulation is the norm's own gain and bias, which spares a pass."""
    if not times.runs:
        return plain_modulated(x, scale, shift, times, eps)
    gain = 1 + scale
    some = [F.layer_norm(x[a:b], x.shape[-1:], gain[k], shift[k], eps) for a, b, k in times.runs]
    return some[0] if len(some) == 1 else torch.cat(some)


def time_index(index: Tensor) -> TimeIndex:
    """With its runs where they are of use: in sampling on a CPU. index: (L,)"""
    if is_traced() or index.device.type != "cpu":
        return TimeIndex(index)
    which, lengths = torch.unique_consecutive(index, return_counts=True)
    if len(which) > MOST_RUNS:
        return TimeIndex(index)
    ends = pairwise([0, *lengths.cumsum(0).tolist()])
    return TimeIndex(index, tuple((*pair, k) for pair, k in zip(ends, which.tolist(), strict=True)))
