"""Sound of clips, kept with their frames.

Here: detecting sound, and mixing sounds to a track. Not here: the frames (read.py, write.py),
writing a track (mux.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt

from minisora.video.files import ffmpeg_name

RATE = 48_000  # samples per second, which every codec here takes
Track = npt.NDArray[np.float32]  # (2, n) samples at RATE
CODECS = {".mp4": "aac", ".webm": "libopus", ".mkv": "flac"}


@dataclass(frozen=True)
class Sound:
    """Sound of a file, from `at` seconds of a video on.

    back_from: played backwards, from this second of the file to its beginning; None: forwards
    """

    path: Path
    at: float = 0.0
    back_from: float | None = None

    def reversed(self, seconds: float) -> Sound:
        """Sound of the reversed video. seconds: its length"""
        if self.back_from is None:
            return Sound(self.path, back_from=seconds - self.at)
        return Sound(self.path, at=seconds - self.at - self.back_from)


def has_sound(path: Path) -> bool:
    """True if a file has a sound stream; False if it cannot be opened: reading it will raise."""
    try:
        with av.open(ffmpeg_name(path), options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
            return bool(container.streams.audio)
    except (av.FFmpegError, OSError, ValueError):
        return False


def mixed(sounds: Sequence[Sound], seconds: float, out: Path) -> tuple[Track | None, list[str]]:
    """Mix sounds to a track of `seconds` for a file that is not written yet.

    To be called before that file is written: it may be the source of a sound.

    returns  the track, None if the format holds none; and notes for the user: kept, or why not
    """
    if not sounds:
        return None, []
    suffix = out.suffix.lower()
    if suffix not in CODECS:
        names = " and ".join(str(sound.path) for sound in sounds)
        return None, [f"{suffix} holds no sound: that of {names} is left out. Use .mp4, .webm or .mkv."]
    track, notes = np.zeros((2, round(seconds * RATE)), dtype=np.float32), []
    for sound in sounds:
        start = round(sound.at * RATE)
        most = track.shape[1] - start if sound.back_from is None else round(sound.back_from * RATE)
        try:
            heard = _decoded(sound.path, most=max(0, most))
        except (av.FFmpegError, OSError, ValueError) as error:  # the file may have changed since it was probed
            notes.append(f"the sound of {sound.path} cannot be read ({error}) and is left out")
            continue
        if sound.back_from is not None:
            start += most - heard.shape[1]
            heard = heard[:, ::-1]
        heard = heard[:, max(0, -start) : max(0, track.shape[1] - start)]
        track[:, max(0, start) : max(0, start) + heard.shape[1]] += heard
        how = f"kept, from {max(0.0, sound.at):.2f} s on" if sound.back_from is None else "played backwards"
        notes.append(f"the sound of {sound.path} is {how}")
    return track.clip(-1, 1), notes


def _decoded(path: Path, *, most: int) -> Track:
    """Decode to (2, n) samples, n at most `most`; gaps in the file become silence."""
    track = np.zeros((2, most), dtype=np.float32)
    resampler, end, zero = av.AudioResampler(format="fltp", layout="stereo", rate=RATE), 0, None
    with av.open(ffmpeg_name(path), options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
        video = container.streams.video[0] if container.streams.video else None
        if video is not None and video.start_time is not None and video.time_base is not None:
            zero = float(video.start_time * video.time_base)  # frames count from here, so does their sound
        if not container.streams.audio:
            raise ValueError("it holds none any more")
        for frame in container.decode(container.streams.audio[0]):
            for piece in resampler.resample(frame):
                samples = cast("Track", piece.to_ndarray())
                moment = float(piece.pts * piece.time_base) if piece.pts is not None and piece.time_base else None
                zero = moment or 0.0 if zero is None else zero
                start = end if moment is None else max(0, round((moment - zero) * RATE))
                kept = samples[:, : max(0, most - start)]
                track[:, start : start + kept.shape[1]] = kept
                end = start + samples.shape[1]
            if end >= most:
                break
    return track[:, : min(end, most)]
