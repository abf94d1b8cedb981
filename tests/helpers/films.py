"""Small films whose every frame is known, and files that are broken in known ways."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]  # (T, H, W, 3) RGB


def texture(seed: int, height: int, width: int, grain: float = 3.0) -> NDArray[np.uint8]:
    """(H, W, 3) soft blotches about one colour; the colours of neighbouring seeds are far apart."""
    colour = cv2.cvtColor(np.array([[[seed * 69 % 180, 150, 170]]], np.uint8), cv2.COLOR_HSV2RGB)
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, (height, width, 3)), (0, 0), grain)
    return np.clip(colour + noise / noise.std() * 40, 0, 255).astype(np.uint8)


def pan(
    seed: int, num_frames: int, height: int = 96, width: int = 128, *, right: float = 2.0, down: float = 0.0
) -> Frames:
    """One shot: a camera that glides over a texture by so many pixels a frame."""
    reach = [int(abs(step) * num_frames) + 4 for step in (down, right)]
    ground = texture(seed, height + reach[0], width + reach[1])
    x0, y0 = (reach[1] if right < 0 else 0), (reach[0] if down < 0 else 0)
    views = [
        cv2.warpAffine(
            ground,
            np.array([[1.0, 0, x0 + right * i], [0, 1.0, y0 + down * i]]),
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        for i in range(num_frames)
    ]
    return np.stack(views)


def turning(
    seed: int, num_frames: int, height: int = 96, width: int = 128, *, zoom: float = 1.0, roll: float = 0.0
) -> Frames:
    """One shot: each frame is the one before, enlarged `zoom` times and turned by `roll` degrees.

    Turned counterclockwise.
    """
    ground = texture(seed, height * 2, width * 2)
    views = []
    for i in range(num_frames):
        into = cv2.getRotationMatrix2D((float(width), float(height)), roll * i, zoom**i)
        into[:, 2] -= (width / 2, height / 2)
        views.append(cv2.warpAffine(ground, into, (width, height), flags=cv2.INTER_LINEAR))
    return np.stack(views)


def cut_film(lengths: Sequence[int], height: int = 96, width: int = 128) -> Frames:
    """Shots of so many frames, one after the other."""
    return np.concatenate([pan(seed, length, height, width) for seed, length in enumerate(lengths)])


def faded(frames: Frames, *, into: int = 0, out: int = 0) -> Frames:
    """Brightened from black over its first `into` frames, darkened to black over its last `out`."""
    share = np.ones(len(frames))
    share[:into] = np.arange(into) / max(1, into)
    share[len(frames) - out :] = np.arange(out)[::-1] / max(1, out)
    return (frames * share[:, None, None, None]).astype(np.uint8)


def boxed(frames: Frames, *, top: int = 0, right: int = 0, bottom: int = 0, left: int = 0) -> Frames:
    """With black bars painted over its edges, in pixels."""
    result = frames.copy()
    height, width = frames.shape[1:3]
    result[:, :top] = result[:, height - bottom :] = 0
    result[:, :, :left] = result[:, :, width - right :] = 0
    return result


def write(
    path: Path,
    frames: Frames,
    *,
    fps: Fraction | int = 24,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    seconds: Sequence[float] | None = None,
    sounds: int = 0,
    rotation: int = 0,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode a film.

    seconds:  when each frame is shown, for a varying rate; None: `fps`
    sounds:   streams of silence beside it
    rotation: degrees counterclockwise that players are asked to turn it by
    """
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {"preset": "veryfast", "crf": "18"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        if seconds is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        silent = [container.add_stream("aac", rate=8000, layout="mono") for _ in range(sounds)]
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
            if seconds is not None:
                frame.pts, frame.time_base = round(seconds[number] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for track in silent:
            for number in range(round(len(frames) / float(fps) * 8000 / 1024)):
                sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                sound.sample_rate, sound.pts, sound.time_base = 8000, number * 1024, Fraction(1, 8000)
                container.mux(track.encode(sound))
            container.mux(track.encode())
    return path


def truncated(path: Path, share: float) -> Path:
    """Keep this share of a file's bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes of a file changed, cut out, doubled or lost at its end."""
    result = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at, length = int(rng.integers(0, len(result))), int(rng.integers(1, 2 + len(result) // 8))
        kind = rng.integers(0, 5)
        if kind == 0:
            result[at : at + 1] = rng.bytes(1)
        elif kind == 1:
            result[at : at + length] = rng.bytes(length)
        elif kind == 2:
            result[at : at + length] = b""
        elif kind == 3:
            result[at:at] = result[at : at + length]
        else:
            result[at:] = b""
        if not result:
            return b""
    return bytes(result)


def whole_films(folder: Path) -> list[Path]:
    """One film in five containers, to be damaged."""
    return [
        write(folder / f"whole.{suffix}", cut_film([10, 10], 48, 64), codec=codec, options=options, sounds=sounds)
        for suffix, codec, options, sounds in (
            ("mp4", "libx264", {"preset": "veryfast"}, 1),
            ("mkv", "libx264", {"preset": "veryfast"}, 1),
            ("avi", "mpeg4", {}, 1),
            ("webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}, 0),
            ("ts", "libx265", {"preset": "ultrafast", "x265-params": "log-level=none"}, 0),
        )
    ]
