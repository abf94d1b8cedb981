"""Hints: the true content of each cell of a frame, from the renderer, as auxiliary labels.

A network trained only on its output loss learns slowly to distinguish a cube from a cone. With
auxiliary labels for its middle layers it learns sooner: deeply supervised nets, Lee et al. 2015
(arXiv:1409.5185).

Here: the labels. Not here: the losses that use them (caption/train.py, train/hints.py).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.worlds.playroom.facts import View
from minisora.worlds.playroom.scene import COLOURS, MATERIALS, MOTIONS, SHAPES, SIZES

CELL = 8  # pixels on a side
NOTHING = -1  # label of a hint that does not apply
HINTS: dict[str, tuple[str, ...]] = {  # hints and their classes; all but the first apply only to cells with a thing
    "thing": ("no thing", "a thing"),
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "size": tuple(SIZES),
    "material": tuple(MATERIALS),
    "motion": (*MOTIONS, "leaves", "returns", "turns_back", "moves", "none"),
    "direction": ("no direction", "left", "right", "toward", "away"),
}
_COVERED = 0.15  # least share of a cell that a thing covers for the hints to apply


def hints_of(view: View, masks: Tensor) -> Tensor:
    """Labels of each cell, from the thing that covers most of it, if it covers enough.

    In a cell without things only "no thing" is labelled.

    masks:   (T, H, W) int64, 0 for the background, i + 1 for thing i; H and W multiples of CELL
    returns  (T, H / CELL, W / CELL, HINTS) int8, NOTHING where a hint does not apply
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
        answers_of_thing = {
            "thing": "a thing",
            "shape": seen.thing.shape,
            "colour": seen.thing.colour,
            "size": seen.thing.size,
            "material": seen.thing.material,
            "motion": seen.motion,
            "direction": seen.direction or "no direction",
        }
        answers = torch.tensor([HINTS[name].index(answers_of_thing[name]) for name in HINTS], dtype=torch.int8)
        hints[(most == seen.number) & (share >= _COVERED)] = answers
    return hints
