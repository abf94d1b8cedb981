"""Rotary positions over time, rows and columns.

Source: Su et al. 2021 (arXiv:2104.09864), Eq. 34, with the features of a head divided among three
axes as in Wan (arXiv:2503.20314): rows and columns take 2 * (head_width // 6) features each, time
the rest; pairs are neighbours. Positions are real numbers, so any fps and any time between frames
is possible.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rope_table(positions: Tensor, head_width: int, theta: float = 10_000.0) -> Tensor:
    """Cosine, sine of each pair of features: (L, 3) positions -> (L, head_width/2, 2) float32."""
    side = 2 * (head_width // 6)
    angles = []
    for axis, features in enumerate((head_width - 2 * side, side, side)):
        # float64: theta ** x loses digits in float32; Wan's tables are float64 too
        exponents = torch.arange(0, features, 2, dtype=torch.float64, device=positions.device) / features
        angles.append(positions[:, axis, None].double() * theta**-exponents)
    angle = torch.cat(angles, -1)
    return torch.stack([angle.cos(), angle.sin()], -1).float()


def rotate_(x: Tensor, table: Tensor, *, back: bool = False) -> Tensor:
    """Rotate pairs of features by their angles, or back, in place.

    A pair is a complex number and its rotation one product, three times as fast as four real ones.

    x:      (L, ..., D), contiguous, of float32 or wider; D a multiple of head_width
    table:  (L, head_width/2, 2)
    """
    turns = torch.view_as_complex(table.to(x.dtype))
    turns = turns.view(len(turns), *[1] * (x.ndim - 1), -1)
    pairs = torch.view_as_complex(x.view(*x.shape[:-1], -1, turns.shape[-1], 2))
    pairs.mul_(turns.conj() if back else turns)
    return x
