"""Attention inside each clip of a pack: one function, whatever the device.

On CUDA, in half precision, `torch.nn.attention.varlen` takes the stream as it is. Elsewhere neighbours of equal length
go as one batched call, on a CPU a few queries at a time (blocks.py), or in training, where the clips are short, in the
plain form, two matmuls around a softmax: torch's fused CPU kernel is slower than both (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.dit.blocks import attention_by_blocks, heads_first, runs, scaled, side_by_side
from minisora.dit.ulysses import Across

PLAIN_UP_TO = 512 * 512  # queries times keys, on a CPU
FEW_KEYS = 64  # of a text: rows that short are slow in the plain form, unless they fill vectors of 32


class Segments:
    """Which queries attend to which keys: lengths of each clip's, summing to L and to S.

    As tensors too, which is how a compiled block reads them: of numbers it would compile anew for every pack.
    """

    def __init__(self, queries: Sequence[int], keys: Sequence[int], across: Across | None = None) -> None:
        self.queries, self.keys = queries, keys
        self.q_lengths, self.k_lengths = torch.tensor(queries, device="cpu"), torch.tensor(keys, device="cpu")
        self.across = across  # processes that hold the queries, and the keys where these are tokens too


def attention(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    """softmax(q k^T / sqrt(head_width)) v, each clip's queries against the same clip's keys.

    q:       (L, N, head_width)
    k, v:    (S, N, head_width)
    returns  (L, N, head_width)

    Over several processes q has this one's rows only, and so do k and v where they are of the tokens themselves.
    """
    if torch.compiler.is_compiling() and q.device.type == "cpu" and segments.across is None:
        return _by_blocks(q, k, v, segments)
    attended: Tensor = _attention(q, k, v, segments)
    return attended


@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch leaves it so
def _attention(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    across = segments.across
    if across is not None:
        tokens = sum(segments.queries)
        of_tokens = segments.keys is segments.queries
        k, v = (across.to_heads(x, tokens) if of_tokens else across.own_heads(x) for x in (k, v))
        alone = Segments(segments.queries, segments.keys)
        return across.to_tokens(_attention(across.to_heads(q, tokens), k, v, alone), tokens)
    if q.is_cuda and q.dtype in (torch.bfloat16, torch.float16):
        return _varlen(q, k, v, segments.queries, segments.keys)
    if q.device.type == "cpu" and not (q.requires_grad and _plain_is_faster(segments)):
        return _by_blocks(q, k, v, segments)
    parts = []
    for q_rows, k_rows, widths in runs(segments.queries, segments.keys):
        keys, values, hidden = side_by_side(k[k_rows], v[k_rows], widths)
        attended = _plain(heads_first(q[q_rows], len(widths)), keys, values, hidden)
        parts.append(attended.transpose(1, 2).flatten(0, 1))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _by_blocks(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    out: Tensor = attention_by_blocks(q, k, v, segments.q_lengths, segments.k_lengths)
    return out


def _plain_is_faster(segments: Segments) -> bool:
    """As it keeps the weights for the backward pass."""
    keys = max(segments.keys)
    most = max(queries * keys for queries, keys in zip(segments.queries, segments.keys, strict=True))
    return most <= PLAIN_UP_TO and (keys >= FEW_KEYS or not keys % 32)


def _plain(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor | None) -> Tensor:
    """(B, N, L, d) and twice (B, N, S, d) -> (B, N, L, d)"""
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=None if hidden is None else ~hidden)
    scores = scaled(q) @ k.mT
    if hidden is not None:
        scores = scores.masked_fill(hidden, float("-inf"))
    return scores.softmax(-1) @ v


def _varlen(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    def ends(lengths: Sequence[int]) -> Tensor:
        return torch.tensor([0, *lengths], device=q.device).cumsum(0).to(torch.int32)

    out = varlen_attn(q, k, v, ends(q_lengths), ends(k_lengths), max(q_lengths), max(k_lengths))
    assert isinstance(out, Tensor)
    return out
