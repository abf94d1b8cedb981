"""A clip backwards: the last frame first, and the sound of a frame stays with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from minisora.cli import app
from minisora.generate import saved
from minisora.generate.model import Model
from minisora.generate.plan import Work
from minisora.generate.verbs import Extend, Reverse
from minisora.video import Video, read_video
from minisora.video.sound import RATE, Sound
from tests.helpers.tiny import bundle, picture

__all__ = ["bundle"]  # a fixture


def click(path: Path, at: float, seconds: float) -> Path:
    """A file of silence with 20 ms of noise that dies away, which sounds different backwards."""
    samples = np.zeros(round(seconds * RATE))
    first, length = round(at * RATE), RATE // 50
    samples[first : first + length] = np.random.default_rng(0).uniform(-1, 1, length) * np.linspace(0.8, 0.0, length)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def heard(path: Path) -> np.ndarray:
    """The samples of a file."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        pieces = [piece.to_ndarray()[0] for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    return np.concatenate(pieces)


def clicks(video: Video, folder: Path) -> tuple[float, bool]:
    """Start of the noise in a saved video, in seconds, and whether it dies away.

    Backwards it swells.
    """
    video.save(folder / "heard.mkv")
    loud = np.abs(heard(folder / "heard.mkv")) > 0.02
    first, last = loud.argmax(), len(loud) - loud[::-1].argmax()
    middle = (first + last) // 2
    energy = np.square(heard(folder / "heard.mkv"))
    return first / RATE, bool(energy[first:middle].sum() > energy[middle:last].sum())


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A second of frames, with noise at 0.1 s."""
    path = tmp_path / "clip.mkv"
    Video(picture(8, 16, 16), 8.0, (Sound(click(tmp_path / "click.wav", 0.1, 1.0)),)).save(path)
    return path


def reverse(given: Path | Video) -> Video:
    return Work.of(None, Reverse(given)).run().video


def test_frames_come_backwards_and_twice_they_are_as_they_were(clip):
    forwards, once = read_video(clip), reverse(clip)
    assert torch.equal(once.frames, forwards.frames.flip(0)) and once.fps == forwards.fps
    for twice in (reverse(once), reverse(Video(once.frames, once.fps))):
        assert torch.equal(twice.frames, forwards.frames)


def test_sound_near_the_start_is_near_the_end(clip, tmp_path):
    assert clicks(read_video(clip), tmp_path) == (pytest.approx(0.1, abs=0.002), True)
    assert clicks(reverse(clip), tmp_path) == (pytest.approx(0.88, abs=0.002), False)
    assert clicks(reverse(reverse(clip)), tmp_path) == (pytest.approx(0.1, abs=0.002), True)
    reverse(clip).save(tmp_path / "once.mkv")
    assert clicks(reverse(tmp_path / "once.mkv"), tmp_path) == (pytest.approx(0.1, abs=0.002), True)


@pytest.mark.parametrize("seconds", [0.3, 0.5, 4.0])
def test_sound_may_be_shorter_or_longer_than_the_frames(tmp_path, seconds):
    """A second of frames."""
    given = Video(picture(8, 16, 16), 8.0, (Sound(click(tmp_path / "click.wav", 0.1, seconds)),))
    assert clicks(given.reversed(), tmp_path) == (pytest.approx(0.88, abs=0.002), False)
    assert clicks(given.reversed().reversed(), tmp_path) == (pytest.approx(0.1, abs=0.002), True)


def test_sound_that_begins_later_stays_with_its_frames(tmp_path):
    wave = click(tmp_path / "click.wav", 0.1, 0.4)
    given = Video(picture(8, 16, 16), 8.0, (Sound(wave, at=0.5),))
    assert clicks(given, tmp_path) == (pytest.approx(0.6, abs=0.002), True)
    assert clicks(given.reversed(), tmp_path) == (pytest.approx(0.38, abs=0.002), False)
    assert clicks(given.reversed().reversed(), tmp_path) == (pytest.approx(0.6, abs=0.002), True)
    cut = replace(given.reversed(), frames=given.frames[:4]).reversed()  # half a second, the later one
    assert clicks(cut, tmp_path) == (pytest.approx(0.1, abs=0.002), True)


def test_a_reversed_clip_may_be_extended(bundle, clip, tmp_path):
    """Its sound goes where its frames go."""
    model = Model(replace(bundle, sampling=replace(bundle.sampling, size=(16, 16))))
    longer = model.run(Extend(model.reverse(clip), "a ball", before=0.5, after=1.0, steps=1)).video
    assert torch.equal(longer.frames[4:12], read_video(clip).frames.flip(0)) and len(longer.frames) == 20
    assert clicks(longer, tmp_path) == (pytest.approx(0.5 + 0.88, abs=0.002), False)
    assert clicks(longer.reversed(), tmp_path) == (pytest.approx(1.0 + 0.1, abs=0.002), True)


def test_no_model_is_needed(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("minisora.bundle.load", lambda *_, **__: pytest.fail("loaded"))
    told = CliRunner().invoke(app, ["reverse", str(clip), "-o", str(tmp_path / "out.mkv")])
    assert told.exit_code == 0, told.output
    assert f"note: the sound of {clip} is played backwards" in told.output
    assert torch.equal(read_video(tmp_path / "out.mkv").frames, read_video(clip).frames.flip(0))
    assert CliRunner().invoke(app, ["reverse", str(clip), "--model", "toybox"]).exit_code == 2  # it has no such option


def test_it_is_run_again_without_a_model(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("minisora.bundle.load", lambda *_, **__: pytest.fail("loaded"))
    reverse(clip).save(tmp_path / "out.mkv")
    assert saved.read(tmp_path / "out.mkv").model is None
    again = ["run", str(tmp_path / "out.mkv"), "--media", str(tmp_path), "-o", str(tmp_path / "again.mkv")]
    told = CliRunner().invoke(app, again)
    assert told.exit_code == 0, told.output
    assert torch.equal(read_video(tmp_path / "again.mkv").frames, read_video(clip).frames.flip(0))


def test_it_tells_nothing_of_how_the_clip_was_made(bundle, clip):
    """A video's request is that of its frames."""
    made = Model(bundle).run(Extend(clip, "a ball", after=0.5, steps=1)).video
    assert made.request and not made.reversed().request and not made.at_rate(4.0).request
    assert Reverse(made).to_data() != Reverse(made.reversed()).to_data()
