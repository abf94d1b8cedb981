"""A clip as every world hands it over: frames, captions for stretches of time, and what is known to be true.

Here: the two types that the playroom, the stickers and plain footage share.
Not here: drawing or reading the frames (playroom/, stickers.py, footage.py), storing them (data/).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Caption:
    """What one stretch of a clip shows, in words that hold for that stretch."""

    text: str
    start: float  # seconds after the first frame of the clip
    stop: float  # seconds; start == stop for a caption of one frame
    dense: bool = False  # whether it says all that is known, in one order

    def __post_init__(self) -> None:
        assert self.stop >= self.start >= 0, (self.start, self.stop)


@dataclass(frozen=True, eq=False)
class Clip:
    """One training sample: part of one scene.

    frames:   (T, H, W, 3) uint8 RGB
    captions: several phrasings, for the whole clip and for stretches of it
    truth:    what the world knows (JSON values only); empty for footage
    hints:    (T, H / 8, W / 8, n) int8, what lies in each cell (worlds/playroom/hints.py), where that is known
    """

    key: str  # unique in its source, fit for a file name: letters, digits, '-' and '_'
    frames: Tensor
    fps: float
    captions: tuple[Caption, ...] = ()
    truth: dict[str, Any] = field(default_factory=dict)
    hints: Tensor | None = None
