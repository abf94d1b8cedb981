"""Files that are damaged or oddly muxed: read rightly, or refused by name; no crash, no hang.

The files are made by a seeded script from small ones of every format. A process of its own reads
them, so that a crash or a hang of a decoder would be seen, and its memory.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

DAMAGED, ODD = 2000, 500
MOST_SECONDS, MOST_BYTES = 20, 1 << 30  # for one file; over what importing takes
READER = """
import json, resource, sys, time
from pathlib import Path
import torch
from minisora.curate.signals import read_signals
from minisora.errors import UsageError
from minisora.video import probe, read_image, read_video
torch.set_num_threads(1)
for name in Path(sys.argv[1]).read_text().split("\\n"):
    began, row = time.monotonic(), {"name": name}
    for read in (read_video, read_image, probe, read_signals):
        try:
            result = read(Path(name))
        except UsageError as error:
            row[read.__name__] = str(error)
        else:
            if read is read_video:
                frames = result.frames.float().mean((1, 2))
                row["shape"], row["fps"], row["means"] = list(result.frames.shape), result.fps, frames.tolist()
    row["seconds"], row["peak"] = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    print(json.dumps(row), flush=True)
"""
VIDEOS = {
    "a.mp4": ("libx264", "yuv420p"),
    "b.mkv": ("libx264", "yuv444p"),
    "c.webm": ("libvpx-vp9", "yuv420p"),
    "d.avi": ("mpeg4", "yuv420p"),
    "e.ts": ("mpeg2video", "yuv420p"),
    "f.mpg": ("mpeg2video", "yuv420p"),
    "g.flv": ("libx264", "yuv420p"),
    "h.mov": ("qtrle", "rgb24"),
    "i.gif": ("gif", "rgb8"),
    "j.ogv": ("libvpx", "yuv420p"),
    "k.mkv": ("ffv1", "bgr0"),
    "l.apng": ("apng", "rgb24"),
    "m.mp4": ("libx265", "yuv420p10le"),
}
PICTURES = ("a.png", "b.jpg", "c.webp", "d.avif", "e.tiff", "f.bmp", "g.jp2", "h.ppm")


def pictures(seed: int, count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames of smooth colours that differ from one to the next."""
    generator = np.random.default_rng(seed)
    low = generator.integers(0, 256, (count, 3, 4, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BICUBIC)) for one in low]


def write(path: Path, codec: str, form: str, frames: list[np.ndarray]) -> None:
    with av.open(str(path), "w", format="ogg" if path.suffix == ".ogv" else None) as container:
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream = container.add_stream(codec, rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], form
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=form)
            picture.pts, picture.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, found = tmp_path_factory.mktemp("sources"), []
    for number, (name, (codec, form)) in enumerate(VIDEOS.items()):
        write(folder / name, codec, form, pictures(number, 12))
        found.append(folder / name)
    for number, name in enumerate(PICTURES):
        Image.fromarray(pictures(100 + number, 1)[0]).save(folder / name)
        found.append(folder / name)
    return found


def damaged(data: bytes, chance: random.Random) -> bytes:
    """One kind of damage: bits, zeros, a cut, a piece moved, doubled, left out, or foreign."""
    kind, size = chance.randrange(7), len(data)
    at, length = chance.randrange(size), chance.randrange(1, max(2, size // 4))
    if kind == 0:
        changed = bytearray(data)
        for _ in range(chance.choice((1, 4, 32))):
            changed[chance.randrange(size)] = chance.randrange(256)
        return bytes(changed)
    if kind == 1:
        return data[:at] + bytes(min(length, size - at)) + data[at + length :]
    if kind == 2:
        return data[: max(1, at)]
    if kind == 3:
        piece = data[at : at + length]
        rest = data[:at] + data[at + length :]
        to = chance.randrange(len(rest) + 1)
        return rest[:to] + piece + rest[to:]
    if kind == 4:
        return data[: at + length] + data[at:]
    if kind == 5:
        return data[:at] + data[at + length :]
    return data[:at] + chance.randbytes(length) + data[at:]


def read_apart(files: list[Path], folder: Path) -> Iterator[dict[str, object]]:
    """Rows of the reader for all files; raises if it dies or hangs at one."""
    names = [str(path) for path in files]
    (folder / "names.txt").write_text("\n".join(names))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", READER, str(folder / "names.txt")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert process.stdout is not None
    seen = 0
    for line in process.stdout:
        yield json.loads(line)
        seen += 1
    assert process.wait() == 0, f"the reader ended with {process.returncode} at {names[seen : seen + 1]}"
    assert seen == len(names)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_damaged_files_are_read_or_refused(sources, tmp_path):
    chance, files = random.Random(0), []
    for number in range(DAMAGED):
        source = chance.choice(sources)
        path = tmp_path / f"{number}{source.suffix}"
        path.write_bytes(damaged(source.read_bytes(), chance))
        files.append(path)
    rows = list(read_apart(files, tmp_path))
    least = min(int(row["peak"]) for row in rows)  # type: ignore[call-overload]
    slow = [(row["name"], row["seconds"]) for row in rows if float(row["seconds"]) > MOST_SECONDS]  # type: ignore[arg-type]
    assert not slow and max(int(row["peak"]) for row in rows) - least < MOST_BYTES  # type: ignore[call-overload]
    refused = [row for row in rows if "read_video" in row]
    assert all(Path(str(row["name"])).name in str(row["read_video"]) for row in refused)
    assert 0.2 < len(refused) / len(rows) < 0.9


def odd(path: Path, frames: list[np.ndarray], chance: random.Random) -> str:
    """Write frames, of which a decoy stream may be another, in an odd order, at odd times.

    returns  what is odd
    """
    suffix, codec, said = path.suffix, {".ts": "mpeg2video", ".webm": "libvpx-vp9"}.get(path.suffix, "libx264"), []
    decoy = [np.full((24, 32, 3), 255 - n, np.uint8) for n in range(len(frames))]
    with av.open(str(path), "w") as container:
        order = ["decoy", "main"] if chance.random() < 0.5 else ["main", "decoy"]
        flagged = chance.random() < 0.5 and suffix == ".mkv"
        streams = {}
        for kind in order:
            stream = container.add_stream(codec, rate=10, options={"crf": "1", "qmin": "1", "qmax": "2"})
            height, width = (24, 32) if kind == "decoy" else frames[0].shape[:2]
            if flagged and kind == "decoy":
                height, width = frames[0].shape[0] * 2, frames[0].shape[1] * 2  # larger, but not the default
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv444p" if codec == "libx264" else "yuv420p"
            stream.codec_context.color_range = 1
            if suffix == ".mkv":
                stream.disposition = int(flagged and kind == "main")
            streams[kind] = stream
        said += [f"{order[0]} first", "default flag" * flagged]
        if chance.random() < 0.5:
            sound = container.add_stream("libopus" if suffix == ".webm" else "aac", rate=48_000)
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 48_000), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts = 48_000, 0
            container.mux(sound.encode(silence))
            container.mux(sound.encode(None))
        shift = chance.choice((0, 0, 7, 30, 3600))
        said.append(f"clock from {shift}")
        for kind, stream in streams.items():
            for number, frame in enumerate(frames if kind == "main" else decoy):
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                    width=stream.width, height=stream.height, format=stream.pix_fmt, dst_color_range="MPEG"
                )
                picture.pts, picture.time_base = number + shift, Fraction(1, 10)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    if suffix == ".ts" and chance.random() < 0.4:
        path.write_bytes(path.read_bytes() * 2)
        said.append("joined")
    if chance.random() < 0.2:
        path.write_bytes(path.read_bytes() + chance.randbytes(chance.randrange(1, 4000)))
        said.append("bytes after the end")
    return ", ".join(filter(None, said))


def by_ffmpeg(path: Path, height: int, width: int) -> np.ndarray:
    """Frames as ffmpeg's own command chooses and converts them."""
    command = ["ffmpeg", "-v", "error", "-i", f"file:{path}", "-fps_mode", "passthrough", "-f", "rawvideo"]
    command += ["-pix_fmt", "rgb24", "-sws_flags", "bicubic+accurate_rnd+full_chroma_int", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(data, np.uint8).reshape(-1, height, width, 3)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg command here to compare with")
def test_oddly_muxed_files_are_read_as_ffmpeg_reads_them(tmp_path):
    chance, files, oddities = random.Random(1), [], {}
    for number in range(ODD):
        path = tmp_path / f"{number}{chance.choice(('.mkv', '.mp4', '.ts', '.webm'))}"
        oddities[str(path)] = odd(path, pictures(number, 10), chance)
        files.append(path)
    wrong = []
    for row in read_apart(files, tmp_path):
        path = Path(str(row["name"]))
        if "read_video" in row:
            wrong.append((path.name, oddities[str(path)], row["read_video"]))
            continue
        count, height, width, _ = row["shape"]  # type: ignore[misc]
        theirs = by_ffmpeg(path, height, width)
        means = np.array(row["means"])
        same = len(theirs) == count and np.abs(theirs.mean((1, 2)) - means).max() <= 2
        if not same:
            wrong.append((path.name, oddities[str(path)], f"{count} frames, theirs {len(theirs)}"))
    assert not wrong, f"{len(wrong)} of {ODD}: {wrong[:10]}"
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 << 20
