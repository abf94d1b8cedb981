"""Files <-> frames: reading and writing videos and pictures, sizes, contact sheets.

Names are loaded when they are first used: decoding alone does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minisora.video.clip import Source, Stream, Video, read_video
    from minisora.video.frames import Shape, at_fps, fit, fit_size, resize, to_float, to_uint8
    from minisora.video.pixels import Background
    from minisora.video.read import Probe, probe, read_clip, read_frames, read_image
    from minisora.video.sheet import contact_sheet
    from minisora.video.write import check_writable, write_stream, write_video

__all__ = [
    "Background",
    "Probe",
    "Shape",
    "Source",
    "Stream",
    "Video",
    "at_fps",
    "check_writable",
    "contact_sheet",
    "fit",
    "fit_size",
    "probe",
    "read_clip",
    "read_frames",
    "read_image",
    "read_video",
    "resize",
    "to_float",
    "to_uint8",
    "write_stream",
    "write_video",
]
_HOME = {
    **dict.fromkeys(("Source", "Stream", "Video", "read_video"), "clip"),
    **dict.fromkeys(("Shape", "at_fps", "fit", "fit_size", "resize", "to_float", "to_uint8"), "frames"),
    **dict.fromkeys(("Probe", "probe", "read_clip", "read_frames", "read_image"), "read"),
    **dict.fromkeys(("check_writable", "write_stream", "write_video"), "write"),
    "Background": "pixels",
    "contact_sheet": "sheet",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'minisora.video' has no attribute {name!r}")
    return getattr(importlib.import_module(f"minisora.video.{_HOME[name]}"), name)
