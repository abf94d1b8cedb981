"""Clips that stay in their file: the same frames as in memory, however they are sliced."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from minisora.errors import UsageError
from minisora.video import Source, Video, frames, read_frames, recording
from minisora.video.frames import backwards, blended, fit, in_pieces, padded, single
from minisora.video.recording import FileFrames, Recording
from minisora.video.sound import RATE, Sound, mixed


def moving(count: int, height: int = 32, width: int = 48) -> torch.Tensor:
    """Frames that tell their number, with detail."""
    frames = torch.randint(
        0, 60, (count, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return frames + (torch.arange(count) % 150).to(torch.uint8).view(-1, 1, 1, 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Video(moving(200), 25.0).save(tmp_path / "a.mkv")
    return tmp_path / "a.mkv"


def opened(path: Path, start: float = 0.0, stop: float = math.inf) -> Recording:
    return Recording.open(Source(path, ""), start, stop)


@pytest.mark.parametrize("size", [None, (24, 24)])
@pytest.mark.parametrize("fps", [None, 8.0, 50.0])
@pytest.mark.parametrize(("start", "stop"), [(0.0, math.inf), (1.0, 3.0), (2.52, 7.0), (7.5, math.inf)])
def test_frames_read_when_they_are_sliced_are_those_read_at_once(path, monkeypatch, size, fps, start, stop):
    at_once, rate = opened(path, start, stop).read(size=size, fps=fps)
    assert isinstance(at_once, torch.Tensor)
    assert rate == (fps or 25)
    wanted = (min(stop, 8.0) - start) * rate
    assert len(at_once) in (math.floor(wanted), math.ceil(wanted))
    expected, _ = read_frames(path, fps=fps, start=start, stop=stop)
    assert torch.equal(at_once, expected if size is None else fit(expected, *size)[0])
    monkeypatch.setattr(recording, "_HELD_BYTES", 0)
    sliced, sliced_rate = opened(path, start, stop).read(size=size, fps=fps)
    assert isinstance(sliced, FileFrames) and sliced_rate == rate and tuple(sliced.shape) == tuple(at_once.shape)
    assert torch.equal(torch.cat(list(in_pieces(sliced))), at_once)
    assert torch.equal(torch.cat(list(backwards(sliced))), at_once.flip(0))
    monkeypatch.setattr(frames, "_PIECE_BYTES", 3 * math.prod(sliced.shape[1:]))
    monkeypatch.setattr(frames, "_RUN_BYTES", 8 * math.prod(sliced.shape[1:]))
    assert torch.equal(torch.cat(list(backwards(sliced))), at_once.flip(0))
    for first, last in ((0, 1), (5, 9), (3, 6), (len(at_once) - 4, len(at_once)), (2, 2)):
        assert torch.equal(sliced[first:last], at_once[first:last])
    assert torch.equal(sliced[:], at_once)


def test_what_is_computed_from_frames_is_the_same_for_both_kinds(path, monkeypatch):
    held, _ = opened(path).read(fps=8.0)
    monkeypatch.setattr(recording, "_HELD_BYTES", 0)
    sliced, _ = opened(path).read(fps=8.0)
    assert torch.equal(padded(sliced, 3)[:], padded(held, 3)[:])
    assert torch.equal(padded(sliced, 3)[60:67], padded(held, 3)[60:67])
    assert torch.equal(single(sliced, 7)[0:1], held[7:8])
    count = 2 * (len(held) - 1) + 1
    halves = blended(held, 2, count)[:]
    assert torch.equal(blended(sliced, 2, count)[:], halves) and torch.equal(halves[::2], held[:])
    assert torch.equal(blended(sliced, 2, count)[31:40], halves[31:40])
    mean = (held[3:4].float() + held[4:5].float()) / 2
    assert (halves[7].float() - mean).abs().max() <= 0.5


def test_frames_of_a_variable_rate_are_sliced_alike(tmp_path, monkeypatch):
    from tests.video.test_read import encode, numbered

    path = encode(tmp_path / "a.mkv", numbered(8), times=[0, 40, 80, 500, 540, 1000, 1040, 1080])
    held, rate = opened(path).read()
    monkeypatch.setattr(recording, "_HELD_BYTES", 0)
    sliced, sliced_rate = opened(path).read()
    assert rate == pytest.approx(25) and sliced_rate == pytest.approx(25) and torch.equal(sliced[:], held[:])


def test_a_stretch_that_is_not_there_is_refused(path):
    with pytest.raises(UsageError, match=r"ends at 8\.00 s, before 9 s"):
        opened(path, 9.0)
    assert len(opened(path, 7.9, 20.0).read()[0]) in (2, 3)


def tone(path: Path, seconds: float) -> Path:
    """A sound that grows louder, under frames."""
    import av

    wave = (np.linspace(0.0, 0.9, round(seconds * RATE)) * np.sin(np.arange(round(seconds * RATE)) / 20)).astype(
        np.float32
    )
    with av.open(str(path.with_suffix(".wav")), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="stereo")
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray((wave * 32767).astype(np.int16).repeat(2)[None]), format="s16", layout="stereo"
        )
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    Video(moving(round(seconds * 8), 16, 16), 8.0, (Sound(path.with_suffix(".wav")),)).save(path)
    return path


def heard(sounds: list[Sound], seconds: float) -> np.ndarray:
    mix, _ = mixed(sounds, seconds, Path("a.mkv"))
    assert mix is not None
    whole: np.ndarray = np.concatenate(list(mix.blocks(seconds)), 1)
    return whole


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_the_sound_of_a_stretch_is_that_of_its_seconds(tmp_path, suffix):
    """Also far into a file, where it is sought, and backwards, where it is read from the end."""
    path, atol = tone(tmp_path / f"a{suffix}", 27.0), 0.002 if suffix == ".mkv" else 0.03
    whole = heard([Sound(path)], 27.0)
    assert whole.shape == (2, 27 * RATE) and abs(whole).max() > 0.8
    stretch = heard([Sound(path, at=0.5, start=20.0, stop=23.0)], 4.0)
    assert not stretch[:, : RATE // 2].any() and not stretch[:, round(3.5 * RATE) :].any()
    assert np.allclose(stretch[:, RATE // 2 : round(3.5 * RATE)], whole[:, 20 * RATE : 23 * RATE], atol=atol)
    back = heard([Sound(path).reversed(27.0)], 27.0)
    assert np.allclose(back, whole[:, ::-1], atol=atol)
    part, inside = Sound(path, start=20.0, stop=23.0), whole[:, 20 * RATE : 23 * RATE]
    assert np.allclose(heard([part.reversed(3.0)], 3.0), inside[:, ::-1], atol=atol)
    assert np.allclose(heard([part.reversed(3.0).reversed(3.0)], 3.0), inside, atol=atol)
