"""Stretches of clips, and clips longer than the network sees."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from minisora.cli import app
from minisora.errors import UsageError
from minisora.generate.edits import Edit, Inpaint, Outpaint
from minisora.generate.frames import Joined
from minisora.generate.media import Stretch
from minisora.generate.model import Model
from minisora.generate.plan import Work
from minisora.generate.request import Request
from minisora.generate.verbs import Connect, Extend, Interpolate, Loop, Reverse
from minisora.video import Video, read_video, recording
from tests.helpers.tiny import bundle, picture

__all__ = ["bundle"]  # a fixture

FEW = {"steps": 1}


@pytest.fixture
def model(bundle) -> Model:
    return Model(replace(bundle, sampling=replace(bundle.sampling, fps=8.0)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Video(picture(96, 32, 48), 8.0).save(tmp_path / "long.mkv")
    return tmp_path / "long.mkv"


def streamed(model: Model, request: Request, out: Path) -> torch.Tensor:
    Work.of(model.bundle, request).stream().video.save(out)
    return read_video(out).frames


def requests(path: Path) -> list[Request]:
    return [
        Extend(path, "a ball", after=1.0, size="48x32", **FEW),
        Extend(path, "a ball", after=0.5, before=1.0, size="48x32", **FEW),
        Connect(path, path, "a ball", seconds=1.0, size="48x32", **FEW),
        Loop("a ball", clip=path, seconds=1.0, size="48x32", **FEW),
        Edit(path, "a ball", strength=0.4, size="48x32", **FEW),
        Inpaint(path, "a ball", box="4,4,20,16", size="48x32", **FEW),
        Inpaint(path, "a ball", colour="0,255,255", size="48x32", **FEW),
        Outpaint(path, "a ball", to="160x96", **FEW),
        Interpolate(path, "a ball", size="48x32", **FEW),
        Reverse(path),
    ]


@pytest.mark.parametrize("number", range(10))
def test_a_clip_that_stays_in_its_file_gives_the_same_frames(model, path, tmp_path, monkeypatch, number):
    held = streamed(model, requests(path)[number], tmp_path / "held.mkv")
    monkeypatch.setattr(recording, "_HELD_BYTES", 0)
    read_again = streamed(model, requests(path)[number], tmp_path / "again.mkv")
    assert torch.equal(held, read_again)


def test_only_the_ends_of_a_long_clip_are_conditioning_and_the_frames_after_it_are_the_same(model, path, tmp_path):
    """The end of the clip alone, from a whole latent on, is continued with the same frames."""
    after = Extend(path, "a ball", after=1.0, size="48x32", **FEW).plan(model.bundle)
    assert isinstance(after.frames, Joined)
    excerpt = after.frames.parts[-1]
    assert len(excerpt.sampling.conditions[0].media) < 60
    whole = streamed(model, Extend(path, "a ball", after=1.0, size="48x32", **FEW), tmp_path / "a.mkv")
    clip = read_video(path).frames
    assert len(whole) == 104 and torch.equal(whole[:96], clip)
    kept = (96 - 48) // 4 * 4
    end = model.extend(Video(clip[kept:], 8.0), "a ball", after=1.0, size="48x32", **FEW).frames
    assert torch.equal(end[48:], whole[96:])


def test_a_stretch_is_named_at_the_file_in_python_and_by_options(model, path, tmp_path, monkeypatch):
    clip = read_video(path).frames
    backwards = clip[24:40].flip(0)
    monkeypatch.chdir(tmp_path)
    for value in ("long.mkv@3-5", Stretch(path, 3.0, 5.0), Path("long.mkv@3s-5s"), "long.mkv@3.0-5.0"):
        assert torch.equal(model.reverse(value).frames, backwards)
    assert torch.equal(model.reverse("long.mkv@10-").frames, clip[80:].flip(0))
    run = CliRunner().invoke
    assert run(app, ["reverse", "long.mkv", "--start", "3", "--stop", "5", "-o", "a.mkv"]).exit_code == 0
    assert run(app, ["reverse", "long.mkv@3-5", "-o", "b.mkv", "--save-request", "b.json"]).exit_code == 0
    for name in ("a.mkv", "b.mkv"):
        assert torch.equal(read_video(name).frames, backwards)
    saved = json.loads(Path("b.json").read_text())["request"]["clip"]
    assert saved["name"] == "long.mkv" and (saved["start"], saved["stop"]) == (3.0, 5.0)
    assert run(app, ["run", "b.json", "-o", "c.mkv"]).exit_code == 0
    assert torch.equal(read_video("c.mkv").frames, backwards)
    path.rename("odd@3-5")
    assert torch.equal(model.reverse("odd@3-5").frames, clip.flip(0))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("long.mkv@5-3", "names no stretch"),
        ("long.mkv@99-", r"ends at 12\.00 s, before 99 s"),
        ("none.mkv@1-2", "there is no file none.mkv"),
    ],
)
def test_a_stretch_that_cannot_be_is_refused(path, tmp_path, monkeypatch, value, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        Reverse(value).opened()
    refused = CliRunner().invoke(app, ["reverse", value, "-o", "a.mkv"])
    assert refused.exit_code == 2 and not Path("a.mkv").exists()


def test_start_and_stop_without_a_clip_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(app, ["loop", "a ball", "--start", "1"])
    assert refused.exit_code == 2 and "name a stretch of a clip" in " ".join(refused.output.split())
