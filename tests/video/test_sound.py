"""The sound of a clip stays with its frames, wherever a longer video puts them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from minisora.video import Video, read_video
from minisora.video.sound import CODECS, RATE, Sound, has_sound


def frames(count: int) -> torch.Tensor:
    return torch.randint(0, 255, (count, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A second of frames with a tone of 440 Hz, mono at 44.1 kHz, as a wave next to a video."""
    tone = tmp_path / "tone.wav"
    with av.open(str(tone), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=44_100, layout="mono")
        wave = (0.5 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
        frame.sample_rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path = tmp_path / "clip.mkv"
    Video(frames(8), 8.0, (Sound(tone),)).save(path)
    return path


def loudness(path: Path, seconds: float) -> np.ndarray:
    """RMS of each quarter of a second."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        pieces = [piece.to_ndarray()[0] for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    whole = np.concatenate(pieces)[: round(seconds * RATE)]
    quarters = whole[: len(whole) // (RATE // 4) * (RATE // 4)].reshape(-1, RATE // 4)
    loud: np.ndarray = np.sqrt((quarters**2).mean(1))
    return loud


def test_a_file_without_sound_has_none(tmp_path, clip):
    Video(frames(4), 8.0).save(tmp_path / "silent.mp4")
    assert not has_sound(tmp_path / "silent.mp4") and read_video(tmp_path / "silent.mp4").sound == ()
    assert has_sound(clip) and read_video(clip).sound == (Sound(clip),)
    assert not has_sound(tmp_path / "nothing.mp4")


def test_a_file_may_be_written_over_the_one_that_its_sound_is_in(clip):
    before = loudness(clip, 1.0)
    longer = Video(frames(16), 8.0).heard(read_video(clip), 1.0)
    assert any("is kept" in note for note in longer.save(clip))
    after = loudness(clip, 2.0)
    assert after[:4].max() < 0.01 and np.allclose(after[4:8], before, atol=0.05)


def test_sound_that_is_gone_is_said(tmp_path, clip):
    video = read_video(clip)
    Video(frames(8), 8.0).save(clip)
    assert any("cannot be read" in note for note in video.save(tmp_path / "again.mp4"))
    assert not loudness(tmp_path / "again.mp4", 1.0).any()


@pytest.mark.parametrize("suffix", CODECS)
def test_sound_is_heard_where_the_frames_are(tmp_path, clip, suffix):
    longer = Video(frames(24), 8.0).heard(read_video(clip), 1.0)
    path = tmp_path / f"longer{suffix}"
    notes = longer.save(path)
    assert any("is kept, from 1.00 s on" in note for note in notes)
    heard = loudness(path, 3.0)
    assert heard[:3].max() < 0.02 and heard[5:7].min() > 0.2 and heard[9:11].max() < 0.02
    again = read_video(path)
    assert again.frames.shape == (24, 16, 16, 3) and again.fps == 8
    if suffix == ".mkv":
        assert torch.equal(again.frames, longer.frames)


def test_two_sounds_and_none_beyond_the_end(tmp_path, clip):
    source = read_video(clip)
    Video(frames(20), 8.0).heard(source).heard(source, 2.0).save(tmp_path / "two.mp4")
    heard = loudness(tmp_path / "two.mp4", 2.5)
    assert heard[1:3].min() > 0.2 and heard[5:7].max() < 0.02 and heard[9] > 0.2
    with av.open(str(tmp_path / "two.mp4")) as container:
        assert float(container.duration / av.time_base) < 2.6


def test_what_has_no_room_for_sound_is_said(tmp_path, clip):
    notes = Video(frames(8), 8.0).heard(read_video(clip)).save(tmp_path / "round.gif")
    assert any(".gif holds no sound" in note for note in notes)


def test_a_sound_that_cannot_be_read_is_said(tmp_path, clip):
    video = Video(frames(8), 8.0, (Sound(tmp_path / "gone.mp4"), Sound(clip)))
    notes = video.save(tmp_path / "out.mp4")
    assert any("cannot be read" in note for note in notes) and loudness(tmp_path / "out.mp4", 1.0)[1] > 0.2
