"""Segmentation of the playroom: the colour of the thing in every cell, by a small network.

Each cell is background, one of the eight colours of the playroom's things, or sky. Paint on the
floor is background. Shares are soft, so that areas and centres are finer than a cell.

Here: the network, its masks of a colour, and its targets. Not here: tracks (tracks.py), the wear
that training adds (worlds/wear.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.judge.network import conv
from minisora.video import resize, to_float
from minisora.worlds.playroom.render import Rendered
from minisora.worlds.playroom.scene import COLOURS, Scene

SIDE = 96  # pixels of a frame's smaller side, as the judge looks at it
CELL = 2  # pixels of a cell's side
BACKGROUND, FIRST_COLOUR, SKY = 0, 1, 1 + len(COLOURS)
CLASSES = SKY + 1
_WIDTH = 24


class Segmenter(nn.Module):
    """(F, H, W, 3) uint8 -> (F, CLASSES, H/CELL, W/CELL) logits; H and W multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.PixelUnshuffle(CELL), conv(3 * CELL**2, _WIDTH), conv(_WIDTH, _WIDTH))
        self.coarse = nn.Sequential(conv(_WIDTH, 32, stride=2), conv(32, 32))
        self.coarser = nn.Sequential(conv(32, 32, stride=2), conv(32, 32))
        self.join = conv(32, 32)
        self.leave = nn.Sequential(conv(32 + _WIDTH, _WIDTH), nn.Conv2d(_WIDTH, CLASSES, 1))

    def forward(self, frames: Tensor) -> Tensor:
        x = to_float(frames).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        fine = self.enter(x)
        coarse = self.coarse(fine)
        coarse = self.join(coarse + F.interpolate(self.coarser(coarse), scale_factor=2.0))
        logits: Tensor = self.leave(torch.cat([F.interpolate(coarse, scale_factor=2.0), fine], 1))
        return logits


def fitted(frames: Tensor) -> Tensor:
    """Frames resized for the segmenter: smaller side of SIDE pixels, both sides multiples of 8.

    frames: (T, H, W, 3) uint8, as the result
    """
    scale = SIDE / min(frames.shape[1:3])
    height, width = (max(8, round(side * scale / 8) * 8) for side in frames.shape[1:3])
    return resize(frames, height, width)


def colour_mask(frames: Tensor, colour: str, segmenter: Segmenter) -> Tensor:
    """Mask of the cells that show a thing of a colour: (T, rows, columns) bool."""
    with torch.inference_mode():
        top = segmenter(fitted(frames)).argmax(1)
    mask: Tensor = top == FIRST_COLOUR + list(COLOURS).index(colour)
    return mask


def places(frames: Tensor, colour: str, segmenter: Segmenter) -> Tensor:
    """Centres (T, 2) of a colour's cells, as from `middles`."""
    return middles(colour_mask(frames, colour, segmenter))


def middles(cells: Tensor) -> Tensor:
    """Centres (T, 2) of cells: x, y in halves of the smaller side; NaN if there are none.

    cells: (T, rows, columns) bool
    """
    mask = cells.float()
    rows, columns = mask.shape[1:]
    half = min(rows, columns) / 2
    x = ((torch.arange(columns) + 0.5 - columns / 2) / half * mask).sum((1, 2))
    y = ((torch.arange(rows) + 0.5 - rows / 2)[:, None] / half * mask).sum((1, 2))
    area = mask.sum((1, 2))
    return torch.stack([x, y], 1) / torch.where(area > 0, area, torch.nan)[:, None]


def targets(scenes: Sequence[Scene], rendered: Rendered) -> Tensor:
    """Training targets of the segmenter: shares of each class in a cell.

    returns  (B, T, CLASSES, H/CELL, W/CELL)

    The horizon is a row: background above it is sky.
    """
    assert rendered.masks is not None
    masks, pose, focal = rendered.masks, rendered.pose, rendered.focal
    batch, frames, height, width = masks.shape
    numbers = list(COLOURS)
    named = torch.zeros(batch, 256, dtype=torch.long)
    for row, scene in zip(named, scenes, strict=True):
        for n, thing in enumerate(scene.things):
            row[n + 1] = FIRST_COLOUR + numbers.index(thing.colour)
    labels = named.gather(1, masks.flatten(1).long()).view(batch, frames, height, width)
    slope = (torch.arange(height) + 0.5 - height / 2) / focal[..., None]  # down, for one ahead
    rises = pose[..., 1, 2, None] * slope + pose[..., 2, 2, None] > 0  # (B, T, H): the ray goes up
    labels = torch.where((labels == BACKGROUND) & rises[..., None], SKY, labels)
    shares = [F.avg_pool2d((labels == n).float(), CELL) for n in range(CLASSES)]
    return torch.stack(shares, 2)
