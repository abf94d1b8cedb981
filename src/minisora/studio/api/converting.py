"""The process that writes a clip in another format, or with a mark.

It is confined as the one that decodes uploads (sandbox.py), but may write files, of bounded size.

Here: what runs in that process. Not here: starting it, and keeping what it writes (downloads.py,
../providers.py).
"""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from minisora.errors import DiskFull, UsageError
from minisora.studio.api.sandbox import leave_network, limit
from minisora.studio.api.settings import DownloadBounds

_SLACK = 0.0005  # seconds: a moment is rounded, as are the times of frames in Matroska


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A file to write, its format by suffix.

    height, width: of the frames; a file may hold more below and on the right, to be of even size
    at:            seconds, in whole milliseconds; a .png is of the frame that is shown then
    mark:          words on every frame; empty for none
    """

    source: str
    target: str
    height: int
    width: int
    at: float = 0.0
    mark: str = ""


def main() -> None:
    """Write the file that the first argument says within the bounds of the second, both JSON."""
    wanted, bounds = Conversion(**json.loads(sys.argv[1])), DownloadBounds(**json.loads(sys.argv[2]))
    leave_network()
    limit(bounds, bounds.file_bytes)
    answer = {"refused": "", "full": False}
    try:
        convert(wanted)
    except UsageError as error:
        answer = {"refused": str(error), "full": isinstance(error, DiskFull)}
    except MemoryError:
        answer["refused"] = f"{wanted.source} takes too much memory to be converted."
    print(json.dumps(answer))


def command(wanted: Conversion, bounds: DownloadBounds) -> list[str]:
    """Command line of the process."""
    code = f"from {__name__} import main; main()"
    return [sys.executable, "-B", "-P", "-c", code, json.dumps(asdict(wanted)), json.dumps(asdict(bounds))]


def convert(wanted: Conversion) -> None:
    """Decode a file, and write its frames, with its sound and the request in it.

    Raises UsageError for what cannot be decoded or written.
    """
    import torch

    from minisora.video import Source, Stream
    from minisora.video.decode import decode
    from minisora.video.frames import Frames, derived, in_pieces
    from minisora.video.mark import marked
    from minisora.video.read import read_comment
    from minisora.video.recording import Recording
    from minisora.video.sound import Sound

    source, target, size = Path(wanted.source), Path(wanted.target), (wanted.height, wanted.width)
    frames: Frames
    sound: tuple[Sound, ...] = ()
    if target.suffix == ".png":
        with closing(decode(source, wanted.at, "white")) as shown:
            for frame in shown:
                if frame.seconds + frame.duration > wanted.at + _SLACK:
                    break
            frames, fps = torch.from_numpy(frame.pixels())[None], frame.rate
    else:
        clip = Recording.open(Source(source, ""))
        (frames, fps), sound = clip.read(), clip.sound
    whole = derived(frames, size, lambda some: marked(some[:, : size[0], : size[1]], wanted.mark))
    video = Stream(in_pieces(whole), len(whole), *size, fps, sound, read_comment(source))
    video.save(target, keep=False)
