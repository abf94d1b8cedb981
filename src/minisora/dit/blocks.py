"""Attention on a CPU, a few queries at a time: their weights stay in the processor's cache, and none are kept.

Sources: Rabe and Staats 2021 (arXiv:2112.05682), over queries alone; Dao et al. 2022 (FlashAttention, arXiv:2205.14135)
for a backward pass that works the weights out again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

ROWS = 128  # queries at a time
CELLS = 2**19  # queries times keys at a time, of one head


@torch.library.custom_op("minisora::attention_by_blocks", mutates_args=())  # one operator, so that it may be kept whole
def attention_by_blocks(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None) -> Tensor:
    """softmax(q k^T) v

    q:       (B, N, L, d), scaled already
    k, v:    (B, N, S, d)
    hidden:  (B, 1, 1, S) bool, keys that no query must see
    returns  (B, N, L, d)
    """
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    out = torch.empty_like(q)
    for rows in _blocks(q, k):
        out[:, :, rows] = _weights(q[:, :, rows], k, hidden) @ v
    return out


@attention_by_blocks.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None) -> Tensor:
    return torch.empty_like(q, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Tensor | None, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


@torch.library.custom_op("minisora::attention_by_blocks_backward", mutates_args=())
def _gradients(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    grad, to_q = grad.contiguous(), torch.empty_like(q)
    to_k, to_v = (torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32)) for x in (k, v))
    for rows in _blocks(q, k):
        some, towards = q[:, :, rows], grad[:, :, rows]
        weights = _weights(some, k, hidden)
        to_v += weights.mT @ towards
        scores = torch.ops.aten._softmax_backward_data(towards @ v.mT, weights, -1, weights.dtype)
        to_q[:, :, rows] = scores @ k
        to_k += scores.mT @ some
    return to_q, to_k.to(k.dtype), to_v.to(v.dtype)


@_gradients.register_fake
def _(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (*_gradients(grad, *ctx.saved_tensors), None)


attention_by_blocks.register_autograd(_backward, setup_context=_keep)


def _blocks(q: Tensor, k: Tensor) -> Iterator[slice]:
    rows = max(1, min(ROWS, CELLS // k.shape[2]))
    return (slice(first, first + rows) for first in range(0, q.shape[2], rows))


def _weights(q: Tensor, k: Tensor, hidden: Tensor | None) -> Tensor:
    scores = q @ k.mT
    if hidden is not None:
        scores.masked_fill_(hidden, float("-inf"))
    return scores.softmax(-1)
