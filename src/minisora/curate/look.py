"""A few frames of a clip as one small picture, for the report.

Frames are read one by one by seeking, so a clip of an hour costs as much as one of a second.

Here: the stage. Not here: the choice of clips and the page (report.py).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor

from minisora.curate.table import Row
from minisora.errors import UsageError
from minisora.video.frames import resize
from minisora.video.read import read_clip

FRAMES = 4  # of each clip
_HEIGHT = 90  # pixels of a frame
_GAP = 2
PLACES = pa.schema([("source", pa.string()), ("start", pa.float64()), ("stop", pa.float64())])
_RESULT = pa.schema([("jpeg", pa.binary())])


@dataclass(frozen=True)
class Look:
    """The stage from PLACES to pictures; null if no frame can be read."""

    media: Path

    def __call__(self, places: pa.Table, /) -> pa.Table:
        return pa.Table.from_pylist([{"jpeg": self._strip(place)} for place in places.to_pylist()], schema=_RESULT)

    def failed(self, places: pa.Table, reason: str, message: str) -> pa.Table:
        return pa.Table.from_pylist([{"jpeg": None}] * places.num_rows, schema=_RESULT)

    def _strip(self, place: Row) -> bytes | None:
        frames: list[Tensor] = []
        for number in range(FRAMES):
            at = place["start"] + (place["stop"] - place["start"]) * (number + 0.5) / FRAMES
            try:
                frame = read_clip(self.media / place["source"], start=at, num_frames=1, fps=1000.0)[0]
            except UsageError:
                continue
            height, width, _ = frame.shape
            frames += [resize(frame, _HEIGHT, max(1, round(width * _HEIGHT / height)))]
            frames += [torch.full((_HEIGHT, _GAP, 3), 255, dtype=torch.uint8)]
        if not frames:
            return None
        file = io.BytesIO()
        Image.fromarray(torch.cat(frames[:-1], dim=1).numpy()).save(file, "jpeg", quality=80)
        return file.getvalue()
