"""Neighbourhood attention: each token attends to the tokens around it, exactly.

Hassani et al. 2022, arXiv:2204.07143. The published kernels are for GPUs; here tiles of queries
share a window of keys, in which a mask picks each query's own, so that all of it is plain products.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.zoo.nets.attention import attend

TILE = 4  # side of a tile of queries


def local_attention(q: Tensor, k: Tensor, v: Tensor, sides: tuple[int, int], kernel: int) -> Tensor:
    """Attention to the kernel x kernel tokens around each, near a border to those nearest.

    q, k, v: (B, N, H W, D), of a picture with sides H and W that TILE divides
    returns  (B, N, H W, D)
    """
    reach = kernel // 2
    assert kernel % 2 and reach < TILE and kernel <= min(sides), (kernel, sides)
    queries = _windows(q.unflatten(2, sides), TILE, TILE)
    keys, values = (
        _windows(F.pad(x.unflatten(2, sides), (0, 0, *4 * [reach])), TILE + 2 * reach, TILE) for x in (k, v)
    )
    attended = attend(queries, keys, values, mask=neighbours(sides, kernel)).unflatten(3, (TILE, TILE))
    return attended.unflatten(2, (sides[0] // TILE, sides[1] // TILE)).transpose(3, 4).flatten(2, 5)


def neighbours(sides: tuple[int, int], kernel: int) -> Tensor:
    """Keys of its tile's window that each query sees: (tiles, TILE TILE, window window) bool."""

    def along(side: int) -> Tensor:  # one axis: (tiles, TILE, window)
        query = torch.arange(side).reshape(-1, TILE, 1)
        key = query[:, :1] - kernel // 2 + torch.arange(TILE + kernel - 1)
        first = (query - kernel // 2).clamp(0, side - kernel)
        return (key >= first) & (key < first + kernel)

    rows, columns = along(sides[0])[:, None, :, None, :, None], along(sides[1])[None, :, None, :, None, :]
    return (rows & columns).flatten(4).flatten(2, 3).flatten(0, 1)


def _windows(x: Tensor, size: int, stride: int) -> Tensor:
    """Windows of (B, N, H, W, D), by rows: (B, N, windows, size size, D)."""
    return x.unfold(2, size, stride).unfold(3, size, stride).flatten(2, 3).permute(0, 1, 2, 4, 5, 3).flatten(3, 4)
