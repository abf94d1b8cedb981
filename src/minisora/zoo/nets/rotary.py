"""Rotary positions in the plane: queries and keys turned by angles that row and column give.

Su et al. 2021, arXiv:2104.09864 (RoPE). In the plane, as FiT and HDiT have it, half of the rotated
pairs turn with the row and half with the column.
"""

from __future__ import annotations

import torch
from torch import Tensor


def angles(places: Tensor, rates: Tensor) -> Tensor:
    """Angles of each place: its row times the rates, then its column times the rates.

    places: (..., 2) row and column; rates: (R,) or with leading axes that broadcast
    returns (..., 2 R)
    """
    return torch.cat([places[..., :1] * rates, places[..., 1:] * rates], -1)


def rotated(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the first 2 R channels of x in pairs (n, R + n); the others stay.

    x: (..., L, D); turn: (..., L, R) angles, 2 R <= D
    """
    count = turn.shape[-1]
    a, b, rest = x.split([count, count, x.shape[-1] - 2 * count], -1)
    cos, sin = turn.cos().to(x.dtype), turn.sin().to(x.dtype)
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)


def grid(rows: int, columns: int) -> Tensor:
    """Row and column of each cell, by rows: (rows columns, 2) float32."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([row, column], -1).flatten(0, 1).float()
