"""Attention inside each clip of a pack: one function for all devices.

On CUDA, in half precision, `torch.nn.attention.varlen` takes the packed stream. Elsewhere
neighbours of equal length go into one batched call, a few queries at a time (kernels/attention.py):
torch's fused CPU kernel is slower (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from minisora.dit.kernels import is_traced
from minisora.dit.kernels.attention import as_operator, attention_by_blocks, cells
from minisora.dit.ulysses import Across

KEPT_UP_TO = 512 * 512  # queries times keys of a clip: up to this, weights are kept for the backward pass


class Segments:
    """Lengths of each clip's queries and keys (sums L and S): attention stays inside a clip.

    Also as tensors, for a compiled block: with Python numbers it would recompile for every pack.
    """

    def __init__(
        self, queries: Sequence[int], keys: Sequence[int], across: Across | None = None, *, keep: bool = True
    ) -> None:
        self.queries, self.keys = queries, keys
        self.q_lengths, self.k_lengths = torch.tensor(queries, device="cpu"), torch.tensor(keys, device="cpu")
        self.across = across  # processes that share the queries, and in self-attention the keys
        short = max(q * k for q, k in zip(queries, keys, strict=True)) <= KEPT_UP_TO
        self.kept = cells(queries, keys) if keep and short else 0


def attention(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    """softmax(q k^T / sqrt(head_width)) v, each clip's queries against the same clip's keys.

    q:       (L, N, head_width)
    k, v:    (S, N, head_width)
    returns  (L, N, head_width)

    Over several processes q holds this process's rows only; in self-attention so do k and v.
    """
    across = segments.across
    attended: Tensor = _alone(q, k, v, segments) if across is None else _across(q, k, v, segments, across)
    return attended


def _alone(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    out: Tensor
    if q.is_cuda and q.dtype in (torch.bfloat16, torch.float16):
        out = _varlen(q, k, v, segments.queries, segments.keys)
    else:
        kept = segments.kept if q.requires_grad else 0
        attend = as_operator if is_traced() else attention_by_blocks
        out = attend(q, k, v, segments.q_lengths, segments.k_lengths, kept)[0]
    return out


@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch leaves it so
def _across(q: Tensor, k: Tensor, v: Tensor, segments: Segments, across: Across) -> Tensor:
    tokens = sum(segments.queries)
    of_tokens = segments.keys is segments.queries
    k, v = (across.to_heads(x, tokens) if of_tokens else across.own_heads(x) for x in (k, v))
    return across.to_tokens(_alone(across.to_heads(q, tokens), k, v, segments), tokens)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _varlen(q: Tensor, k: Tensor, v: Tensor, q_lengths: Sequence[int], k_lengths: Sequence[int]) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    def ends(lengths: Sequence[int]) -> Tensor:
        return torch.tensor([0, *lengths], device=q.device).cumsum(0).to(torch.int32)

    out = varlen_attn(q, k, v, ends(q_lengths), ends(k_lengths), max(q_lengths), max(k_lengths))
    assert isinstance(out, Tensor)
    return out
