"""Attention on a CPU, a few queries at a time: their weights stay in the processor's cache.

Weights of short clips are kept for the backward pass, those of long ones are computed again. One
operator takes a whole pack, so that activation checkpointing may keep its result, and a compiled
block is one graph; when nothing is traced it is a plain function call.

Sources: Rabe and Staats 2021 (arXiv:2112.05682), over queries alone; Dao et al. 2022
(FlashAttention, arXiv:2205.14135) for a backward pass that computes the weights again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = 128  # queries at a time, at least
CELLS = 2**21  # queries times keys times heads at a time: what a cache holds


def plain_attention(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    """softmax(q k^T / sqrt(head_width)) v, each clip's queries against the same clip's keys.

    q:                    (L, N, head_width)
    k, v:                 (S, N, head_width)
    q_lengths, k_lengths: of each clip, summing to L and to S
    returns               (L, N, head_width)
    """
    parts = (x.transpose(0, 1).split(tuple(n), 1) for x, n in ((q, q_lengths), (k, k_lengths), (v, k_lengths)))
    return torch.cat([F.scaled_dot_product_attention(*clip) for clip in zip(*parts, strict=True)], 1).transpose(0, 1)


def attention_by_blocks(
    q: Tensor, k: Tensor, v: Tensor, q_lengths: Tensor, k_lengths: Tensor, kept: int
) -> tuple[Tensor, Tensor]:
    """Compute `plain_attention` faster on a CPU.

    q_lengths, k_lengths: int64, on the CPU
    kept:                 `cells` of these lengths to keep the weights, or 0
    returns               (L, N, head_width), and the weights, (N * kept,)
    """
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    all_weights, at = q.new_empty(q.shape[1] * kept), 0
    for q_rows, k_rows, widths in _runs(q_lengths.tolist(), k_lengths.tolist(), q.shape[1]):
        keys, values, hidden = _side_by_side(k[k_rows], v[k_rows], widths)
        queries, into = (_heads_first(x[q_rows], len(widths)) for x in (q, out))
        for rows in _blocks(queries, keys, whole=kept > 0, most=CELLS):
            weights = _weights(queries[:, :, rows].contiguous(), keys, hidden)
            into[:, :, rows] = weights @ values
            if kept:
                all_weights[at : at + weights.numel()] = weights.flatten()
                at += weights.numel()
    return out, all_weights


as_operator = torch.library.custom_op("minisora::attention_by_blocks", attention_by_blocks, mutates_args=())


@as_operator.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, q_lengths: Tensor, k_lengths: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(q, memory_format=torch.contiguous_format), q.new_empty(q.shape[1] * kept)


@torch.library.custom_op("minisora::attention_by_blocks_backward", mutates_args=())
def _gradients(
    grad: Tensor, all_weights: Tensor, q: Tensor, k: Tensor, v: Tensor, q_lengths: Tensor, k_lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    to_q, to_k, to_v = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))
    kept, at = all_weights.numel() > 0, 0
    for q_rows, k_rows, widths in _runs(q_lengths.tolist(), k_lengths.tolist(), q.shape[1]):
        keys, values, hidden = _side_by_side(k[k_rows], v[k_rows], widths)
        queries, towards, into = (_heads_first(x[q_rows], len(widths)) for x in (q, grad, to_q))
        sums: list[Tensor] | None = None  # in float32 if there is more than one block
        for rows in _blocks(queries, keys, whole=kept, most=CELLS // 2):  # there are two such matrices at a time
            some, slope = queries[:, :, rows].contiguous(), towards[:, :, rows].contiguous()
            if kept:
                shape = (*some.shape[:-1], keys.shape[2])
                weights = all_weights[at : at + some[..., 0].numel() * keys.shape[2]].view(shape)
                at += weights.numel()
            else:
                weights = _weights(some, keys, hidden)
            scores = _to_scores(slope @ values.mT, weights)
            into[:, :, rows] = _product(scores, keys, keys.shape[-1])
            found = [_product(scores.mT, some, some.shape[-1]), weights.mT @ slope]
            if some.shape[2] < queries.shape[2]:
                wide = [x.to(torch.promote_types(x.dtype, torch.float32)) for x in found]
                found = wide if sums is None else [a.add_(b) for a, b in zip(sums, wide, strict=True)]
            sums = found
        assert sums is not None
        for x, sum_ in zip((to_k, to_v), sums, strict=True):
            rows_found = sum_.transpose(1, 2)
            x[k_rows] = rows_found.flatten(0, 1) if hidden is None else rows_found[~hidden[:, 0, 0]]
    return to_q, to_k, to_v


@_gradients.register_fake
def _(
    grad: Tensor, all_weights: Tensor, q: Tensor, k: Tensor, v: Tensor, q_lengths: Tensor, k_lengths: Tensor
) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(output[1], *inputs[:-1])


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return (*_gradients(grad, *ctx.saved_tensors), None, None, None)


as_operator.register_autograd(_backward, setup_context=_keep)


def _runs(
    q_lengths: Sequence[int], k_lengths: Sequence[int], heads: int = 0
) -> Iterator[tuple[slice, slice, list[int]]]:
    """Runs of clips with equal query lengths: rows in q, rows in k, number of keys of each clip.

    heads: of attention, to limit a run to CELLS; 0: no limit
    """
    q_at = k_at = 0
    for length, run in groupby(zip(q_lengths, k_lengths, strict=True), key=lambda clip: clip[0]):
        widths = [keys for _, keys in run]
        some = max(1, CELLS // (heads * length * max(widths))) if heads else len(widths)
        for first in range(0, len(widths), some):
            part = widths[first : first + some]
            q_end, k_end = q_at + length * len(part), k_at + sum(part)
            yield slice(q_at, q_end), slice(k_at, k_end), part
            q_at, k_at = q_end, k_end


def cells(q_lengths: Sequence[int], k_lengths: Sequence[int]) -> int:
    """Size of a pack's attention weights per head: queries times keys, masked ones included."""
    return sum((rows.stop - rows.start) * max(widths) for rows, _, widths in _runs(q_lengths, k_lengths))


def _heads_first(x: Tensor, clips: int) -> Tensor:
    """View (B * L, N, d) as (B, N, L, d)."""
    heads: Tensor = x.unflatten(0, (clips, -1))
    return heads.transpose(1, 2)


def _product(a: Tensor, b: Tensor, width: int) -> Tensor:
    """a @ b / sqrt(width), divided inside the matmul. (B, N, L, M), (B, N, M, E) -> (B, N, L, E)"""
    unused = a.new_zeros(1, 1, 1)
    product = torch.baddbmm(unused, a.flatten(0, 1), b.flatten(0, 1), beta=0, alpha=float(width**-0.5))
    scaled: Tensor = product.unflatten(0, a.shape[:2])
    return scaled


def _side_by_side(k: Tensor, v: Tensor, widths: Sequence[int]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Pad keys and values (sum of widths, N, d) to (B, N, most, d); mask (B, 1, 1, most)."""
    most = max(widths)
    if min(widths) == most:
        return _heads_first(k, len(widths)).contiguous(), _heads_first(v, len(widths)).contiguous(), None
    size, column = torch.tensor(widths, device=k.device), torch.arange(most, device=k.device)
    inside = column < size[:, None]
    index = (size.cumsum(0) - size)[:, None] + torch.where(inside, column, 0)
    return k[index].transpose(1, 2), v[index].transpose(1, 2), ~inside[:, None, None]


def _blocks(q: Tensor, k: Tensor, *, whole: bool, most: int) -> Iterator[slice]:
    clips, heads, keys, _ = k.shape
    queries = q.shape[2]
    rows = queries if whole else max(ROWS, most // (clips * heads * keys))
    rows = -(-queries // -(-queries // rows))  # equal blocks, without a small last one
    return (slice(first, first + rows) for first in range(0, queries, rows))


def _weights(q: Tensor, k: Tensor, hidden: Tensor | None) -> Tensor:
    scores = _product(q, k.mT, q.shape[-1])
    if hidden is not None:
        scores.masked_fill_(hidden, float("-inf"))
    return scores.softmax(-1, dtype=_softmax_dtype(scores)).to(scores.dtype)


def _to_scores(grad: Tensor, weights: Tensor) -> Tensor:
    """Backward pass of the softmax."""
    dtype = _softmax_dtype(weights)
    scores: Tensor = torch.ops.aten._softmax_backward_data(grad.to(dtype), weights.to(dtype), -1, dtype)
    return scores.to(weights.dtype)


def _softmax_dtype(scores: Tensor) -> torch.dtype:
    """float32 for short rows that fill no whole vectors: torch's bf16 kernel is slower there."""
    keys = scores.shape[-1]
    return torch.promote_types(scores.dtype, torch.float32) if keys % 32 and keys < 256 else scores.dtype
