"""Multi-head attention, in plain products.

Vaswani et al. 2017, arXiv:1706.03762, section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minisora.zoo.nets.embed import zeroed


class Attention(nn.Module):
    """Attention of x to a context: (B, L, width), (B, S, context) -> (B, L, width).

    Self-attention is attention to x itself. zero: the result is zero at first
    """

    def __init__(self, width: int, context: int, head_width: int, *, zero: bool = True) -> None:
        super().__init__()
        self.heads = max(1, width // head_width)
        self.q, self.kv = nn.Linear(width, width), nn.Linear(context, 2 * width)
        self.out = zeroed(nn.Linear(width, width)) if zero else nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        q, (k, v) = self.q(x), self.kv(context).chunk(2, -1)
        q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (q, k, v))
        attended: Tensor = self.out(attend(q, k, v, mask=mask).transpose(1, 2).flatten(2))
        return attended


def attend(q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(D)) v: (B, N, L, D), two of (B, N, S, D) -> (B, N, L, D).

    Plain products: torch's fused kernel is slower backwards on CPUs at these sizes (docs/log.md).
    mask: (L, S) or broadcasting with (B, N, L, S) bool, True where a query sees a key
    """
    scores = (q * q.shape[-1] ** -0.5) @ k.mT
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ v
