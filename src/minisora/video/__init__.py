"""Files <-> frames: reading and writing videos and pictures, sizes, contact sheets."""

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
