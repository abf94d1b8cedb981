"""Videos under any name; and finished ones are kept, whatever happened to their place meanwhile."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from minisora.errors import UsageError
from minisora.video import Stream, Video, check_writable, mux, read_image, read_video
from minisora.video import spool as spools
from minisora.video.sound import Mix, Sound, has_sound

SUFFIXES = [".mp4", ".webm", ".mkv", ".gif"]


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def place(tmp_path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def tone(tmp_path) -> Path:
    path = tmp_path / "tone.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.full((1, 96_000), 9000, dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def kept_at(error: pytest.ExceptionInfo[UsageError]) -> Path:
    found = re.search(r"kept as (.*)\.$", str(error.value), re.DOTALL)
    assert found is not None, error.value
    return Path(found[1])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("stem", ["18:05", "rtmp:x", "file:a", "-dash", "100%d", "new\nline", "\udcff\x1b", "x" * 251])
def test_any_name_that_a_file_can_have(place, scene, tone, suffix, stem):
    path = place / f"{stem}{suffix}".removeprefix("x" * len(suffix))
    frames = scene(4, 16, 16)
    check_writable(path)
    Video(frames, 8.0, (Sound(tone),)).save(path)
    assert list(place.iterdir()) == [path]
    read = read_video(path)
    assert read.frames.shape == frames.shape and bool(read.sound) == (suffix != ".gif")
    if suffix == ".mkv":
        assert torch.equal(read.frames, frames)


@pytest.mark.parametrize(
    "name", ["18:05.png", "-%02d:05.png", "new\nline-%d.png", "%d\udcff.png", f"{'x' * 246}%05d.png"]
)
def test_any_name_of_pictures(place, scene, name):
    frames = scene(2 if "%" in name else 1, 16, 16)
    Video(frames, 8.0).save(place / name)
    for n, frame in enumerate(frames):
        assert torch.equal(read_image(place / (name % n if "%" in name else name)), frame)
    assert len(list(place.iterdir())) == len(frames)


@pytest.mark.parametrize("name", [f"{'x' * 247}%05d.png", f"{'x' * 244}-%d.png"])
def test_the_names_of_a_sequence_are_checked_not_its_pattern(place, scene, name):
    if "%05d" in name:
        with pytest.raises(UsageError, match="the name is too long"):
            check_writable(place / name, num_frames=2)
        return
    check_writable(place / name, num_frames=9999)
    with pytest.raises(UsageError, match="the name is too long"):
        check_writable(place / name, num_frames=1_000_001)


def pieces(frames: torch.Tensor, meanwhile, after: int = 1) -> Iterator[torch.Tensor]:
    """Frames in pieces of two; something happens after some of them."""
    for n, piece in enumerate(frames.split(2)):
        if n == after:
            meanwhile()
        yield piece


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_a_folder_that_is_removed_meanwhile_costs_nothing(
    place, temporary, scene, monkeypatch, tone, suffix, in_memory
):
    monkeypatch.setattr(spools, "_IN_MEMORY", in_memory)
    frames = scene(8, 32, 32)
    stream = Stream(pieces(frames, lambda: shutil.rmtree(place)), 8, 32, 32, 8.0, (Sound(tone),))
    with pytest.raises(UsageError, match="No such file or directory") as error:
        stream.save(place / f"a{suffix}")
    kept = kept_at(error)
    assert kept.is_relative_to(temporary) and kept.name == f"a{suffix}" and stream.made == 8
    whole = read_video(kept)
    assert len(whole.frames) == 8 and has_sound(kept) == (suffix != ".gif")
    if suffix == ".mkv":
        assert torch.equal(whole.frames, frames)


def test_pictures_are_kept_together(place, temporary, scene):
    frames = scene(6, 16, 16)
    with pytest.raises(UsageError) as error:
        Stream(pieces(frames, lambda: shutil.rmtree(place)), 6, 16, 16, 8.0).save(place / "a-%02d.png")
    pattern = kept_at(error)
    assert pattern.name == "a-%02d.png" and pattern.is_relative_to(temporary)
    found = sorted(pattern.parent.iterdir())
    assert [path.name for path in found] == [f"a-{n:02d}.png" for n in range(6)]
    assert all(torch.equal(read_image(path), frame) for path, frame in zip(found, frames, strict=True))


@pytest.mark.parametrize("name", ["a.mp4", "a-%02d.png"])
def test_what_stands_in_the_way_meanwhile_stays(place, scene, name):
    frames, way = scene(4, 16, 16), place / (name % 2 if "%" in name else name)
    with pytest.raises(UsageError) as error:
        Stream(pieces(frames, way.mkdir), 4, 16, 16, 8.0).save(place / name)
    other = kept_at(error)
    assert other.parent == place and way.is_dir()
    if name == "a.mp4":
        assert sorted(path.name for path in place.iterdir()) == ["a-2.mp4", "a.mp4"]
        assert len(read_video(other).frames) == 4
    else:
        assert sorted(path.name for path in place.glob("*-2.png")) == [f"a-{n:02d}-2.png" for n in range(4)]
    with pytest.raises(UsageError, match="is a folder"):  # checked first from now on
        Video(frames, 8.0).save(way)


def test_a_full_disk_keeps_it_on_another(place, temporary, scene, monkeypatch):
    """Opening a file in the folder fails as a full disk does."""
    opened = av.open

    def full(name, *values, **named):
        if str(place) in str(name):
            raise av.error.OSError(28, "No space left on device", str(name))
        return opened(name, *values, **named)

    monkeypatch.setattr(av, "open", full)
    with pytest.raises(UsageError, match=r"^the disk is full: .*a\.mp4 was not written") as error:
        Video(scene(4, 16, 16), 8.0).save(place / "a.mp4", keep=True)
    monkeypatch.undo()
    assert len(read_video(kept_at(error)).frames) == 4 and list(place.iterdir()) == []


def test_frames_in_memory_go_elsewhere_only_if_asked(place, temporary, scene):
    video = Video(scene(4, 16, 16), 8.0)
    shutil.rmtree(place)
    with pytest.raises(UsageError, match=r"there is no folder .*place\. Make it first\.$"):
        video.save(place / "a.mp4")
    assert list(temporary.iterdir()) == []
    with pytest.raises(UsageError) as error:
        video.save(place / "a.mkv", keep=True)
    assert torch.equal(read_video(kept_at(error)).frames, video.frames)


def test_sound_that_cannot_be_encoded_is_left_out_and_said(place, scene, tone, monkeypatch):
    def fails(self, seconds):
        raise av.error.InvalidDataError(1094995529, "Invalid data")

    monkeypatch.setattr(Mix, "blocks", fails)
    notes = Video(scene(4, 16, 16), 8.0, (Sound(tone),)).save(place / "a.mp4")
    assert any("the sound cannot be written (Invalid data" in note for note in notes)
    assert len(read_video(place / "a.mp4").frames) == 4 and not has_sound(place / "a.mp4")


def test_sound_ends_with_the_frames(place, tone):
    """Codecs code whole blocks; what is beyond the end is marked to be cut, as before the spool."""
    frames = torch.zeros(8, 16, 16, 3, dtype=torch.uint8)
    for suffix in (".mp4", ".webm", ".mkv"):
        Video(frames, 8.0, (Sound(tone),)).save(place / f"a{suffix}")
        with av.open(str(place / f"a{suffix}")) as container:
            heard = sum(frame.samples for frame in container.decode(audio=0))
        assert abs(heard - 48_000) <= 1024, (suffix, heard)  # a block of AAC


def test_an_existing_file_is_replaced_only_by_a_whole_one(place, scene):
    Video(scene(4, 16, 16), 8.0).save(place / "a.mp4")
    before = (place / "a.mp4").read_bytes()

    def stop() -> None:
        raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError):
        Stream(pieces(scene(4, 16, 16), stop), 4, 16, 16, 8.0).save(place / "a.mp4")
    assert (place / "a.mp4").read_bytes() == before and list(place.iterdir()) == [place / "a.mp4"]


def test_sound_lies_next_to_the_frames_in_the_file(place, tone):
    """So that a player need not seek: no packet is far from the one before it."""
    frames = torch.zeros(240, 16, 16, 3, dtype=torch.uint8)
    sounds = tuple(Sound(tone, at=2.0 * n) for n in range(15))
    for suffix in (".mp4", ".webm", ".mkv"):
        Video(frames, 8.0, sounds).save(place / f"long{suffix}")
        ends = {"video": 0.0, "audio": 0.0}
        with av.open(str(place / f"long{suffix}")) as container:
            for packet in container.demux():
                if packet.dts is not None:
                    ends[packet.stream.type] = float(packet.dts * packet.time_base)
                    assert abs(ends["video"] - ends["audio"]) < 3, suffix


def test_a_gif_of_many_frames_holds_few_of_them_in_memory():
    pushed = []

    def pictures() -> Iterator[np.ndarray]:
        pushed.append(0)
        for n in range(50):
            pushed[-1] += 1
            yield np.full((8, 8, 3), n, dtype=np.uint8)

    mapped = mux._with_palette(pictures, 8, 8, Fraction(10))
    next(mapped)
    assert pushed[0] == 50 and pushed[1] <= 3  # all for the palette, then each as it is written
    assert len(list(mapped)) == 49
