"""What lies in each cell of a frame, as the renderer knows it: what networks are asked while they are trained.

A network that is only told how far its pictures or its words are off learns slowly to tell a cube from a cone. Asked
in its middle what lies where, it learns sooner: deeply supervised nets, Lee et al. 2015 (arXiv:1409.5185).

Here: the questions and their answers. Not here: who asks them (caption/train.py, train/hints.py).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.worlds.playroom.facts import View
from minisora.worlds.playroom.scene import COLOURS, MATERIALS, MOTIONS, SHAPES, SIZES

CELL = 8  # pixels on a side
NOTHING = -1  # where nothing is asked
HINTS: dict[str, tuple[str, ...]] = {  # what is asked, all but the first only of a cell with a thing, and the answers
    "thing": ("no thing", "a thing"),
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "size": tuple(SIZES),
    "material": tuple(MATERIALS),
    "motion": (*MOTIONS, "leaves", "returns", "turns_back", "moves", "none"),
    "direction": ("no direction", "left", "right", "toward", "away"),
}
_COVERED = 0.15  # share of a cell that a thing must cover for it to be asked about


def hints_of(view: View, masks: Tensor) -> Tensor:
    """The answers for each cell: of the thing that covers most of it, where that is enough; where there is none at
    all only that there is none.

    masks:   (T, H, W) int64, 0 for the background, i + 1 for thing i; H and W multiples of CELL
    returns  (T, H / CELL, W / CELL, HINTS) int8, NOTHING where one is not asked
    """
    things = int(masks.max())
    cells = masks.unflatten(2, (-1, CELL)).unflatten(1, (-1, CELL))
    covered = F.one_hot(cells, things + 1).float().mean((2, 4))  # (T, rows, columns, things + 1)
    hints = torch.full((*covered.shape[:3], len(HINTS)), NOTHING, dtype=torch.int8)
    hints[..., 0].masked_fill_(covered[..., 0] == 1, 0)
    if not things:
        return hints
    share, most = covered[..., 1:].max(-1)
    for seen in view.things:
        said = {
            "thing": "a thing",
            "shape": seen.thing.shape,
            "colour": seen.thing.colour,
            "size": seen.thing.size,
            "material": seen.thing.material,
            "motion": seen.motion,
            "direction": seen.direction or "no direction",
        }
        answers = torch.tensor([HINTS[name].index(said[name]) for name in HINTS], dtype=torch.int8)
        hints[(most == seen.number) & (share >= _COVERED)] = answers
    return hints
