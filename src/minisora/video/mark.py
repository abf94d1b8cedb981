"""A visible mark: a few words in the lower right corner of every frame.

White on a dark edge, so that it is legible on light and dark, in the font that comes with Pillow.
Pixels away from the letters stay as they are.

Here: drawing it. Not here: the mark in a file's metadata (origin.py), which videos get one
(generate/plan.py).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Opacity = npt.NDArray[np.float32]
_SHARE = 1 / 25  # of the height of a frame, for that of a letter
_LEAST, _SMALLEST = 9, 5  # pixels: of a letter, and of one in a mark that does not fit the width
_DARK, _WHITE = 0.75, 0.95  # opacity of edge and letters


def marked(frames: Tensor, text: str) -> Tensor:
    """Copy of frames with a mark. frames: (T, H, W, 3) uint8; text: empty for none"""
    if not text:
        return frames
    edge, letters = (torch.from_numpy(each).to(frames.device) for each in _mark(text, *frames.shape[1:3]))
    rows, columns = edge.shape[:2]
    made = frames.clone()
    corner = made[:, made.shape[1] - rows :, made.shape[2] - columns :]
    drawn = 255 * letters + (1 - letters) * (1 - edge) * corner.float()
    corner.copy_(torch.where(edge + letters > 0, drawn.round().to(torch.uint8), corner))
    return made


@lru_cache(maxsize=16)
def _mark(text: str, height: int, width: int) -> tuple[Opacity, Opacity]:
    """Opacity of edge and letters in the lower right corner: (rows, columns, 1) float32, 0..1"""
    for size in range(max(_LEAST, round(height * _SHARE)), _SMALLEST - 1, -1):
        font, edge = ImageFont.load_default(size), max(1, size // 12)
        left, top, right, bottom = font.getbbox(text, stroke_width=edge)
        margin = size // 2
        columns, rows = int(right - left) + margin, int(bottom - top) + margin
        if columns <= width and rows <= height:
            break
    shape = min(columns, width), min(rows, height)
    at, layers = (-left, -top), []
    for stroke, opacity in ((edge, _DARK), (0, _WHITE)):
        layer = Image.new("L", shape, 0)
        ImageDraw.Draw(layer).text(at, text, fill=255, font=font, stroke_width=stroke)
        layers.append(np.asarray(layer, dtype=np.float32)[:, :, None] * np.float32(opacity / 255))
    return layers[0], layers[1]
