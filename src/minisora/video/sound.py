"""Sound of clips, kept with their frames.

Sounds are read, mixed and written block by block, so that memory does not grow with their length.

Here: detecting sound, and mixing sounds to a track. Not here: frames (read.py), encoding a track
(write.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt

from minisora.errors import UsageError
from minisora.video.decode import Clock
from minisora.video.open import best, best_sound, clock_may_jump, open_container

RATE = 48_000  # samples per second, which every codec here takes
Track = npt.NDArray[np.float32]  # (2, n) samples at RATE
CODECS = {".mp4": "aac", ".webm": "libopus", ".mkv": "flac"}
_BLOCK = 48_000  # samples that are in memory at a time
_SEEK_FROM = 2.0  # seconds: nearer starts are reached from the beginning
_BEFORE = 1.0  # seconds that a decoder needs to find its way after seeking
_ERRORS = (UsageError, av.FFmpegError, OSError, ValueError)


@dataclass(frozen=True)
class Sound:
    """Sound of a file, from `at` seconds of a video on.

    back_from:   played backwards, from this second of the file; None: forwards
    start, stop: stretch of the file that is heard, in seconds; None: to its end
    """

    path: Path
    at: float = 0.0
    back_from: float | None = None
    start: float = 0.0
    stop: float | None = None

    def reversed(self, seconds: float) -> Sound:
        """Sound of the reversed video. seconds: its length"""
        if self.back_from is None:
            return replace(self, at=0.0, back_from=seconds - self.at + self.start)
        return replace(self, at=seconds - self.at - self.back_from + self.start, back_from=None)


def has_sound(path: Path) -> bool:
    """True if a file has a sound stream; False if it cannot be opened: reading it will raise."""
    try:
        with open_container(path) as container:
            return best_sound(container) is not None
    except _ERRORS:
        return False


class Mix:
    """A track mixed of several sounds, to be read once, block by block.

    Each file is opened when the mix is made: it may be replaced later.

    seconds: length of the track
    notes:   for the user: what is kept, and what cannot be read
    """

    def __init__(self, sounds: Sequence[Sound], seconds: float) -> None:
        self.seconds, self.notes, self._voices = seconds, list[str](), list[tuple[Sound, Iterator[Track]]]()
        for sound in sounds:
            blocks = _blocks(sound, round(seconds * RATE))
            try:
                first = next(blocks, None)
            except _ERRORS as error:  # the file may have changed since it was probed
                self.notes.append(f"the sound of {sound.path} cannot be read ({error}) and is left out")
                continue
            if first is not None:
                self._voices.append((sound, _again(first, blocks)))
            how = "played backwards" if sound.back_from is not None else f"kept, from {max(0.0, sound.at):.2f} s on"
            self.notes.append(f"the sound of {sound.path} is {how}")

    def blocks(self, seconds: float) -> Iterator[Track]:
        """Yield (2, n) samples up to `seconds` of the track."""
        left = round(min(seconds, self.seconds) * RATE)
        while left > 0:
            block = np.zeros((2, min(left, _BLOCK)), dtype=np.float32)
            for voice in list(self._voices):
                try:
                    heard = next(voice[1], None)
                except _ERRORS as error:
                    self._voices.remove(voice)
                    self.notes.append(f"the sound of {voice[0].path} cannot be read further ({error})")
                    continue
                if heard is not None:
                    block += heard[:, : block.shape[1]]
            yield block.clip(-1, 1)
            left -= block.shape[1]


def _again(first: Track, rest: Iterator[Track]) -> Iterator[Track]:
    yield first
    yield from rest


def mixed(sounds: Sequence[Sound], seconds: float, out: Path) -> tuple[Mix | None, list[str]]:
    """Mix sounds to a track of `seconds`, for a file that is not written yet.

    returns  the mix, None if there is nothing or the format holds no sound; and notes on the latter
    """
    if not sounds:
        return None, []
    suffix = out.suffix.lower()
    if suffix not in CODECS:
        names = " and ".join(str(sound.path) for sound in sounds)
        return None, [f"{suffix} holds no sound: that of {names} is left out. Use .mp4, .webm or .mkv."]
    return Mix(sounds, seconds), []


def _blocks(sound: Sound, length: int) -> Iterator[Track]:
    """Blocks of _BLOCK samples of a track of `length`, silent where the sound is not heard."""
    at, start = round(sound.at * RATE), round(sound.start * RATE)
    stop = None if sound.stop is None else round(sound.stop * RATE)
    if sound.back_from is not None:
        pieces = _backwards(sound.path, start, round(sound.back_from * RATE), at)
    else:
        pieces = ((place - start + at, samples) for place, samples in _cut(_decoded(sound.path, start), start, stop))
    yield from _gathered(pieces, length)


def _gathered(pieces: Iterator[tuple[int, Track]], length: int) -> Iterator[Track]:
    """Lay pieces, each with its place on a track, into blocks; later ones replace earlier ones."""
    waiting = next(pieces, None)
    for first in range(0, length, _BLOCK):
        block = np.zeros((2, _BLOCK), dtype=np.float32)
        while waiting is not None and waiting[0] < first + _BLOCK:
            place, samples = waiting
            heard = samples[:, max(0, first - place) : max(0, first + _BLOCK - place)]
            begin = max(0, place - first)
            block[:, begin : begin + heard.shape[1]] = heard
            if place + samples.shape[1] > first + _BLOCK:
                break
            waiting = next(pieces, None)
        yield block


def _cut(pieces: Iterator[tuple[int, Track]], start: int, stop: int | None) -> Iterator[tuple[int, Track]]:
    """Samples of pieces from `start` to `stop`."""
    for place, samples in pieces:
        if stop is not None and place >= stop:
            return
        begin = max(0, start - place)
        inside = samples[:, begin : None if stop is None else stop - place]
        if inside.shape[1]:
            yield place + begin, inside


def _backwards(path: Path, start: int, stop: int, at: int) -> Iterator[tuple[int, Track]]:
    """Samples from `stop` back to `start`, from `at` of the track on; they wait on the disk."""
    with tempfile.TemporaryFile() as file:
        for place, samples in _cut(_decoded(path, start), start, stop):
            file.seek((place - start) * 2 * 4)
            file.write(samples.T.tobytes())
        for last in range(stop, start, -_BLOCK):
            first = max(start, last - _BLOCK)
            file.seek((first - start) * 2 * 4)
            some = np.frombuffer(file.read((last - first) * 2 * 4), np.float32).reshape(-1, 2)
            whole = np.zeros((2, last - first), dtype=np.float32)
            whole[:, : len(some)] = some.T
            yield at + stop - last, whole[:, ::-1]


def _decoded(path: Path, start: int) -> Iterator[tuple[int, Track]]:
    """Decode from `start` on, or from before it: places after the first frame, (2, n) samples."""
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=RATE)
    with open_container(path) as container:
        stream = best_sound(container)
        if stream is None:
            raise ValueError("it holds none any more")
        video = best(container)
        zero = None
        if video is not None and video.start_time is not None and video.time_base is not None:
            zero = float(video.start_time * video.time_base)  # frames count from here, so does their sound
        if start > _SEEK_FROM * RATE and not clock_may_jump(container):
            container.seek(int(((zero or 0.0) + start / RATE - _BEFORE) * av.time_base))
        clock = Clock(RATE / 1024, clock_may_jump(container), zero)
        for frame in container.decode(stream):
            for piece in resampler.resample(frame):
                samples = cast("Track", piece.to_ndarray())
                at = float(piece.pts * piece.time_base) if piece.pts is not None and piece.time_base else None
                seconds, _ = clock(at, samples.shape[1] / RATE)
                yield round(seconds * RATE), samples
