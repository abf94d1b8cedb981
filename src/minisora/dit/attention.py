"""Attention inside each clip of a pack: one function, whatever the device.

On CUDA, in half precision, `torch.nn.attention.varlen` takes the stream as it is. Elsewhere neighbours of equal length
go as one batched call. On a CPU short clips take the plain form, two matmuls around a softmax, and longer ones the same
a few queries at a time (blocks.py): torch's fused CPU kernel is slower than both (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.dit.blocks import attention_by_blocks
from minisora.dit.ulysses import Across

PLAIN_UP_TO, PLAIN_TRAINED_UP_TO = 320 * 320, 512 * 512  # queries times keys, on a CPU; with a backward pass


@dataclass(frozen=True, eq=False)
class Segments:
    """Which queries attend to which keys: lengths of each clip's, summing to L and to S.

    An object, not two tuples: a compiled block takes any of it for the same, and would compile anew for each tuple.
    """

    queries: tuple[int, ...]
    keys: tuple[int, ...]
    across: Across | None = None  # processes that hold the queries, and the keys where these are tokens too


@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch leaves it so
def attention(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    """softmax(q k^T / sqrt(head_width)) v, each clip's queries against the same clip's keys.

    q:       (L, N, head_width)
    k, v:    (S, N, head_width)
    returns  (L, N, head_width)

    Over several processes q has this one's rows only, and so do k and v where they are of the tokens themselves.
    """
    across = segments.across
    if across is not None:
        tokens = sum(segments.queries)
        of_tokens = segments.keys is segments.queries
        k, v = (across.to_heads(x, tokens) if of_tokens else across.own_heads(x) for x in (k, v))
        alone = Segments(segments.queries, segments.keys)
        return across.to_tokens(attention(across.to_heads(q, tokens), k, v, alone), tokens)
    q_lengths, k_lengths = segments.queries, segments.keys
    if q.is_cuda and q.dtype in (torch.bfloat16, torch.float16):
        return _varlen(q, k, v, q_lengths, k_lengths)
    parts = []
    for clips, q_at, k_at in _runs(q_lengths, k_lengths):
        q_rows = q[q_at : q_at + clips[0][0] * len(clips)].unflatten(0, (len(clips), -1))
        widths = [width for _, width in clips]
        k_rows, v_rows = (x[k_at : k_at + sum(widths)] for x in (k, v))
        parts.append(_batched(q_rows, k_rows, v_rows, widths).flatten(0, 1))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _runs(q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Iterator[tuple[list[tuple[int, int]], int, int]]:
    """Neighbours with equal query lengths: their (query, key) lengths and where the run begins in q and in k."""
    q_at = k_at = 0
    for _, run in groupby(zip(q_lengths, k_lengths, strict=True), key=lambda clip: clip[0]):
        clips = list(run)
        yield clips, q_at, k_at
        q_at += sum(q for q, _ in clips)
        k_at += sum(k for _, k in clips)


def _batched(q: Tensor, k: Tensor, v: Tensor, widths: list[int]) -> Tensor:
    """q: (B, Lq, N, d); k, v: (sum of widths, N, d). Keys of unequal number are gathered to one with a mask."""
    most = max(widths)
    hidden = None
    if min(widths) == most:
        k, v = (x.unflatten(0, (len(widths), most)) for x in (k, v))
    else:
        size = torch.tensor(widths, device=q.device)
        column = torch.arange(most, device=q.device)
        inside = column < size[:, None]
        index = (size.cumsum(0) - size)[:, None] + torch.where(inside, column, 0)
        k, v = (x[index] for x in (k, v))
        hidden = ~inside[:, None, None, :]
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    if q.device.type != "cpu":
        mask = None if hidden is None else ~hidden
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
    q = q * q.shape[-1] ** -0.5
    if q.shape[2] * most > (PLAIN_TRAINED_UP_TO if q.requires_grad else PLAIN_UP_TO):
        out: Tensor = attention_by_blocks(q, k, v, hidden)
        return out.transpose(1, 2)
    scores = q @ k.mT
    if hidden is not None:
        scores = scores.masked_fill(hidden, float("-inf"))
    weighted: Tensor = scores.softmax(-1) @ v
    return weighted.transpose(1, 2)


def _varlen(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    def ends(lengths: Sequence[int]) -> Tensor:
        return torch.tensor([0, *lengths], device=q.device).cumsum(0).to(torch.int32)

    out = varlen_attn(q, k, v, ends(q_lengths), ends(k_lengths), max(q_lengths), max(k_lengths))
    assert isinstance(out, Tensor)
    return out
