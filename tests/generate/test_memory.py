"""A long recording takes no more memory than a short one."""

from __future__ import annotations

import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from minisora.video import read_video

MOST_MORE = 200 << 20  # bytes above the same verb on a second of the same recording
RUN = """
import resource, sys
from minisora.cli import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def recording(path: Path, seconds: int, *, height: int = 540, width: int = 960) -> Path:
    """Moving stripes at 30 fps with a tone."""
    stripes = np.tile(np.arange(0, 2 * width) // 40 % 2 * 160 + 40, (height, 1)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        video.height, video.width, video.pix_fmt = height, width, "yuv420p"
        sound = container.add_stream("aac", rate=48_000, layout="mono")
        for number in range(30 * seconds):
            picture = np.ascontiguousarray(stripes[:, 4 * number % 80 :][:, :width])
            frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(video.encode(frame))
        for second in range(seconds):
            tone = 0.3 * np.sin(np.arange(48_000) / 20, dtype=np.float32)
            wave = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            wave.sample_rate, wave.pts = 48_000, 48_000 * second
            container.mux(sound.encode(wave))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def peak(folder: Path, *arguments: str) -> int:
    """Peak memory of a command in bytes."""
    command = [sys.executable, "-c", RUN, *arguments]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout.splitlines()[-1]) << 10


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_memory_does_not_grow_with_the_length_of_a_clip(tmp_path):
    recording(tmp_path / "short.mp4", 1)
    recording(tmp_path / "long.mp4", 40)
    few = ("--steps", "1", "--size", "128x72", "--upscale", "none", "-y", "-o", "out.mkv")
    for verb in (
        ("reverse", "{}", "-y", "-o", "out.mp4"),
        ("extend", "{}", "a ball", "--after", "1", *few),
        ("connect", "{}", "{}", "a ball", "--seconds", "1", *few),
        ("loop", "a ball", "--clip", "{}", "--seconds", "1", *few),
        ("inpaint", "{}", "a ball", "--mask", "{}", *few),  # its light stripes
    ):
        peaks = [peak(tmp_path, *(part.format(name) for part in verb)) for name in ("short.mp4", "long.mp4")]
        assert peaks[1] - peaks[0] < MOST_MORE, (verb[0], [size >> 20 for size in peaks])
    assert len(read_video(tmp_path / "out.mp4", fps=2.0).frames) == 80
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 << 20
