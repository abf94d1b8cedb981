"""Camera motion from optical flow, and the motion of things that it does not explain.

Between two frames a camera that rotates or zooms, or views a plane such as a floor, transforms the
picture by a homography. It is fitted with RANSAC to the flow at corners of the picture; the
residual is motion of things. Its components are taken at the middle of the frame, in halves of the
longer side, x right and y down:

    u = x - x'   is   drift + zoom (x, y) + roll (-y, x) + (shear y, 0)

A camera that orbits a point moves the foreground one way and the background the other. As lower in
the frame means nearer, the picture is sheared, which distinguishes an orbit from a roll.

Here: pairs of frames to figures, the figures of a clip to words. Not here: the flow itself
(motion.py).
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# In a second: right, down in shares of the longer side; zoom as a logarithm; roll in radians,
# clockwise; orbit in radians of shear; camera and things in diagonals. Signs are the camera's: it
# pans right, tilts down, zooms in.
CAMERA_COLUMNS = ("pan", "tilt", "zoom", "roll", "orbit", "camera_motion", "object_motion")
_STEP = 8  # pixels between points
_CORNER = 1e-5  # least eigenvalue of the gradients, in shares of the frame's largest: plain floors count too
_FEWEST = 16  # points
_MISS = 1.0  # pixels that a point may be off
_FEWEST_CELLS = 5  # of 4 x 4 that must agree: fewer are a thing, not the camera

MOVES = {  # words for the negative and the positive
    "pan": ("pan left", "pan right"),
    "tilt": ("tilt up", "tilt down"),
    "zoom": ("zoom out", "zoom in"),
    "roll": ("roll left", "roll right"),
    "orbit": ("orbit left", "orbit right"),
}
_REACH = {"pan": 1.0, "tilt": 1.0, "zoom": 0.4, "roll": 0.4, "orbit": 0.25}  # of the picture's mean drift, for 1
_LEAST = 0.015  # mean drift in shares of the longer side a second: less is no move
_BESIDE = 0.5  # a move is named if it is this share of the largest
_SHAKEN = 0.03  # likewise, of what comes and goes


def fit(flow: Array, luma: Array) -> tuple[float, ...]:
    """The values of CAMERA_COLUMNS for one pair of frames, per frame step.

    NaN if too few points are seen.

    flow: (H, W, 2) pixels from the first to the second; luma: (H, W) uint8 of the first
    """
    height, width = luma.shape
    corners = cv2.cornerMinEigenVal(luma, 7)[_STEP // 2 :: _STEP, _STEP // 2 :: _STEP]
    y, x = np.mgrid[_STEP // 2 : height : _STEP, _STEP // 2 : width : _STEP]
    seen = corners > _CORNER * max(float(corners.max()), 1e-9)
    if seen.sum() < _FEWEST:
        return (math.nan,) * len(CAMERA_COLUMNS)
    half = max(height, width) / 2
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    start = (np.stack([x[seen], y[seen]], axis=-1) - middle) / half
    moved = flow[y[seen], x[seen]] / half
    found, inliers = cv2.findHomography(start, start + moved, cv2.USAC_FAST, _MISS / half)
    if found is None or not _is_spread(start[inliers.reshape(-1) > 0]):
        found = np.eye(3)
    towards = np.concatenate([start, np.ones_like(start[:, :1])], axis=-1) @ found.T
    explained = towards[:, :2] / towards[:, 2:] - start
    diagonal = math.hypot(height, width) / half
    return (
        *_parts(found),
        float(np.hypot(*explained.T).mean()) / diagonal,
        float(np.hypot(*(moved - explained).T).mean()) / diagonal,
    )


def _parts(found: Array) -> tuple[float, float, float, float, float]:
    """Pan, tilt, zoom, roll and orbit of a homography, in halves of the frame's longer side."""
    found = found / found[2, 2]
    drift = found[:2, 2]
    # the derivative of the map at the middle
    (a, b), (c, d) = found[:2, :2] - np.outer(drift, found[2, :2])
    zoom = math.log(max(1e-3, (a + d) / 2))
    roll, orbit = (-c, 0.0) if b * c < 0 and abs(b) < 2 * abs(c) else (0.0, -b)
    return -drift[0] / 2, -drift[1] / 2, zoom, roll, orbit


def _is_spread(points: Array) -> bool:
    cells = np.floor((points + 1) * 2).clip(0, 3)
    return len({(column, row) for column, row in cells.tolist()}) >= _FEWEST_CELLS


def median_rates(pairs: dict[str, Array]) -> dict[str, float]:
    """Camera motion of a clip: medians of MOVES over pairs of frames, per second; NaN if none."""
    return {name: float(np.nanmedian(pairs[name])) if np.isfinite(pairs[name]).any() else math.nan for name in MOVES}


def shake(pairs: dict[str, Array]) -> float:
    """Shake: mean distance of pan and tilt from their medians, in longer sides per second."""
    known = np.isfinite(pairs["pan"])
    if not known.any():
        return math.nan
    parts = [pairs[name][known] - np.median(pairs[name][known]) for name in ("pan", "tilt")]
    return float(np.hypot(*parts).mean())


def words(rates: dict[str, float], shaken: float) -> str:
    """Name the camera's motion: "static", "handheld", or its moves by size: "pan left, zoom in".

    Empty if nothing is known.
    """
    if any(math.isnan(rate) for rate in rates.values()):
        return ""
    drift = {name: abs(rate) * _REACH[name] for name, rate in rates.items()}
    largest = max(drift.values())
    if shaken > _SHAKEN and shaken > largest:
        return "handheld"
    if largest < _LEAST:
        return "static"
    named = [name for name in sorted(drift, key=drift.__getitem__, reverse=True) if drift[name] >= _BESIDE * largest]
    return ", ".join(MOVES[name][rates[name] > 0] for name in named)
