"""Motion between two frames: optical flow, the camera's share of it, and codec motion vectors.

Flow is DIS (Kroeger et al. 2016, arXiv:1603.03590) at the size of signals.py; identical frames skip
it. Lengths are in frame diagonals per second, so that size and fps do not matter.

The codec's motion vectors are almost free, as the decoder has them anyway. They serve as a first
estimate, to drop static clips. They say what was cheap to encode, which is not always real motion.

Here: one pair of frames to figures. Not here: camera motion (camera.py), scores of a clip
(scores.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type as SideData
from av.video.frame import PictureType

from minisora.curate.camera import CAMERA_COLUMNS, fit

Array = npt.NDArray[Any]

# Mean lengths in diagonals a second, of the flow and of the codec's vectors since the last sample.
MOTION_COLUMNS = ("motion", "codec_motion", *CAMERA_COLUMNS)
_SAME = 0.02  # of 255: mean change of brightness below which two frames are the same


class Motion:
    """Motion figures between successive samples; keeps the last one.

    flow_above: codec_motion below which optical flow is skipped and the codec trusted
    """

    def __init__(self, flow_above: float = 0.0) -> None:
        self._flow_above = flow_above
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._before: tuple[Array, float] | None = None
        self._reference = 0.0  # seconds of the last reference frame
        self._vectors: list[float] = []  # of the frames since the last sample

    def listen(self, frame: av.VideoFrame, seconds: float) -> None:
        """Add a frame's motion vectors: of every frame in display order, before `since_last`.

        Only P frames are used, which refer to one earlier frame: the last one that is no B frame.
        """
        if frame.pict_type == PictureType.P and seconds > self._reference:
            self._vectors.append(vector_length(frame) / (seconds - self._reference))
        if frame.pict_type != PictureType.B:
            self._reference = seconds

    def since_last(self, luma: Array, seconds: float) -> tuple[float, ...]:
        """The values of MOTION_COLUMNS since the last sample; NaN if they are unknown.

        luma: (H, W) uint8, as displayed, at `seconds`
        """
        before, self._before = self._before, (luma, seconds)
        known = [length for length in self._vectors if not math.isnan(length)]
        vectors = sum(known) / len(known) if known else math.nan
        self._vectors = []
        if before is None or seconds <= before[1]:
            return (math.nan, vectors, *(math.nan,) * len(CAMERA_COLUMNS))
        if cv2.mean(cv2.absdiff(before[0], luma))[0] < _SAME:
            return (0.0, vectors, *(0.0,) * len(CAMERA_COLUMNS))
        if vectors < self._flow_above:
            return (vectors, vectors, *(math.nan,) * len(CAMERA_COLUMNS))
        flow = self._search.calc(before[0], luma, cast(Any, None))
        lasted = seconds - before[1]
        return (mean_length(flow) / lasted, vectors, *(value / lasted for value in fit(flow, before[0])))


def mean_length(flow: Array) -> float:
    """Mean length of a flow (H, W, 2) in pixels, in diagonals."""
    height, width = flow.shape[:2]
    return float(cv2.magnitude(flow[..., 0], flow[..., 1]).mean()) / math.hypot(height, width)


def vector_length(frame: av.VideoFrame) -> float:
    """Mean length of a frame's motion vectors in diagonals, weighted by area; NaN if none."""
    data = cast(Mapping[SideData, Any], frame.side_data).get(SideData.MOTION_VECTORS)
    if data is None or not len(vectors := data.to_ndarray()):
        return math.nan
    scale = np.maximum(vectors["motion_scale"], 1).astype(np.float64)
    length = np.hypot(vectors["motion_x"] / scale, vectors["motion_y"] / scale)
    area = vectors["w"].astype(np.float64) * vectors["h"]
    return float((length * area).sum() / area.sum()) / math.hypot(frame.height, frame.width)
