"""Scores of a clip from figures of its frames: the names that thresholds of a recipe may use.

A clip is any span of a file; another span needs no further decoding. A score that a span does not
define (motion, if only one frame was sampled) is None and not a number that a threshold would
accept.

Here: the scores and their descriptions. Not here: the figures of frames (signals.py), scores by
networks (learned.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from minisora.curate import camera
from minisora.curate.shots import Span, black, faded, frozen
from minisora.curate.signals import Signals

Array = npt.NDArray[Any]

# Name: version, what it is and its unit. Raise the version of a score that comes out otherwise for
# the same file, by a change here, in signals.py, motion.py, camera.py or shots.py (`cuts` stands
# for the shots): files are measured again.
SCORES: dict[str, tuple[int, str]] = {
    "duration": (1, "seconds of the span that the file holds"),
    "missing_share": (1, "share of the span that the file does not hold"),
    "frames": (1, "number of frames"),
    "fps": (1, "frames per second, as the file says"),
    "width": (1, "pixels, as shown"),
    "height": (1, "pixels, as shown"),
    "short_side": (1, "pixels, as shown"),
    "aspect": (1, "width / height, as shown"),
    "file_bitrate": (1, "kbit/s of the whole file"),
    "bars_share": (2, "share of the picture that black bars take"),
    "cuts": (2, "cuts inside the span"),
    "black_share": (2, "share of frames that are black"),
    "frozen_share": (2, "share of frames that repeat the frame before, in stretches of half a second or more"),
    "faded_share": (2, "share of frames in a fade from or to black or white"),
    "damaged_share": (1, "share of frames that the decoder failed at or patched"),
    "interlaced": (1, "share of frames that the file marks as interlaced; they are measured deinterlaced"),
    "hdr": (1, "1 for HDR, PQ or HLG, else 0; it is measured tone-mapped"),
    "brightness": (2, "mean luma, 0..1"),
    "contrast": (2, "standard deviation of luma in a frame, 0..1"),
    "dark_pixels": (2, "share of pixels that are black"),
    "clipped_pixels": (2, "share of pixels that are white"),
    "flicker": (2, "mean jump of a frame's mean luma against its neighbours', 0..1"),
    "sharpness": (2, "variance of the Laplacian of luma at 256 pixels on the longer side; median over frames"),
    "motion": (2, "mean length of optical flow, frame diagonals per second"),
    "codec_motion": (1, "mean length of the codec's motion vectors, frame diagonals per second"),
    "camera_motion": (2, "mean length of the part of the flow that the camera explains, frame diagonals per second"),
    "object_motion": (2, "mean length of what the camera leaves unexplained, frame diagonals per second"),
    "object_share": (2, "object_motion / (object_motion + camera_motion)"),
    "pan": (2, "longer sides per second that the camera turns to the right; to the left below 0"),
    "tilt": (2, "longer sides per second that the camera turns down; up below 0"),
    "zoom": (2, "logarithm of the enlargement per second; out below 0"),
    "roll": (2, "radians per second that the camera leans to the right; to the left below 0"),
    "orbit": (2, "radians of shear per second as the camera circles to the right; to the left below 0"),
    "shake": (2, "longer sides per second of drift that comes and goes"),
}
LABELS: dict[str, tuple[int, str]] = {  # columns of text and of lists, which no threshold may name
    "camera": (2, "the camera in words: static, handheld, pan left, zoom in, ...; empty where unknown"),
    "codec": (1, "of the file"),
    "colour": (1, "primaries/transfer/matrix of the file, such as bt2020/hlg/bt2020nc; unknown where it says none"),
    "pixel_format": (1, "of the file"),
    "crop": (2, "[top, right, bottom, left], pixels of black bars, as shown"),
    "hashes": (2, "64-bit perceptual hashes of a few frames"),
}
HASHES = 4  # of a clip
_MEANS = {  # score: figure of frames and what divides it
    "brightness": ("luma", 255.0),
    "contrast": ("contrast", 255.0),
    "dark_pixels": ("black", 1.0),
    "clipped_pixels": ("clipped", 1.0),
    "damaged_share": ("damaged", 1.0),
    "interlaced": ("interlaced", 1.0),
}
_LENGTHS = ("motion", "codec_motion", "camera_motion", "object_motion")
_ALL_BAR = 0.9  # a frame whose bars take this much of a side is dark, not barred


class Scored:
    """Scores of any span of one file; `cuts` are numbers of frames."""

    def __init__(self, signals: Signals, cuts: Sequence[int]) -> None:
        self._signals, self._cuts = signals, np.array(cuts, dtype=np.int64)
        self._marks = {
            "black_share": black(signals.frames),
            "frozen_share": frozen(signals.frames),
            "faded_share": faded(signals.frames),
        }

    def scores(self, span: Span) -> dict[str, Any]:
        """The columns SCORES and LABELS of a span, in seconds after the first frame."""
        media, frames, samples = self._signals.media, self._signals.frames, self._signals.samples
        inside = self._inside(span)
        taken = np.isin(samples["frame"], inside)
        start, stop = max(0.0, span[0]), min(span[1], media.seconds)
        duration = max(0.0, stop - start)
        crop = _crop(samples, taken)
        top, right, bottom, left = crop
        sides = (media.height, media.width, media.height, media.width)
        result: dict[str, Any] = {
            "duration": duration,
            "missing_share": 1 - duration / (span[1] - span[0]),
            "frames": len(inside),
            "fps": media.fps,
            "width": media.width,
            "height": media.height,
            "short_side": min(media.width, media.height),
            "aspect": media.width / media.height,
            "file_bitrate": media.size_bytes * 8 / 1000 / media.seconds,
            "bars_share": 1 - (1 - top - bottom) * (1 - left - right),
            "cuts": int(np.isin(self._cuts, inside[1:]).sum()),
            **{name: _mean(mark[inside]) for name, mark in self._marks.items()},
            **{name: _mean(frames[figure][inside] / most) for name, (figure, most) in _MEANS.items()},
            "hdr": float(media.hdr),
            "flicker": _flicker(frames["luma"][inside] / 255),
            "sharpness": _median(samples["sharpness"][taken]),
            **self._moves(taken),
            "codec": media.codec,
            "colour": media.colour,
            "pixel_format": media.pixel_format,
            "crop": [round(share * side) for share, side in zip(crop, sides, strict=True)],
            "hashes": self._hashes(taken),
        }
        return {name: _none_for_nan(value) for name, value in result.items()}

    def _inside(self, span: Span) -> Array:
        """Numbers of the frames that begin in a span, to a quarter of a frame: containers round."""
        slack = 0.25 / self._signals.media.fps
        low, high = np.searchsorted(self._signals.frames["seconds"], (span[0] - slack, span[1] - slack))
        return np.arange(low, high)

    def _moves(self, taken: Array) -> dict[str, Any]:
        """Motion between samples that are both in the span, so that no cut is included."""
        samples, pairs = self._signals.samples, taken.copy()
        pairs[1:] &= taken[:-1]
        pairs[:1] = False
        over = np.searchsorted(self._cuts, samples["frame"], side="right")  # cuts up to each sample
        pairs[1:] &= over[1:] == over[:-1]
        result: dict[str, Any] = {name: _mean(samples[name][pairs]) for name in _LENGTHS if name != "codec_motion"}
        result["codec_motion"] = _mean(samples["codec_motion"][taken])
        moved = result["camera_motion"] + result["object_motion"]
        result["object_share"] = result["object_motion"] / moved if moved else 0.0
        between = {name: samples[name][pairs] for name in camera.CAMERA_COLUMNS}
        rates, shaken = camera.median_rates(between), camera.shake(between)
        return result | rates | {"shake": shaken, "camera": camera.words(rates, shaken)}

    def _hashes(self, taken: Array) -> list[int]:
        hashes = self._signals.hashes[taken].tolist()
        count = min(HASHES, len(hashes))
        return [hashes[int((number + 0.5) * len(hashes) / count)] for number in range(count)]


def _crop(samples: dict[str, Array], taken: Array) -> tuple[float, float, float, float]:
    """Bars common to all frames but dark ones, in shares of the height or width."""
    bars = np.stack([samples[name][taken] for name in ("top", "right", "bottom", "left")], axis=-1)
    bars = bars[(bars < _ALL_BAR).all(1)]
    top, right, bottom, left = bars.min(0).tolist() if len(bars) else (0.0,) * 4
    return top, right, bottom, left


def _flicker(luma: Array) -> float:
    return _mean(np.abs(luma[1:-1] - (luma[:-2] + luma[2:]) / 2)) if len(luma) > 2 else math.nan


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _median(values: Array) -> float:
    return float(np.median(values)) if len(values) else math.nan


def _none_for_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
