"""Shot detection, and frames that no clip should have: black, frozen, faded.

A cut is where the change between frames stands out from that of neighbouring frames. The rule and
its numbers are those of PySceneDetect's AdaptiveDetector on the command line; it works on one
number per frame (`Signals.frames["content"]`), so another threshold needs no further decoding.

Source: PySceneDetect 0.7, scenedetect/detectors/adaptive_detector.py.

Here: rules on figures of frames. Not here: the figures (signals.py), a network that detects cuts
(learned.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from minisora.errors import UsageError

Array = npt.NDArray[Any]
Span = tuple[float, float]

_BLANK = 0.98  # share of black (or clipped) pixels that makes a frame black (or white), as in FFmpeg's blackdetect
_STILL = 2.0  # of 255: no part of a frozen picture changes more, noise of the codec apart
_FROZEN_SECONDS = 0.5
_FADE_FRAMES = 3  # fewer are a cut
_FADE_SECONDS = 4.0
_FADE_STEP = 0.25  # of 255: a fade goes on as long as brightness goes one way by this


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """Thresholds of the cut detector; the defaults are PySceneDetect's."""

    ratio: float = 3.0  # times the mean change of the frames about it
    content: float = 15.0  # 0..255, at least
    window: int = 2  # frames before and after that it is compared with
    shot_seconds: float = 0.6  # no shot but the last is shorter

    def __post_init__(self) -> None:
        if not (self.window >= 1 and self.ratio > 0 and self.content >= 0 and self.shot_seconds >= 0):
            raise UsageError(
                f"cutting: window={self.window} and ratio={self.ratio:g} are 1 or more and above 0, "
                f"content={self.content:g} and shot_seconds={self.shot_seconds:g} are 0 or more."
            )


def cuts(content: Array, seconds: Array, fps: float, cutting: Cutting) -> list[int]:
    """Numbers of the frames that begin a new shot, without the first frame.

    content: (T,) change since the frame before, 0..255
    seconds: (T,) time of each frame
    fps:     as the file states
    """
    found: list[int] = []
    window, shot_frames = cutting.window, round(cutting.shot_seconds * fps)
    changes, last = content.tolist(), float(seconds[0])
    for i in range(window, len(changes) - window):
        if changes[i] < cutting.content:
            continue
        about = sum(changes[i - window : i] + changes[i + 1 : i + 1 + window]) / (2.0 * window)
        stands_out = about < 1e-5 or min(changes[i] / about, 255.0) >= cutting.ratio
        if stands_out and round((float(seconds[i]) - last) * fps) >= shot_frames:
            found.append(i)
            last = float(seconds[i])
    return found


def shots(cuts: Sequence[int], seconds: Array, stop: float) -> list[Span]:
    """Spans of the shots in seconds. stop: end of the last frame"""
    edges = [float(seconds[0]), *(float(seconds[i]) for i in cuts), stop]
    return list(pairwise(edges))


def black(frames: dict[str, Array]) -> Array:
    """(T,) bool: completely black frames."""
    return np.asarray(frames["black"] >= _BLANK)


def frozen(frames: dict[str, Array]) -> Array:
    """(T,) bool: frames that repeat the frame before, for _FROZEN_SECONDS or longer."""
    still = frames["peak_change"] < _STILL
    still[:1] = False  # nothing is before the first
    seconds = frames["seconds"]
    for start, stop in runs(still):
        if seconds[stop - 1] - seconds[max(0, start - 1)] < _FROZEN_SECONDS:
            still[start:stop] = False
    return np.asarray(still)


def faded(frames: dict[str, Array]) -> Array:
    """(T,) bool: frames of fades to or from black or white, without the blank frames."""
    luma, seconds = frames["luma"], frames["seconds"]
    result = np.zeros(len(luma), dtype=bool)
    for blank, brighter in ((frames["black"] >= _BLANK, 1.0), (frames["clipped"] >= _BLANK, -1.0)):
        for start, stop in runs(blank):
            for number, step in ((stop - 1, 1), (start, -1)):  # out of it, and into it
                fade = _fade(luma * brighter, seconds, number, step)
                result[fade] = True
    return result


def _fade(luma: Array, seconds: Array, number: int, step: int) -> list[int]:
    """Frames of a fade from a blank frame on, forward or backward in time.

    Their brightness moves away from that of the blank frame only, and gradually.
    """
    found: list[int] = []
    at = number + step
    while 0 <= at < len(luma) and abs(seconds[at] - seconds[number]) <= _FADE_SECONDS:
        if luma[at] - luma[at - step] < _FADE_STEP:
            break
        found.append(at)
        at += step
    if len(found) < _FADE_FRAMES:
        return []
    steps = np.diff(luma[[number, *found]])
    return found if steps.max() <= steps.sum() / 2 else []


def runs(mask: Array) -> list[tuple[int, int]]:
    """Runs of True in a mask, each as (first, one past the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
