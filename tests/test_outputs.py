"""Outputs of commands: what passes the check is written; nothing is lost or replaced unasked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from minisora.generate.frames import Sampling
from minisora.video import Video, read_image, read_video
from tests.helpers.command import elsewhere, model, no_model, refused, run
from tests.helpers.tiny import bundle, picture

__all__ = ["bundle", "elsewhere", "model", "no_model"]  # fixtures

FAST = ("--steps", "1", "--guidance", "1")
SHORT = ("--seconds", "0.5", *FAST)


@pytest.fixture(autouse=True)
def inputs(elsewhere: None) -> None:
    """What a user has: a clip under several names, pictures, a storyboard."""
    Video(picture(5, 32, 32), 8.0, request="holiday").save("clip.mkv")
    Image.fromarray(picture(1, 32, 32, seed=2)[0].numpy()).save("photo.png")
    mask = torch.zeros(32, 32, dtype=torch.uint8)
    mask[:16] = 255
    Image.fromarray(mask.numpy()).save("mask.png")
    Path("film.yaml").write_text("shots:\n- {prompt: a ball, seconds: 0.5, keyframes: {0: photo.png}}\n")
    Path("film.json").write_text('{"shots": [{"prompt": "a ball", "seconds": 0.5}]}')  # JSON is YAML
    os.link("clip.mkv", "hard.mkv")
    Path("soft.mkv").symlink_to("clip.mkv")
    Path("soft.png").symlink_to("photo.png")


def files() -> dict[str, bytes]:
    return {path.as_posix(): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def done(*words: str):
    result = run(*words)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


@pytest.mark.parametrize(
    "name", ["18:05.mp4", "./18:05.mp4", "rtmp:x.webm", "file:a.mkv", "-dash.mp4", "new\nline.mkv", "\udcff\x1b[2J.gif"]
)
def test_any_name_can_be_written_and_read_again(name):
    told = done("reverse", "clip.mkv", f"--out={name}")
    assert len(read_video(Path(name)).frames) == 5 and "\x1b" not in told.output
    done("reverse", f"./{name}", "-o", "again.mkv")
    done("reverse", "clip.mkv", f"--out={name}")  # ours, so it may be replaced


@pytest.mark.parametrize(
    "words",
    [
        ("extend", "clip.mkv", "a ball", "--after", "0.5", "-o", "clip.mkv"),
        ("extend", "./clip.mkv", "a ball", "--after", "0.5", "-o", "hard.mkv"),
        ("extend", "clip.mkv", "a ball", "--after", "0.5", "-o", "soft.mkv"),
        ("extend", "soft.mkv", "a ball", "--after", "0.5", "-o", "clip.mkv"),
        ("connect", "photo.png", "clip.mkv", "a ball", "-o", "clip.mkv"),
        ("loop", "a ball", "--clip", "clip.mkv", "-o", "clip.mkv"),
        ("edit", "clip.mkv", "a ball", "-o", "clip.mkv"),
        ("interpolate", "clip.mkv", "a ball", "-o", "clip.mkv"),
        ("outpaint", "clip.mkv", "a ball", "--to", "64x64", "-o", "clip.mkv"),
        ("reverse", "clip.mkv", "-o", "clip.mkv"),
        ("generate", "a ball", "--from", "clip.mkv", "-o", "clip.mkv"),
        ("inpaint", "clip.mkv", "a ball", "--mask", "mask.png", "--sheet", "mask.png", "-o", "a.mkv"),
        ("animate", "photo.png", "a ball", "--sheet", "photo.png", "-o", "a.mkv"),
        ("animate", "mask.png", "a ball", "--at", "0.25=photo.png", "--sheet", "soft.png", "-o", "a.mkv"),
        ("storyboard", "film.yaml", "--sheet", "photo.png", "-o", "a.mkv"),
        ("storyboard", "film.json", "--save-request", "film.json", "-o", "a.mkv"),
    ],
    ids=" ".join,
)
def test_an_input_is_not_replaced_unasked(no_model, words):
    before = files()
    assert "would replace the input" in refused(*words)
    assert files() == before


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("--sheet", "./a.png", "-o", "a.png"), "a.png"),
        (("--save-request", "r.json", "--sheet", "s.png", "-o", "to-sheet.png"), "s.png"),
    ],
)
def test_two_outputs_of_a_command_are_two_files(no_model, words, name):
    Path("to-sheet.png").symlink_to("s.png")
    assert f"{name} would replace the output" in refused("image", "a ball", *words)
    assert f"{name} would replace the output" in refused("image", "a ball", *words, "--force")


def test_a_picture_of_a_sequence_is_an_output_too(model):
    Image.fromarray(picture(1, 32, 32, seed=2)[0].numpy()).save("a-0002.png")
    before = files()
    words = ("animate", "a-0002.png", "a ball", *SHORT)
    assert "a-0002.png would replace the input" in refused(*words, "-o", "a-%04d.png")
    assert "c-0001.png would replace the output" in refused(*words, "-o", "c-%04d.png", "--sheet", "c-0001.png")
    assert "a-0002.png is there, and minisora did not make it" in refused(
        "animate", "photo.png", "a ball", *SHORT, "-o", "a-%04d.png"
    )
    assert files() == before
    done(*words, "-o", "b-%04d.png")
    done(*words, "-o", "b-%04d.png")
    done(*words, "-o", "a-%04d.png", "-y")


@pytest.mark.parametrize("option", ["-o", "--sheet", "--save-request"])
@pytest.mark.parametrize("verb", [("reverse", "clip.mkv"), ("generate", "a ball", *SHORT)])
def test_what_others_made_is_replaced_by_force_alone(model, verb, option):
    name = {"-o": "taken.mkv", "--sheet": "taken.png", "--save-request": "taken.json"}[option]
    shutil.copy("photo.png" if option == "--sheet" else "film.json" if option == "--save-request" else "clip.mkv", name)
    words = (*verb, option, name, *(() if option == "-o" else ("-o", "new.mkv")))
    before = files()
    assert f"{name} is there, and minisora did not make it" in refused(*words)
    assert files() == before
    done(*words, "--force")
    done(*words)  # it is ours now
    Path(name).write_bytes(b"")  # as mktemp leaves it: there is nothing to lose
    done(*words)


def test_by_force_a_clip_is_extended_in_its_place(model):
    clip = read_video("clip.mkv").frames
    done("extend", "clip.mkv", "a ball", "--after", "0.5", *FAST, "-o", "soft.mkv", "--force")
    assert Path("soft.mkv").is_symlink()
    longer = read_video("clip.mkv").frames
    assert torch.equal(longer[:5], clip) and len(longer) == 9
    assert len(read_video("hard.mkv").frames) == 5  # a name of its own for what was there


def test_a_saved_request_replaces_neither_itself_nor_its_media(model):
    words = ("extend", "clip.mkv", "a ball", "--after", "0.5", *FAST)
    done(*words, "-o", "out.mkv", "--save-request", "asked.json")
    before = files()
    assert "would replace the input" in refused("run", "out.mkv", "-o", "out.mkv")
    assert "would replace the input" in refused("run", "asked.json", "-o", "clip.mkv")
    assert files() == before
    for source in ("asked.json", "out.mkv"):
        for _ in range(2):
            done("run", source, "-o", "again.mkv")
        assert torch.equal(read_video("again.mkv").frames, read_video("out.mkv").frames)
    done("run", "out.mkv", "-o", "out.mkv", "--force")
    assert torch.equal(read_video("again.mkv").frames, read_video("out.mkv").frames)


@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif", "mkv"])
def test_the_same_command_twice(model, suffix):
    words = ("generate", "a ball", *SHORT, "-o", f"a.{suffix}", "--sheet", "a.png", "--save-request", "a.json")
    done(*words)
    before = files()
    done(*words)
    assert files().keys() == before.keys()
    done("run", f"a.{suffix}", "-o", "again.mkv")  # of a gif too


@pytest.mark.parametrize("seconds", ["0.5", "3"])  # in one piece, and written while it is made
def test_what_is_made_is_kept_when_its_folder_is_gone(model, monkeypatch, tmp_path, seconds):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    Path("place").mkdir()
    frames = Sampling.__call__

    def removed(self, watch):
        yield from frames(self, watch)
        shutil.rmtree("place", ignore_errors=True)

    monkeypatch.setattr(Sampling, "__call__", removed)
    said = refused("generate", "a ball", "--seconds", seconds, *FAST, "-o", "place/out.mkv")
    (kept,) = (tmp_path / "temporary").rglob("out.mkv")
    assert said.endswith(f"What was made is kept as {kept}.")
    done("run", str(kept), "-o", "again.mkv")
    assert read_video(kept).frames.shape == read_video("again.mkv").frames.shape


def test_a_video_is_told_of_before_its_sheet_fails(model, monkeypatch):
    frames = Sampling.__call__

    def taken(self, watch):
        yield from frames(self, watch)
        Path("sheet.png").mkdir()

    monkeypatch.setattr(Sampling, "__call__", taken)
    result = run("generate", "a ball", *SHORT, "-o", "out.mkv", "--sheet", "sheet.png")
    assert result.exit_code == 2 and result.stdout.startswith("out.mkv: 32x32, 5 frames")
    assert result.stderr == "error: sheet.png was not written: Is a directory.\n"


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_home_folders_are_found_wherever_a_file_is_named(model, home):
    """A shell leaves `--out=~/a` as it is, and a file has no shell."""
    for name in ("clip.mkv", "photo.png", "mask.png"):
        shutil.move(name, home / name)
    done("reverse", "~/clip.mkv", "--out=~/back.mkv")
    assert len(read_video("~/back.mkv").frames) == len(read_video(Path("~/back.mkv")).frames) == 5
    at = ("--at", "0.25=~/mask.png")
    done("animate", "~/photo.png", "a ball", *SHORT, *at, "--sheet=~/s.png", "--save-request=~/r.json", "-o", "a.mkv")
    done("run", "~/r.json", "--media=~", "--out=~/again.mkv")
    done("inpaint", "~/clip.mkv", "a ball", "--mask=~/mask.png", *FAST, "--size", "32x32", "-o", "b.mkv")
    Path("film.yaml").write_text("shots:\n- {prompt: a ball, seconds: 0.5, keyframes: {0: ~/photo.png}}\n")
    done("storyboard", "film.yaml", *FAST, "-o", "c.mkv")
    shutil.move("film.yaml", home / "film.yaml")
    done("storyboard", "~/film.yaml", *FAST, "--size", "32x32", "-o", "c.mkv")
    assert {path.name for path in home.iterdir()} >= {"back.mkv", "s.png", "r.json", "again.mkv"}
    video = model.model.animate("~/photo.png", "a ball", at={0.25: Path("~/mask.png")}, steps=1, seconds=0.5)
    video.save("~/from-python.mkv")
    assert torch.equal(read_video(home / "from-python.mkv").frames, video.frames)
    assert not Path("~").exists()


def test_a_file_called_tilde_is_not_a_home_folder(home):
    Path("~").mkdir()
    shutil.copy("clip.mkv", "~/clip.mkv")
    done("reverse", "./~/clip.mkv", "-o", "./~/back.mkv")
    assert Path("./~").resolve().joinpath("back.mkv").exists() and list(home.iterdir()) == []
    assert "there is no file" in refused("reverse", "~/clip.mkv", "-o", "out.mkv")


def test_other_commands_find_home_folders_and_keep_what_is_there(model, home, monkeypatch):
    done("world", "playroom", "--count", "1", "--size", "16x16", "--seconds", "0.5", "--out=~/world")
    done("world", "playroom", "--count", "1", "--size", "16x16", "--seconds", "0.5", "--out=~/world")
    made = {path.name for path in (home / "world").iterdir()}
    assert len(made) == 2 and "sheet.png" in made
    shutil.copy("photo.png", home / "world" / "sheet.png")
    assert "minisora did not make it" in refused("world", "playroom", "--count", "1", "--out=~/world")
    (home / "prompts.txt").write_text("my own prompts\n")
    told = ("evaluate", "--write-prompts", "~/prompts.txt", "--count", "2")
    assert "says something else" in refused(*told)
    done(*told, "--force")
    done(*told)
    assert len((home / "prompts.txt").read_text().splitlines()) == 2
    Path(home / "mine.html").write_text("<p>mine")
    assert "minisora did not make it" in refused("runs", "--page=~/mine.html")
    (home / "recipe.yaml").write_text("out: ~/curated\ninput: {media: ~/none}\n")
    assert f"{home}/none" in run("curate", "~/recipe.yaml").stderr
    assert not Path("~").exists()


def command(*words: str, **settings: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **settings}
    return subprocess.Popen(
        [sys.executable, "-m", "minisora", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )


@pytest.mark.parametrize("settings", [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}], ids=str)
def test_output_that_is_ascii_alone(settings):
    name = "é\udcff\x1b.mkv"
    process = command("reverse", "clip.mkv", "-o", name, **settings)
    shown, errors = process.communicate(timeout=120)
    assert process.returncode == 0 and Path(name).exists(), errors
    assert shown.endswith(b"\\xff\\x1b.mkv: 32x32, 5 frames at 8 fps\n")


def test_nobody_who_reads_is_no_reason_to_stop():
    words = ("world", "playroom", "--count", "3", "--size", "16x16", "--seconds", "0.5", "-o", "seen")
    process = command(*words)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=120) == 0 and errors == b""
    assert len(list(Path("seen").glob("*.mp4"))) == 3 and Path("seen/sheet.png").exists()


def test_requests_with_odd_bytes_are_refused_in_one_line(no_model):
    about = {"format": 1, "minisora": "0.1.0", "model": None}
    named = {"name": "clip\x1b.mkv", "sha256": "0" * 64}
    for verb, fields, says in (
        ("generate", {"prompt": "a\ud800 ball"}, r"is not UTF-8: after \"a\" stands \ud800"),
        ("generate", {"prompt": "a\0 ball"}, "U+0000"),
        ("reverse", {"clip": named}, r"has no file that is clip\x1b.mkv"),
        ("extend", {"clip": named, "prompt": "a\u202e", "after": 1}, "U+202E"),
    ):
        Path("asked.json").write_text(json.dumps({**about, "verb": verb, "request": fields}))
        assert says.replace('\\"', '"') in refused("run", "asked.json", "-o", "out.mp4")
    Path("asked.json").write_text("[" * 100_000)
    assert "holds no request" in refused("run", "asked.json", "-o", "out.mp4")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('shots: [{prompt: "a \\e[2J ball", seconds: 1}]', r"'a \x1b[2J ball': give words without | and control"),
        ('shots: [{prompt: "a \\uD800 ball", seconds: 1}]', "film.yaml"),
        ('shots: [{prompt: "a ball", seconds: 1, keyframes: {0: "a\\0.png"}}]', r"no file can be called"),
        ('shots: [{prompt: "a ball", seconds: 1, keyframes: {0: "a\\e[2J.png"}}]', r"a\x1b[2J.png"),
        ("shots: [{prompt: a \x07 ball, seconds: 1}]", "film.yaml is not YAML"),
    ],
)
def test_storyboards_with_odd_bytes_are_refused_in_one_line(no_model, text, says):
    Path("film.yaml").write_text(text)
    assert says in refused("storyboard", "film.yaml", "-o", "out.mp4")


def test_a_picture_is_still_what_it_was():
    assert read_image("photo.png").shape == (32, 32, 3)
