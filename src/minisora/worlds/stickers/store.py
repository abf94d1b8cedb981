"""The animated stickers: from npm packages to cached frames that `render` reads.

2,109 animated WebP files of 256x256 RGBA, in the npm packages `@lobehub/fluent-emoji-anim-1` to
`-4`: the Fluent emoji of Microsoft, MIT. Each becomes one `.npy` in the cache: (T, h, 4, w) uint8,
colour multiplied by alpha, cropped to what is ever visible, STORED_FPS frames per second (twice the
fps of most training, so that no frame is skipped or held), and it loops.

Here: fetching and shrinking (`prepare`), reading (`load`).
Not here: names (names.py), stagings (staging.py, drawing.py).
"""

from __future__ import annotations

import functools
import io
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from minisora.errors import UsageError
from minisora.worlds.fetch import Asset, cache_folder, fetch, members

LONG_SIDES = (128, 64)  # pixels; a small actor is drawn from the small one, which is four times as fast
STORED_FPS = 16.0
FOLDER = f"stickers-{STORED_FPS:g}fps"  # in the cache; give it another name where LONG_SIDES, ASSETS or `shrink` change

_LICENCE = "MIT (package.json); Fluent Emoji, copyright Microsoft Corporation, MIT"
_SHA256 = {
    1: "4c03ac178c1eabf2e2a16dd498f3cc2b92dc30ec3466ae38fdc497d4774c99ea",
    2: "e431da8172e394036c330faa77648d6fbbae1fd3b0be95637c4497c9075019c0",
    3: "3624d0c34c819c1794b74ccf6ae9034adff7c4cb6318dd2a645145f0196feb43",
    4: "3d4c08f1e321f70808ef4996aba0ab575a9d97b6c56ffffc92cf6161a7836aa3",
}
ASSETS = tuple(
    Asset(
        registry="npm",
        name=f"@lobehub/fluent-emoji-anim-{part}",
        version="1.0.0",
        file=f"lobehub-fluent-emoji-anim-{part}-1.0.0.tgz",
        sha256=sha256,
        licence=_LICENCE,
    )
    for part, sha256 in _SHA256.items()
)


def prepare(*, workers: int = 1, progress: Callable[[int], None] = lambda done: None) -> None:
    """Fetch the packages and shrink every animated sticker into the cache; resumable.

    workers:  processes that decode; one takes about eight minutes
    progress: called with the number of package files read so far
    """
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    seen = 0
    for asset in ASSETS:
        done = folder / f"{asset.file}.done"
        if done.exists():
            continue
        package = fetch(asset)
        with ProcessPoolExecutor(workers) as pool:
            waiting = set()
            for name, data in members(package, lambda name: name.endswith(".webp")):
                key = Path(name).stem
                seen += 1
                if not _path(folder, key, LONG_SIDES[-1]).exists():
                    waiting.add(pool.submit(_store, data, key, folder))
                if len(waiting) > 4 * workers:
                    first = next(as_completed(waiting))
                    waiting.remove(first)
                    first.result()
                progress(seen)
            for job in waiting:
                job.result()
        done.write_text(json.dumps({"sha256": asset.sha256}))


def missing(keys: Iterable[str]) -> list[str]:
    """The stickers that are missing from the cache."""
    folder = _folder()
    return [key for key in keys if not _path(folder, key, LONG_SIDES[-1]).exists()]


def load(key: str, long_side: int = LONG_SIDES[0]) -> NDArray[np.uint8]:
    """(T, h, 4, w) uint8, premultiplied, STORED_FPS frames per second; a memory map.

    long_side: of h and w, in pixels; one of LONG_SIDES

    Raises UsageError when the sticker is not in the cache.
    """
    return _load(_path(_folder(), key, long_side))


@functools.lru_cache(maxsize=512)  # open maps, not copies: the pages stay with the system
def _load(path: Path) -> NDArray[np.uint8]:
    if not path.exists():
        raise UsageError(
            f"the sticker {path.stem} is not in the cache ({path.parent}). "
            "Fetch the stickers first: minisora.worlds.stickers.prepare()."
        )
    frames: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return frames


def shrink(webp: bytes) -> list[NDArray[np.uint8]] | None:
    """Frames of a WebP as `load` returns them, for each of LONG_SIDES; None if not animated."""
    with Image.open(io.BytesIO(webp)) as image:
        count = getattr(image, "n_frames", 1)
        if count == 1:
            return None
        frames, ends, end = [], [], 0.0
        for frame in range(count):
            image.seek(frame)
            frames.append(image.convert("RGBA"))
            end += image.info["duration"] / 1000
            ends.append(end)
    moments = (np.arange(max(2, round(end * STORED_FPS))) + 1e-6) / STORED_FPS
    chosen = [frames[min(index, count - 1)] for index in np.searchsorted(ends, moments, side="right")]
    visible = np.max([np.asarray(frame)[..., 3] for frame in chosen], axis=0) > 8
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    # "RGBa" is premultiplied: a transparent pixel has no colour to bleed in
    cut = [frame.convert("RGBa").crop(box) for frame in chosen]
    return [_resize(cut, long_side) for long_side in LONG_SIDES]


def _resize(frames: list[Image.Image], long_side: int) -> NDArray[np.uint8]:
    scale = long_side / max(frames[0].size)
    width, height = (max(1, round(side * scale)) for side in frames[0].size)
    shrunk = [frame.resize((width, height), Image.Resampling.HAMMING) for frame in frames]
    pixels = [np.frombuffer(each.tobytes(), np.uint8).reshape(height, width, 4) for each in shrunk]
    return np.ascontiguousarray(np.stack(pixels).transpose(0, 1, 3, 2))


def _store(webp: bytes, key: str, folder: Path) -> None:
    for frames, long_side in zip(shrink(webp) or [], LONG_SIDES, strict=False):
        temporary = folder / f"{key}.{os.getpid()}"
        with temporary.open("wb") as file:
            np.save(file, frames)
        os.replace(temporary, _path(folder, key, long_side))


def _path(folder: Path, key: str, long_side: int) -> Path:
    return folder / f"{key}-{long_side}px.npy"


def _folder() -> Path:
    return cache_folder() / FOLDER
