"""Decoded frames to RGB pixels, with pixel aspect, display matrix and transparency applied.

Not here: finding and decoding frames (read.py), changing their size (frames.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import av
import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import VideoReformatter
from PIL import Image

Background = Literal["white", "black"]
Pixels = npt.NDArray[np.uint8]  # (H, W, 3) RGB


def display_size(frame: av.VideoFrame, stream: av.VideoStream) -> tuple[int, int]:
    """Size with square pixels, before rotation: (width, height)."""
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    if abs(aspect - 1) < 0.02:  # rounding of encoders, not meant
        aspect = 1.0
    return max(1, round(frame.width * aspect)), frame.height


def frame_pixels(
    frame: av.VideoFrame, size: tuple[int, int], background: Background, convert: VideoReformatter
) -> Pixels:
    """RGB pixels of a decoded frame, rotated. convert: one reformatter for all frames of a file"""
    transparent = frame.format.has_palette or any(component.is_alpha for component in frame.format.components)
    plain = convert.reformat(frame, width=size[0], height=size[1], format="rgba" if transparent else "rgb24")
    array = cast(Pixels, plain.to_ndarray())
    if transparent:
        array = _over(array, background)
    try:
        matrix = cast(Mapping[SideData, Any], frame.side_data).get(SideData.DISPLAYMATRIX)
    except ValueError:  # other side data that PyAV has no name for, such as a photo's EXIF
        return np.ascontiguousarray(np.rot90(array, round(frame.rotation / 90)))
    return _turned(array, bytes(matrix or b""))


def _turned(array: Pixels, matrix: bytes) -> Pixels:
    """Apply the display matrix: (x, y) is shown at (a x + c y, b x + d y), y downwards."""
    if len(matrix) < 36:
        return array
    a, b, _, c, d = np.frombuffer(matrix, dtype="<i4")[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        array, right, down = array.transpose(1, 0, 2), c, b
    else:
        right, down = a, d
    return np.ascontiguousarray(array[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])


def _over(rgba: Pixels, background: Background) -> Pixels:
    """Lay a picture over a plain background: (H, W, 4) -> (H, W, 3)."""
    colour, alpha = rgba[..., :3].astype(np.uint16), rgba[..., 3:].astype(np.uint16)
    behind = 255 if background == "white" else 0
    return ((colour * alpha + behind * (255 - alpha) + 127) // 255).astype(np.uint8)


def picture_pixels(picture: Image.Image, background: Background) -> Pixels:
    if picture.mode.startswith("I;16"):  # Pillow would clip 16 bits to 8, not scale them
        array = np.asarray(picture).astype(np.uint16) >> 8
        return np.repeat(array.astype(np.uint8)[..., None], 3, axis=2)
    if picture.has_transparency_data:
        return _over(np.asarray(picture.convert("RGBA")), background)
    return np.array(picture.convert("RGB"))
