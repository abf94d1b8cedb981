"""Decoding curated samples into clips, in processes that may crash, for training to encode.

Here: the stage. Not here: one sample (data/clips.py), the processes (workers/pool.py), latents
(train/latents.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import torch

from minisora.data.clips import on_grid, to_clip
from minisora.data.shards import BrokenSample, Shards
from minisora.worlds.clip import Caption, Clip

_DECODED = pa.schema(
    [
        ("index", pa.int64()),
        ("frames", pa.large_binary()),  # null where there is a message
        ("shape", pa.list_(pa.int64())),
        ("said", pa.string()),  # JSON: key, fps, captions
        ("message", pa.string()),
    ]
)


@dataclass(frozen=True)
class Decode:
    """The stage from samples of shards to clips that have a caption, cut as `on_grid` does."""

    source: Shards
    side: int
    group: int

    def rows(self, indexes: Iterable[int]) -> pa.Table:
        """The stage's input rows for samples by number."""
        return pa.table({"index": pa.array(indexes, pa.int64())})

    def __call__(self, rows: pa.Table, /) -> pa.Table:
        return pa.Table.from_pylist([self._decoded(i) for i in rows.column("index").to_pylist()], schema=_DECODED)

    def failed(self, rows: pa.Table, reason: str, message: str) -> pa.Table:
        indexes = rows.column("index").to_pylist()
        lost = [{"index": i, "message": f"sample {self.source.keys[i]}: {reason}, {message}."} for i in indexes]
        return pa.Table.from_pylist(lost, schema=_DECODED)

    def _decoded(self, i: int) -> dict[str, Any]:
        key = self.source.keys[i]
        try:
            clip = on_grid(to_clip(key, self.source.read(i)), side=self.side, group=self.group)
            if not clip.captions:
                raise BrokenSample(f"clip {key} has no caption.")
        except BrokenSample as error:
            return {"index": i, "message": str(error)}
        about = {"key": key, "fps": clip.fps, "captions": [asdict(caption) for caption in clip.captions]}
        frames = clip.frames.contiguous().numpy()
        return {"index": i, "frames": frames.tobytes(), "shape": frames.shape, "said": json.dumps(about)}


def decoded(result: pa.Table) -> Iterator[tuple[int, Clip | str]]:
    """Unpack the stage's output: for each sample its number, and the clip or an error message."""
    for row in result.to_pylist():
        if row["message"] is not None:
            yield row["index"], row["message"]
            continue
        about = json.loads(row["said"])
        frames = torch.frombuffer(bytearray(row["frames"]), dtype=torch.uint8).view(row["shape"])
        captions = tuple(Caption(**caption) for caption in about["captions"])
        yield row["index"], Clip(about["key"], frames, about["fps"], captions)
