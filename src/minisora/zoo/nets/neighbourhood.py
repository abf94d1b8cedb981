"""Neighbourhood attention: each token attends to the tokens around it, exactly.

Hassani et al. 2022, arXiv:2204.07143. The published kernels are for GPUs. Here tiles of queries
share a window of keys, in which a mask picks each query's own, so that all of it is plain products.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.zoo.nets.attention import attend


def local_attention(q: Tensor, k: Tensor, v: Tensor, sides: tuple[int, int], kernel: int) -> Tensor:
    """Attention to the kernel x kernel tokens around each, near a border to those nearest.

    A tile has kernel - 1 tokens a side and needs half as many on each side of it, so its window has
    twice its side: four tiles of the padded keys.

    q, k, v: (B, N, H W, D), of a picture with sides H and W that kernel - 1 divides
    returns  (B, N, H W, D)
    """
    tile = kernel - 1
    assert kernel % 2 and kernel <= min(sides) and not (sides[0] % tile or sides[1] % tile), (kernel, sides)
    around = (0, 0, *4 * [tile // 2])
    queries = _flat(_tiles(q.unflatten(2, sides), tile))
    keys, values = (_flat(_windows(_tiles(F.pad(x.unflatten(2, sides), around), tile))) for x in (k, v))
    attended = attend(queries, keys, values, mask=neighbours(sides, kernel)).unflatten(3, (tile, tile))
    return attended.unflatten(2, (sides[0] // tile, sides[1] // tile)).transpose(3, 4).flatten(2, 5)


def neighbours(sides: tuple[int, int], kernel: int) -> Tensor:
    """Keys of its tile's window that each query sees: (tiles, tile tile, window window) bool."""
    tile = kernel - 1

    def along(side: int) -> Tensor:  # one axis: (tiles, tile, window)
        query = torch.arange(side).reshape(-1, tile, 1)
        key = query[:, :1] - tile // 2 + torch.arange(2 * tile)
        first = (query - kernel // 2).clamp(0, side - kernel)
        return (key >= first) & (key < first + kernel)

    rows, columns = along(sides[0])[:, None, :, None, :, None], along(sides[1])[None, :, None, :, None, :]
    return (rows & columns).flatten(4).flatten(2, 3).flatten(0, 1)


def _tiles(x: Tensor, tile: int) -> Tensor:
    """(B, N, H, W, D) -> (B, N, rows of tiles, tile, columns of tiles, tile, D)."""
    return x.unflatten(3, (-1, tile)).unflatten(2, (-1, tile))


def _windows(tiles: Tensor) -> Tensor:
    """Each tile with the next in its row and in its column, as one of twice the side."""
    tiles = torch.cat([tiles[:, :, :-1], tiles[:, :, 1:]], 3)
    return torch.cat([tiles[:, :, :, :, :-1], tiles[:, :, :, :, 1:]], 5)


def _flat(tiles: Tensor) -> Tensor:
    """Tiles as sequences: (B, N, tiles, tile tile, D)."""
    return tiles.transpose(3, 4).flatten(4, 5).flatten(2, 3)
