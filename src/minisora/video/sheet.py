"""Contact sheets: videos laid out as one picture.

Here: tiling frames, with captions and times. Not here: the video itself (clip.py).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from minisora.video.frames import resize

TILE = 128  # pixels high, unless asked for otherwise
_GAP = 4  # pixels between tiles
_TEXT = 12  # pixels high
_LINE = _TEXT + 6
_PAPER, _INK = (24, 24, 24), (235, 235, 235)


def contact_sheet(rows: Sequence[tuple[str, Tensor, float]], *, columns: int = 8, tile: int = TILE) -> Image.Image:
    """Draw one row for each video: its caption, then evenly spaced frames from first to last.

    rows:    (caption, frames (T, H, W, 3) uint8, fps)
    columns: frames in a row; a shorter video shows all its frames
    tile:    rows of pixels of one frame; smaller videos are enlarged by whole factors, unsmoothed
    """
    assert rows and columns > 0 and tile > 0, (len(rows), columns, tile)
    strips = []
    for caption, frames, fps in rows:
        chosen = evenly(len(frames), columns)
        strips.append((caption, _tiles(frames[chosen], chosen, fps, tile)))
    width = max(len(tiles) * (tiles[0].width + _GAP) + _GAP for _, tiles in strips)
    return _stack([_captioned(caption, [tiles], width) for caption, tiles in strips])


def tiled(frames: Tensor, fps: float, *, columns: int, most: int, tile: int = TILE) -> Image.Image:
    """Lay out one video in rows: all frames, or `most` of them, evenly spaced.

    frames:  (T, H, W, 3) uint8
    """
    chosen = evenly(len(frames), most)
    return laid_out(frames[chosen], chosen, fps, columns=columns, tile=tile)


def evenly(count: int, most: int) -> list[int]:
    """Numbers of at most `most` of `count` frames, including the first and the last."""
    chosen: list[int] = torch.linspace(0, count - 1, min(most, count)).round().long().tolist()
    return chosen


def laid_out(frames: Tensor, numbers: Sequence[int], fps: float, *, columns: int, tile: int = TILE) -> Image.Image:
    """Lay out chosen frames of one video in rows. numbers: of the frames, in the video"""
    tiles = _tiles(frames, numbers, fps, tile)
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    return _captioned("", rows, len(rows[0]) * (tiles[0].width + _GAP) + _GAP)


def as_tile(frame: Tensor) -> Tensor:
    """Copy of a frame (H, W, 3) for a later sheet, no higher than its tile there."""
    height, width, _ = frame.shape
    return resize(frame, TILE, max(1, round(width * TILE / height))) if height > TILE else frame.clone()


def _tiles(frames: Tensor, numbers: Sequence[int], fps: float, tile: int) -> list[Image.Image]:
    """Draw frames at the size of the sheet, each labelled with its number and time."""
    picked = frames.cpu()
    height, width = picked.shape[1:3]
    if height < tile:
        zoom = max(1, round(tile / height))
        picked = picked.repeat_interleave(zoom, dim=1).repeat_interleave(zoom, dim=2)
    elif height > tile:
        picked = resize(picked, tile, max(1, round(width * tile / height)))
    tiles = [Image.fromarray(frame.numpy()) for frame in picked]
    font = ImageFont.load_default(_TEXT - 2)
    for number, picture in zip(numbers, tiles, strict=True):
        draw, mark = ImageDraw.Draw(picture), f"{number}  {number / fps:.2f}s"
        if draw.textlength(mark, font) > picture.width - 4:
            mark = str(number)
        draw.text((3, 1), mark, font=font, fill=(255, 255, 255), stroke_width=1, stroke_fill=(0, 0, 0))
    return tiles


def _captioned(caption: str, rows: Sequence[Sequence[Image.Image]], width: int) -> Image.Image:
    font = ImageFont.load_default(_TEXT)
    letters = max(8, int(width / font.getlength("n")))
    lines = textwrap.wrap(caption, letters)
    height = len(lines) * _LINE + sum(row[0].height + _GAP for row in rows) + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        draw.text((_GAP, 2 + number * _LINE), line, font=font, fill=_INK)
    top = len(lines) * _LINE + _GAP
    for row in rows:
        for column, picture in enumerate(row):
            sheet.paste(picture, (_GAP + column * (picture.width + _GAP), top))
        top += row[0].height + _GAP
    return sheet


def _stack(parts: Sequence[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (max(part.width for part in parts), sum(part.height for part in parts)), _PAPER)
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    return sheet
