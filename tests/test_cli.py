"""The command line: what it refuses, in which order, and what it leaves behind. A stand-in takes the model's place."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

import minisora
from minisora.cli import app
from minisora.errors import UsageError
from minisora.video import Video, read_image, read_video

HEAVY = ("torch", "numpy", "transformers", "av", "PIL", "pyarrow")


class StandIn:
    """Answers as a model does, with frames of plain grey."""

    def __init__(self) -> None:
        self.timings = {"load": 0.1, "text": 0.2, "denoise": 0.3, "decode": 0.4}
        self.asked: dict[str, object] = {}
        self.remarks: list[str] = []

    def generate(self, prompt, *, seconds, fps, size, on_step, **rest):
        self.asked = {"prompt": prompt, "seconds": seconds, "fps": fps, "size": size, **rest}
        steps = rest.get("steps", 2)
        for done in range(steps + 1):
            on_step(done, steps)
        height, width = size or (32, 32)
        rate = fps or 8.0
        return Video(torch.full((round(seconds * rate) + 1, height, width, 3), 128, dtype=torch.uint8), rate)

    def image(self, prompt, **rest):
        return self.generate(prompt, seconds=0.0, fps=None, **rest)

    def animate(self, image, prompt, *, size, **rest):
        self.given = image
        self.remarks = ["the picture was fitted"]
        return self.generate(prompt, size=size or (24, 40), **rest)

    def notes(self, prompt):
        return ["far from what the model knows"] if "tax" in prompt else []

    def sees_at_once(self, seconds, fps):
        return seconds <= 4


@pytest.fixture
def model(monkeypatch) -> StandIn:
    stand_in = StandIn()

    def load(name="toybox", device=None, upscale=None):
        if name != "toybox":
            raise UsageError(f"there is no model {name!r}. There are: toybox.")
        return stand_in

    monkeypatch.setattr(minisora, "load", load, raising=False)
    return stand_in


@pytest.fixture
def no_model(monkeypatch) -> None:
    def load(name="toybox", device=None, upscale=None):
        raise AssertionError("the model was loaded for nothing")

    monkeypatch.setattr(minisora, "load", load, raising=False)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str):
    return CliRunner().invoke(app, list(words))


def refused(*words: str) -> str:
    """The one line that the command gave."""
    result = run(*words)
    assert result.exit_code == 2, (result.output, result.exception)
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    assert result.stdout == ""
    return lines[0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["generate", ""], "the prompt is empty"),
        (["generate", " \n"], "the prompt is empty"),
        (["image", ""], "the prompt is empty"),
        (["animate", "photo.png", ""], "the prompt is empty"),
        (["generate", "a ball", "--seconds", "0"], "--seconds 0: give a number above 0"),
        (["generate", "a ball", "--seconds", "-2"], "--seconds -2"),
        (["generate", "a ball", "--seconds", "nan"], "--seconds nan"),
        (["generate", "a ball", "--seconds", "inf"], "--seconds inf"),
        (["generate", "a ball", "--fps", "0"], "--fps 0"),
        (["generate", "a ball", "--fps", "0.000004"], "--fps 4e-06"),
        (["generate", "0-2s: a ball | it bounces"], "has no times"),
        (["extend", "clip.mp4", "a ball", "--after", "inf"], "--after inf"),
        (["extend", "clip.mp4", "a ball", "--before", "nan"], "--before nan"),
        (["generate", "a ball", "--size", "0x64"], "--size 0x64: give WIDTHxHEIGHT"),
        (["generate", "a ball", "--size=-64x64"], "--size -64x64"),
        (["generate", "a ball", "--size", "64"], "--size 64"),
        (["generate", "a ball", "--size", "64x64x3"], "--size 64x64x3"),
        (["generate", "a ball", "--size", "6.5x64"], "--size 6.5x64"),
        (["generate", "a ball", "--steps", "0"], "--steps 0"),
        (["generate", "a ball", "--zoom", "0"], "--zoom 0"),
        (["generate", "a ball", "--seed", "-1"], "--seed -1"),
        (["generate", "a ball", "--guidance", "nan"], "--guidance nan"),
        (["generate", "a ball", "--candidates", "0"], "--candidates 0: give 1 or more"),
        (["image", "a ball", "--candidates", "-3", "-o", "a.png"], "--candidates -3"),
        (["generate", "a ball", "--candidates", "4", "--one-stage"], "--one-stage makes no first frame to choose"),
        (["generate", "a ball", "--candidates", "4", "--from", "small.mp4"], "--from has its first frame already"),
        (["generate", "a ball", "--one-stage", "--from", "small.mp4"], "--from has its first frame already"),
        (["storyboard", "film.yaml", "--candidates", "4", "--one-stage"], "--one-stage makes no first frame"),
        (["generate", "a ball", "-o", "."], "is a folder"),
        (["generate", "a ball", "-o", "missing/out.mp4"], "there is no folder"),
        (["generate", "a ball", "-o", "out.txt"], "no suffix"),
        (["generate", "a ball", "-o", "out.png"], "one picture"),
        (["generate", "a ball", "--sheet", "sheet.jpg"], "a contact sheet is a .png"),
        (["generate", "a ball", "-o", "a-%04d.png", "--sheet", "a-%04d.png"], "would replace the output"),
        (["animate", "photo.png", "it rolls"], "photo.png"),
        (["world", "nowhere"], "there is no world 'nowhere'. There are: playroom, stickers, gym:ENV."),
        (["world", "playroom", "--count", "0"], "--count 0"),
        (["world", "playroom", "--size", "99999x99999"], "GiB of memory"),
    ],
)
def test_refused_before_the_model_is_loaded(no_model, tmp_path, words, says):
    assert says in refused(*words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n\0\0\0"])
def test_a_picture_that_cannot_be_read(no_model, tmp_path, content):
    (tmp_path / "photo.png").write_bytes(content)
    assert "photo.png" in refused("animate", "photo.png", "it rolls")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_a_model_that_is_not_there(model):
    assert "There are: toybox." in refused("generate", "a ball", "--model", "sora")


def test_a_recipe_that_is_not_there():
    recipes = pytest.importorskip("minisora.recipes")
    says = refused("train", "nothing")
    assert all(name in says for name in recipes.RECIPES)


def test_generate_writes_what_was_asked(model, tmp_path):
    result = run(
        *("generate", "a red ball", "-o", "ball.mkv", "--seconds", "1", "--fps", "4", "--size", "48x36"),
        *("--seed", "7", "--steps", "3", "--guidance", "2", "--sampler", "euler", "--sheet", "ball.png", "--timings"),
    )
    assert result.exit_code == 0, result.stderr
    assert model.asked == {
        **{"prompt": "a red ball", "seconds": 1.0, "fps": 4.0, "size": (36, 48)},  # WIDTHxHEIGHT to (height, width)
        **{"seed": 7, "steps": 3, "guidance": 2.0, "sampler": "euler", "context_noise": 0.0},
    }
    written = read_video(tmp_path / "ball.mkv")
    assert written.frames.shape == (5, 36, 48, 3) and written.fps == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ball.mkv", "ball.png"]
    first, *rest = result.stdout.splitlines()
    assert first == "ball.mkv: 48x36, 5 frames at 4 fps"
    stages = [line.rsplit(maxsplit=2)[0].strip() for line in rest[1:]]
    assert stages == ["load", "text", "denoise", "decode", "write", "all of it"]
    assert result.stderr == ""


def test_notes_go_to_stderr(model):
    result = run("generate", "a tax report", "-o", "out.mp4", "--size", "33x32", "--seconds", "0.5")
    assert result.exit_code == 0, result.stderr
    notes = result.stderr.splitlines()
    assert all(note.startswith("note: ") for note in notes)
    assert "far from what" in notes[0] and len(notes) == 2  # and the column that h264 needs


def test_image(model, tmp_path):
    result = run("image", "a red ball", "-o", "ball.png", "--zoom", "2")
    assert result.exit_code == 0, result.stderr
    assert read_image(tmp_path / "ball.png").shape == (64, 64, 3)


def test_animate_says_how_the_picture_was_fitted(model, tmp_path):
    Video(torch.zeros(1, 60, 100, 3, dtype=torch.uint8), 1.0).save(tmp_path / "photo.png")
    result = run("animate", "photo.png", "it rolls", "-o", "out.mp4")
    assert result.exit_code == 0, result.stderr
    assert model.given == {0.0: Path("photo.png")}
    assert result.stderr.splitlines() == ["note: the picture was fitted"]


def test_ctrl_c_in_the_middle_leaves_nothing(model, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "generate", interrupted)
    result = run("generate", "a ball")
    assert result.exit_code == 130 and result.stderr == "stopped\n"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_after_some_windows_leaves_what_is_made(model, monkeypatch, tmp_path):
    """Of any verb; a stream does so by itself."""
    from minisora.generate.tasks import Stopped

    def stopped(*_, **__):
        raise Stopped(Video(torch.zeros(9, 16, 24, 3, dtype=torch.uint8), 8.0), 25)

    monkeypatch.setattr(model, "generate", stopped)
    result = run("generate", "a ball", "--seconds", "3", "-o", "out.mkv")
    assert result.exit_code == 130 and len(read_video(tmp_path / "out.mkv").frames) == 9
    assert 'minisora extend out.mkv "PROMPT" --after 2 --size 24x16 --fps 8' in result.stderr


def test_how_the_first_frame_is_made_reaches_the_model(model):
    small = ("--seconds", "0.5", "-o", "out.mkv")
    for words, asked in (
        (("generate", "a ball", "--candidates", "3", *small), {"candidates": 3}),
        (("generate", "a ball", "--one-stage", *small), {"one_stage": True}),
        (("generate", "a ball", *small), {}),
        (("image", "a ball", "--candidates", "2", "-o", "out.png"), {"candidates": 2}),
    ):
        assert run(*words).exit_code == 0
        assert {name: model.asked[name] for name in ("candidates", "one_stage") if name in model.asked} == asked


def test_a_preview_is_told_of_what_it_shows(model):
    model.bundle = SimpleNamespace(sampling=SimpleNamespace(seconds=2.0))
    model.preview_size = lambda size: (32, 32)
    result = run("generate", "0-1s: a | 1-4s: b | 4s-: c", "--seconds", "8", "--preview", "-o", "small.mp4")
    assert result.exit_code == 0, result.stderr
    assert model.asked["prompt"] == "0-1: a | 1-: b" and model.asked["seconds"] == 2.0


def test_a_colour_is_painted_over_where_it_is_ever_seen(model, tmp_path):
    clip = torch.full((3, 16, 24, 3), 90, dtype=torch.uint8)
    clip[1, 4:8, 6:10] = torch.tensor([220, 30, 20], dtype=torch.uint8)
    Video(clip, 8.0).save(tmp_path / "clip.mkv")
    asked = {}

    def inpaint(video, hole, prompt, **_):
        asked["hole"] = hole
        return video

    model.inpaint, model.preview_size = inpaint, lambda size: (16, 24)
    result = run("inpaint", "clip.mkv", "sand", "--colour", "210,40,30", "-o", "out.mkv")
    assert result.exit_code == 0, result.stderr
    expected = torch.zeros(16, 24, dtype=torch.bool)
    expected[4:8, 6:10] = True
    assert torch.equal(asked["hole"], expected)
    assert "no pixel of clip.mkv is within" in refused("inpaint", "clip.mkv", "sand", "--colour", "0,0,250")
    assert "--box X,Y,WIDTH,HEIGHT, --mask FILE or --colour" in refused("inpaint", "clip.mkv", "sand")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to another process")
def test_a_real_ctrl_c(tmp_path):
    command = [sys.executable, "-u", "-m", "minisora", "world", "playroom", "--count", "1000", "--size", "16x16"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs ignore SIGINT, and hand that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    assert process.stdout.readline()  # the first clip is there
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors == "stopped\n"
    assert not [path for path in Path("out/world").iterdir() if ".part" in path.name]


def test_a_world_writes_clips_and_their_captions(tmp_path):
    result = run("world", "playroom", "--count", "2", "--seed", "5", "--size", "24x16", "--seconds", "1", "-o", "seen")
    assert result.exit_code == 0, (result.stderr, result.exception)
    clips = sorted((tmp_path / "seen").glob("*.mp4"))
    assert len(clips) == 2 and (tmp_path / "seen" / "sheet.png").exists()
    assert read_video(clips[0]).frames.shape == (9, 16, 24, 3)


def imported_by(*arguments: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True
    )
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in result.stderr.splitlines() if "|" in line}


def test_nothing_heavy_at_import_or_for_help():
    assert not imported_by("-c", "import minisora") & {*HEAVY, "typer"}
    assert not imported_by("-m", "minisora", "generate", "--help") & set(HEAVY)


def test_import_takes_less_than_a_fifth_of_a_second():
    code = "import time; start = time.process_time(); import minisora; print(time.process_time() - start)"
    taken = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(taken) < 0.2


def test_a_broken_option_is_status_2():
    assert run("generate", "a ball", "--sizes", "3").exit_code == 2
    assert run("generate").exit_code == 2


def test_the_embedded_model_from_the_command_line(toybox, tmp_path):
    started = time.perf_counter()
    command = [sys.executable, "-m", "minisora", "generate", "a red ball rolls to the left", "-o", "ball.mp4"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(read_video(tmp_path / "ball.mp4").frames) == 17
    assert time.perf_counter() - started < 120  # far above what it should take: machines differ


@pytest.mark.long
def test_processes_that_share_the_tokens_make_the_video_of_one(toybox, tmp_path):
    """Ulysses in sampling: the same command alone and under torchrun, which writes it once."""
    launch = {
        "one.mp4": ["-m"],
        "two.mp4": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"],
    }
    for name, how in launch.items():
        words = ["generate", "a red ball rolls to the left", "--seconds", "1", "--steps", "4", "-o", name]
        ended = subprocess.run([sys.executable, *how, "minisora", *words], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr[-2000:]
    alone, shared = (read_video(tmp_path / name).frames.float() for name in launch)
    assert alone.shape == shared.shape and (alone - shared).abs().mean() < 0.5
    assert sorted(path.name for path in tmp_path.glob("*.mp4")) == sorted(launch)


@pytest.mark.parametrize("options", [(), ("--steps", "24"), ("--guidance", "2"), ("--sampler", "heun")], ids=str)
def test_a_model_is_told_of_steps_guidance_and_sampler_only_where_they_are_given(model, options):
    """By this it knows whether its student is asked for."""
    assert run("generate", "a red ball", *options, "-o", "out.mkv").exit_code == 0
    names = {"steps", "guidance", "sampler"} & set(model.asked)
    assert names == {option.removeprefix("--") for option in options if option.startswith("--")}
