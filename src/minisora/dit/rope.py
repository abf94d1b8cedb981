"""Rotary positions over time, rows and columns.

Source: Su et al. 2021 (arXiv:2104.09864), Eq. 34, with the features of a head shared out among three axes as in Wan
(arXiv:2503.20314): rows and columns take 2 * (head_width // 6) features each, time the rest; pairs are neighbours.
Positions are real numbers, so any frame rate and any place between frames can be said.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rope_table(positions: Tensor, head_width: int, theta: float = 10_000.0) -> Tensor:
    """(L, 3) positions -> (L, 2, head_width/2) float32: cosines and sines of every pair of features."""
    side = 2 * (head_width // 6)
    angles = []
    for axis, features in enumerate((head_width - 2 * side, side, side)):
        # float64: theta ** x loses digits in float32, and Wan's tables are made so
        exponents = torch.arange(0, features, 2, dtype=torch.float64, device=positions.device) / features
        angles.append(positions[:, axis, None].double() * theta**-exponents)
    angle = torch.cat(angles, -1)
    return torch.stack([angle.cos(), angle.sin()], 1).float()


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn pairs of features by their angles. x: (L, N, head_width), table: (L, 2, head_width/2); dtype of x kept.

    A pair is a complex number and its turn one product: three times as fast as four real ones, which are what a
    compiler can fuse.
    """
    pairs = x.float().unflatten(-1, (-1, 2))
    if not torch.compiler.is_compiling():
        turns = torch.view_as_complex(table.mT.contiguous())
        turned = torch.view_as_real(torch.view_as_complex(pairs) * turns[:, None])
        return turned.flatten(-2).to(x.dtype)
    even, odd = pairs.unbind(-1)
    cos, sin = table[:, None, 0], table[:, None, 1]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2).to(x.dtype)
