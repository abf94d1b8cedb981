"""The clip, common to all worlds: frames, captions for stretches of time, and ground truth.

Here: the two types that the playroom, the stickers and plain footage share.
Not here: drawing or reading the frames (playroom/, stickers.py, footage.py), storing them (data/).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Caption:
    """A caption that is true of one stretch of a clip."""

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
    truth:    ground truth of the world (JSON values only); empty for footage
    hints:    (T, H / 8, W / 8, n) int8, the content of each cell (worlds/playroom/hints.py), where
        it is known
    """

    key: str  # unique in its source, fit for a file name: letters, digits, '-' and '_'
    frames: Tensor
    fps: float
    captions: tuple[Caption, ...] = ()
    truth: dict[str, Any] = field(default_factory=dict)
    hints: Tensor | None = None
