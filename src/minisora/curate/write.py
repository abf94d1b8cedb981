"""Kept clips into shards for the training loader: cut, resized and re-encoded.

A sample has two members:

    key.mp4     the clip: H.264 in an MP4, all frames of one size at one fps; RGB if lossless
    key.json    captions   [{"text", "start", "stop"}], seconds after the first frame of the clip
                fps, num_frames, height, width
                source, start, stop   the file and the span of the clip in seconds
                origin     place of the annotation
                scores     {name: number}, of the whole shot if it became several clips
                notes      other findings of the analysis
                meta       other fields of the annotation

The index holds fps, num_frames, height, width and `made`, which differs between versions of a clip
with the same key.

Shards follow the order of the table and are closed by size, so they do not depend on the processes.
Correct shards are kept; from the first one that is not, all are written again. A clip that cannot
be read is listed in failed.jsonl before the shard after it is written, so that an interrupted run
resumes with the same shards.

Here: clips to samples, the stage that encodes them, the shards. Not here: the archive
(data/shards.py), what is kept (decide.py).
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from torch import Tensor

from minisora.curate.captions import CaptionTable
from minisora.curate.recipe import Clips
from minisora.curate.table import Row
from minisora.data.shards import Shards, ShardWriter
from minisora.errors import UsageError
from minisora.tables.objects import json_lines
from minisora.video.files import cannot_write, replacing
from minisora.video.frames import fit
from minisora.video.read import read_clip
from minisora.video.write import X264
from minisora.workers.pool import Engine

_FORMAT = 2  # in `made`: raise it where the same piece is read, fitted or coded otherwise
_MOST_BYTES = 256 << 20  # of decoded frames at a time
_PREFIX = "shard"
FAILED = "failed.jsonl"

PIECES = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
        ("start", pa.float64()),
        ("num_frames", pa.int64()),
        ("fps", pa.float64()),
        ("box", pa.list_(pa.int64())),  # top, left, height and width of the picture inside black bars, in pixels
        ("height", pa.int64()),
        ("width", pa.int64()),
        ("json", pa.string()),
        ("made", pa.string()),
    ]
)
_RESULT = pa.schema(
    [("key", pa.string()), ("mp4", pa.binary()), ("reason", pa.string()), ("message", pa.string())],
)


def pieces_of(clip: Row, settings: Clips, table: CaptionTable) -> list[Row]:
    """The samples of a clip, as rows of PIECES: one, or several if it is too long.

    clip: a row of the table, with `scores` and `notes` as dicts
    table: captions that replace those of the annotations
    """
    scores = clip["scores"]
    top, right, bottom, left = clip["notes"]["crop"]
    box = [top, left, round(scores["height"]) - top - bottom, round(scores["width"]) - left - right]
    height, width = fitted_size(box[2], box[3], settings)
    fps = settings.fps or scores["fps"]
    total = max(1, math.floor(scores["duration"] * fps + 1e-6))
    count = 1 if settings.seconds is None else math.ceil(total / max(1, math.floor(settings.seconds * fps + 1e-6)))
    pieces = []
    for number in range(count):
        first, last = total * number // count, total * (number + 1) // count
        start, seconds = clip["start"] + first / fps, (last - first) / fps
        key = clip["key"] if count == 1 else f"{clip['key']}-{number:03d}"
        captions = table.sample(key, start, start + seconds, clip["captions"])
        about = {
            "captions": [{"text": text, "start": 0.0, "stop": seconds} for text in captions],
            "fps": fps,
            "num_frames": last - first,
            "height": height,
            "width": width,
            "source": clip["source"],
            "start": start,
            "stop": start + seconds,
            "origin": clip["origin"],
            "scores": scores,
            "notes": clip["notes"],
            "meta": json.loads(clip["meta"]),
        }
        text = json.dumps(about, ensure_ascii=False, sort_keys=True)
        settled = json.dumps([_FORMAT, clip["hashes"], box, settings.codec, settings.crf])
        pieces.append(
            {
                "key": key,
                "source": clip["source"],
                "start": start,
                "num_frames": last - first,
                "fps": fps,
                "box": box,
                "height": height,
                "width": width,
                "json": text,
                "made": hashlib.sha256(f"{text}{settled}".encode("utf-8", "surrogatepass")).hexdigest()[:32],
            }
        )
    return pieces


def fitted_size(height: int, width: int, settings: Clips) -> tuple[int, int]:
    """The largest (height, width) in multiples that a frame covers without being enlarged.

    At least one multiple each.
    """
    scale = min(1.0, settings.longest_side / max(height, width))
    return tuple(  # type: ignore[return-value]
        max(settings.multiple, math.floor(side * scale / settings.multiple + 1e-6) * settings.multiple)
        for side in (height, width)
    )


@dataclass(frozen=True)
class Cut:
    """The stage from spans of files to encoded clips: PIECES in; key, mp4, reason, message out."""

    media: Path
    settings: Clips

    def __call__(self, pieces: pa.Table, /) -> pa.Table:
        rows = []
        for piece in pieces.to_pylist():
            try:
                data = encode(self._frames(piece), fps=piece["fps"], codec=self.settings.codec, crf=self.settings.crf)
                rows.append({"key": piece["key"], "mp4": data})
            except UsageError as error:
                rows.append({"key": piece["key"], "reason": "unreadable", "message": str(error)})
        return pa.Table.from_pylist(rows, schema=_RESULT)

    def failed(self, pieces: pa.Table, reason: str, message: str) -> pa.Table:
        rows = [{"key": key, "reason": reason, "message": message} for key in pieces.column("key").to_pylist()]
        return pa.Table.from_pylist(rows, schema=_RESULT)

    def _frames(self, piece: Row) -> Iterator[Tensor]:
        """Frames of a piece in chunks, (n, height, width, 3) uint8 each."""
        top, left, height, width = piece["box"]
        at_once = max(1, _MOST_BYTES // (3 * (top + height) * (left + width)))
        for first in range(0, piece["num_frames"], at_once):
            count = min(at_once, piece["num_frames"] - first)
            start = piece["start"] + first / piece["fps"]
            frames = read_clip(self.media / piece["source"], start=start, num_frames=count, fps=piece["fps"])
            inside = frames[:, top : top + height, left : left + width]
            yield fit(inside, piece["height"], piece["width"])[0]


def encode(pieces: Iterator[Tensor], *, fps: float, codec: str, crf: int) -> bytes:
    """Encode an MP4, in one thread: the bytes depend on the number of threads.

    pieces: (n, H, W, 3) uint8 RGB each, both sides even
    codec:  "h264", or "lossless" for every pixel exact
    """
    rate, file = Fraction(fps).limit_denominator(100_000), io.BytesIO()
    lossless = codec == "lossless"
    options = {**X264, "threads": "1", **({"qp": "0"} if lossless else {"crf": str(crf)})}
    with av.open(file, "w", format="mp4") as container:
        encoder = "libx264rgb" if lossless else "libx264"
        stream = cast(av.VideoStream, container.add_stream(encoder, rate=rate, options=options))
        context, convert, number = stream.codec_context, VideoReformatter(), 0
        context.time_base = 1 / rate
        if not lossless:
            context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
            context.color_range = int(ColorRange.MPEG)
        for piece in pieces:
            for picture in piece:
                frame = av.VideoFrame.from_ndarray(picture.numpy(), format="rgb24")
                if not number:
                    stream.width, stream.height = frame.width, frame.height
                    stream.pix_fmt = "rgb24" if lossless else "yuv420p"
                if not lossless:
                    frame = convert.reformat(
                        frame,
                        format="yuv420p",
                        dst_colorspace=Colorspace.ITU709,
                        dst_color_range=ColorRange.MPEG,
                        interpolation=Interpolation.AREA,
                    )
                frame.pts, frame.time_base = number, 1 / rate
                container.mux(stream.encode(frame))
                number += 1
        container.mux(stream.encode(None))
    return file.getvalue()


@dataclass(frozen=True)
class Failure:
    """A sample that could not be written."""

    key: str
    made: str
    reason: str
    message: str


def write_shards(
    pieces: pa.Table,
    stage: Cut,
    engine: Engine,
    folder: Path,
    on_step: Callable[[int, int, Failure | None], None],
    *,
    retry: bool = False,
) -> list[Failure]:
    """Update the shards of a folder to hold exactly these PIECES; correct ones are kept.

    on_step: called with the number of samples done, the number of all, and a failure, if any
    retry:   try failed samples again
    returns  all failed samples, of this run and earlier ones
    """
    keys, mades = (pieces.column(name).to_pylist() for name in ("key", "made"))
    if retry:
        (folder / FAILED).unlink(missing_ok=True)
    failed = _take_failed(folder / FAILED, dict(zip(keys, mades, strict=True)))
    wanted = pieces.filter(pa.array([key not in failed for key in keys], pa.bool_()))
    kept = _keep_prefix(folder, [each for each in zip(keys, mades, strict=True) if each[0] not in failed])
    left, names = wanted.slice(kept), ("fps", "num_frames", "height", "width", "made")
    with ShardWriter(folder, prefix=_PREFIX, max_bytes=stage.settings.shard_mb * 10**6) as writer:
        results = engine(stage, left) if left.num_rows else iter(())
        for number, result in enumerate(row for table in results for row in table.to_pylist()):
            piece, failure = left.slice(number, 1).to_pylist()[0], None
            assert piece["key"] == result["key"], (number, piece["key"], result["key"])
            if result["mp4"] is None:
                failure = Failure(piece["key"], piece["made"], result["reason"], result["message"])
                failed[failure.key] = failure
                _append(folder / FAILED, failure)
            else:
                members = {"mp4": result["mp4"], "json": piece["json"].encode("utf-8", "surrogatepass")}
                writer.add(piece["key"], members, columns={name: piece[name] for name in names})
            on_step(kept + number + 1, wanted.num_rows, failure)
    return [failed[key] for key in keys if key in failed]


def _keep_prefix(folder: Path, wanted: Sequence[tuple[str, str]]) -> int:
    """Delete all shards from the first one on whose samples differ from the wanted ones.

    returns  the number of samples in the remaining shards
    """
    indexes = sorted(folder.glob(f"{_PREFIX}-" + "[0-9]" * 6 + ".parquet"))
    if not indexes:
        return 0
    shards = Shards(folder)  # refuses what it cannot read, before anything is removed
    held = list(zip(shards.keys, shards.columns("made"), strict=True))
    count = 0
    for number, index in enumerate(indexes):
        size = len(pc.unique(pq.read_table(index, columns=["key"]).column("key")))
        if wanted[count : count + size] != held[count : count + size]:
            for other in reversed(indexes[number:]):  # a shard is there while its index is
                other.unlink()
                other.with_suffix(".tar").unlink(missing_ok=True)
            break
        count += size
    return count


def _take_failed(path: Path, made: Mapping[str, str]) -> dict[str, Failure]:
    """Read the failures of clips that are still wanted, by key; others leave the file."""
    failed = {}
    for entry in json_lines(path) if path.exists() else ():
        if not isinstance(entry.value, dict):
            continue  # the last line of a run that was killed as it wrote
        failure = Failure(**entry.value)
        if made.get(failure.key) == failure.made:
            failed[failure.key] = failure
    path.unlink(missing_ok=True)
    if failed:
        with replacing(path) as temporary:
            temporary.write_text("".join(map(_line, failed.values())), encoding="utf-8")
    return failed


def _line(failure: Failure) -> str:
    return json.dumps(asdict(failure), ensure_ascii=False, sort_keys=True) + "\n"


def _append(path: Path, failure: Failure) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(_line(failure))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error
