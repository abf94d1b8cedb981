"""A request read from the file that it made gives the same frames, wherever its media are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from minisora.cli import app
from minisora.errors import UsageError
from minisora.generate import saved
from minisora.generate.media import Named
from minisora.generate.model import Model
from minisora.generate.request import Request
from minisora.generate.storyboard import Board, Shot, Storyboard
from minisora.generate.verbs import VERBS, Animate, Extend, Generate, Image, Inpaint, Reverse
from minisora.video import Video, read_video
from minisora.video.sound import Sound, has_sound
from tests.helpers.requests import ASKED
from tests.helpers.tiny import bundle, picture

__all__ = ["bundle"]  # a fixture

FEW: dict[str, Any] = {"steps": 1, "guidance": 1.0, "seed": 3}
WORDS = 'un ballon «rouge»; 红球 = "a" \\ b'


@pytest.fixture
def model(bundle) -> Model:
    sampling = replace(bundle.sampling, size=(32, 32), window=4, context=1)
    return Model(replace(bundle, sampling=sampling, digest="0123456789abcdef", upscale="none"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """With a sound."""
    path = tmp_path / "media" / "clip.mkv"
    path.parent.mkdir()
    tone = tmp_path / "tone.wav"
    with av.open(str(tone), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.full((1, 24_000), 9000, dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    Video(picture(5, 32, 32), 8.0, (Sound(tone),)).save(path)
    return path


def again(model: Model, path: Path, folder: Path) -> Video:
    return model.run(saved.with_media(saved.read(path).request, folder)).video


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mkv", ".gif", ".png"])
def test_it_comes_back_from_what_it_made(model, tmp_path, suffix):
    asked: Request = Image(WORDS, **FEW) if suffix == ".png" else Generate(WORDS, seconds=0.5, size=(24, 40), **FEW)
    video = model.run(asked).video
    video.save(tmp_path / f"out{suffix}")
    read = saved.read(tmp_path / f"out{suffix}")
    assert read.request == asked and type(read.request) is type(asked)
    assert (read.model, read.digest, read.upscale) == ("tiny", "0123456789abcdef", "none")
    assert torch.equal(again(model, tmp_path / f"out{suffix}", tmp_path).frames, video.frames)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mkv"])
@pytest.mark.parametrize("streamed", [False, True])
def test_it_comes_back_where_sound_is_put_in_afterwards(model, clip, tmp_path, suffix, streamed):
    asked = Extend(clip, WORDS, after=0.5, **FEW)
    result = model.stream(asked) if streamed else model.run(asked)
    result.video.save(tmp_path / f"out{suffix}")
    assert has_sound(tmp_path / f"out{suffix}")
    assert saved.read(tmp_path / f"out{suffix}").request.to_data() == asked.to_data()
    assert torch.equal(again(model, tmp_path / f"out{suffix}", clip.parent).frames, model.run(asked).video.frames)


def test_a_long_request_comes_back(model, tmp_path):
    shots = tuple(Shot(prompt=f"{'a ball ' * 400}{n}", seconds=0.5) for n in range(12))
    result = model.run(Generate("a ball", seconds=0.5, **FEW))
    text = saved.written(Storyboard(Board(shots)), None)
    assert len(text) > 30_000
    for suffix in (".mp4", ".webm", ".mkv", ".gif", ".png"):
        frames = result.video.frames[:1] if suffix == ".png" else result.video.frames
        Video(frames, 8.0, request=text).save(tmp_path / f"out{suffix}")
        assert saved.read(tmp_path / f"out{suffix}").request.to_data() == Storyboard(Board(shots)).to_data()


def test_every_picture_of_a_sequence_has_it(model, tmp_path):
    asked = Generate(WORDS, seconds=0.5, **FEW)
    model.run(asked).video.save(tmp_path / "out-%d.png")
    assert all(saved.read(tmp_path / f"out-{n}.png").request == asked for n in range(5))


def test_a_name_that_is_not_utf_8_comes_back(clip, tmp_path):
    odd = clip.with_name("caf\udce9\x1b.mkv")
    clip.rename(odd)
    text = saved.written(Reverse(odd), None)
    assert text.encode() and json.loads(text)["request"]["clip"]["name"] == odd.name
    Video(picture(1, 8, 8), 1.0, request=text).save(tmp_path / "out.png")
    request = saved.read(tmp_path / "out.png").request
    assert saved.with_media(request, odd.parent) == Reverse(odd)


def test_other_videos_have_none(model, tmp_path, clip):
    Video(picture(1, 8, 8), 1.0).save(tmp_path / "plain.png")
    Video(picture(3, 8, 8), 10.0).save(tmp_path / "plain.gif")
    for path in (tmp_path / "plain.gif", tmp_path / "plain.png", clip):
        with pytest.raises(UsageError, match=r"holds no request\. Give a file of --save-request, or a video that"):
            saved.read(path)


def test_neither_paths_nor_pixels_are_in_it(model, clip, tmp_path):
    asked = Inpaint(clip, "a ball", mask=torch.eye(32, dtype=torch.bool), **FEW)
    text = model.run(asked).video.request
    data = json.loads(text)
    assert str(tmp_path) not in text and str(clip.parent) not in text and len(text) < 1000
    assert data["verb"] == "inpaint" and data["format"] == saved.FORMAT and data["minisora"]
    assert data["request"]["clip"]["name"] == "clip.mkv" and data["request"]["mask"]["name"] is None
    assert data["model"] == {"name": "tiny", "digest": "0123456789abcdef", "upscale": "none"}
    assert json.loads(model.run(Reverse(clip)).video.request)["model"] is None


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_command_writes_it_and_run_makes_the_frames_again(model, clip, tmp_path, monkeypatch):
    monkeypatch.setattr("minisora.bundle.load", lambda name, **_: model.bundle)
    out, file = tmp_path / "out.mkv", tmp_path / "asked.json"
    how = ("--steps", 1, "--guidance", 1, "--seed", 3, "--upscale", "none")
    told = run("extend", clip, "a ball", "--after", 0.5, *how, "--save-request", file, "-o", out)
    assert told.exit_code == 0, told.output
    assert saved.read(file) == saved.read(out)
    assert saved.read(file).request.to_data() == Extend(clip, "a ball", after=0.5, **FEW).to_data()
    for request in (file, out):
        told = run("run", request, "--media", clip.parent, "-o", tmp_path / "again.mkv")
        assert told.exit_code == 0, told.output
        assert torch.equal(read_video(tmp_path / "again.mkv").frames, read_video(out).frames)
        assert saved.read(tmp_path / "again.mkv") == saved.read(out)
    told = run("run", file, "--media", tmp_path, "-o", tmp_path / "again.mkv")
    assert told.exit_code == 2 and "has no file that is clip.mkv (SHA-256 " in " ".join(told.output.split())


def test_other_weights_are_refused_and_may_be_asked_for(model, tmp_path, monkeypatch):
    file = tmp_path / "asked.json"
    file.write_text(saved.written(Image("a ball", **FEW), model.bundle))
    other = replace(model.bundle, digest="ffff")
    monkeypatch.setattr("minisora.bundle.load", lambda name, **_: other)
    told = run("run", file, "-o", tmp_path / "out.png")
    said = " ".join(told.output.split())
    assert told.exit_code == 2 and "weights 0123456789abcdef; the one here has ffff" in said and "--model tiny" in said
    assert run("run", file, "--model", "tiny", "-o", tmp_path / "out.png").exit_code == 0


def test_media_are_found_under_any_name(model, clip, tmp_path):
    frames = model.run(Extend(clip, "a ball", after=0.5, **FEW)).video
    frames.save(tmp_path / "out.mkv")
    wrong = clip.with_name("a_first.mkv")
    Video(picture(5, 32, 32, seed=8), 8.0).save(wrong)  # another, found first
    clip.rename(clip.with_name("renamed.bin"))
    wrong.rename(clip)  # and one that has its name
    assert torch.equal(again(model, tmp_path / "out.mkv", clip.parent).frames, frames.frames)


def test_media_that_are_not_there_are_named(model, clip, tmp_path):
    (tmp_path / "asked.json").write_text(saved.written(Extend(clip, "a ball", after=0.5), model.bundle))
    clip.write_bytes(clip.read_bytes()[:-1])
    wanted = saved.read(tmp_path / "asked.json").request
    assert isinstance(wanted, Extend) and isinstance(wanted.clip, Named)
    with pytest.raises(UsageError) as refused:
        saved.with_media(wanted, clip.parent)
    said = str(refused.value)
    assert str(clip.parent) in said and "clip.mkv" in said and wanted.clip.sha256[:12] in said and "any name" in said


@pytest.mark.parametrize("suffix", [".mkv", ".png"])
def test_frames_from_memory_are_found_in_a_file_without_loss(model, tmp_path, suffix):
    given = Video(picture(1, 32, 32), 1.0)
    asked = Animate(given.frames[0], "a ball", seconds=0.5, **FEW)
    model.run(asked).video.save(tmp_path / "out.mkv")
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "a.txt").write_text("no video")
    given.save(folder / f"._z{suffix}")  # hidden
    given.save(folder / "lossy.mp4")
    with pytest.raises(UsageError, match=r"no file whose frames are frames from memory .* without loss, as \.mkv or"):
        again(model, tmp_path / "out.mkv", folder)
    given.save(folder / f"z{suffix}")
    assert torch.equal(again(model, tmp_path / "out.mkv", folder).frames, model.run(asked).video.frames)


def about(**changes: Any) -> str:
    data = json.loads(saved.written(Extend(Named("a.mp4", "0" * 64), "a ball", after=0.5), None))
    return json.dumps({**data, **changes})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (about(format=2, minisora="9.1"), r"written by minisora 9\.1, in format 2; this one reads format 1\. Update"),
        (about(format=2, minisora="9.1", verb="imagine"), r"written by minisora 9\.1, in format 2"),
        (about(verb="extnd"), r"there is no verb 'extnd'\. Did you mean extend\?"),
        (about(verb="xyzzy"), r"there is no verb 'xyzzy'\. There are: generate, image, .*reverse\."),
        (about(verb=["extend"]), r"holds no request"),
        (about(request={"prompt": "a ball", "after": 1}), r"extend needs clip: A video"),
        (about(request={"prompt": "a ball", "aftr": 1}), r"extend has no field 'aftr'\. Did you mean after\?"),
        (about(request={"prompt": "a ball", "clip": "a.mp4", "after": -1}), r"after -1: give 0 to "),
        (about(request=["a ball"]), r"holds no request"),
        (about(request=None), r"holds no request"),
        (json.dumps({"format": 1, "verb": "extend"}), r"holds no request"),
        (about(model="toybox"), r"holds no request"),
        (about()[:-20], r"holds no request\. Give a file of --save-request"),
        ("[1, 2]", r"holds no request"),
        ("", r"holds no request"),
    ],
)
def test_what_cannot_be_run_is_told(tmp_path, text, says):
    """The same of a file of its own and of a picture."""
    (tmp_path / "asked.json").write_text(text)
    Video(picture(1, 8, 8), 1.0, request=text).save(tmp_path / "asked.png")
    for path in (tmp_path / "asked.json", tmp_path / "asked.png"):
        with pytest.raises(UsageError, match=rf"^{path}.*{says}"):
            saved.read(path)


def test_files_that_cannot_be_read_are_told(tmp_path):
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    for name in ("bytes.json", "none.json", "none.mp4", "broken.mp4"):
        with pytest.raises(UsageError, match=name):
            saved.read(tmp_path / name)


def test_every_verb_is_read_again(tmp_path):
    """As it is written, by its name."""
    assert ASKED.keys() == VERBS.keys()
    for verb, asked in ASKED.items():
        (tmp_path / "asked.json").write_text(saved.written(asked, None))
        read = saved.read(tmp_path / "asked.json").request
        assert type(read) is VERBS[verb] and read.to_data() == asked.to_data()
