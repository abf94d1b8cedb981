"""Lists of prompts: one load, a video each, and what is whole stays."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

import minisora
from minisora.eval.folder import read_prompts
from minisora.generate.frames import Sampling
from minisora.video import Video, read_image, read_video
from tests.helpers.command import elsewhere, model, no_model, refused, run
from tests.helpers.tiny import bundle, picture

__all__ = ["bundle", "elsewhere", "model", "no_model"]  # fixtures

FAST = ("--steps", "1", "--guidance", "1", "--seconds", "0.5")
THREE = 'a red ball\n\n  a blue cube, "two"  \na green cone\n'


def listed(text: str | bytes = THREE, name: str = "list.txt") -> str:
    Path(name).write_bytes(text.encode() if isinstance(text, str) else text)
    return name


def rows(folder: str = "out") -> list[dict[str, str]]:
    with Path(folder, "prompts.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def times(folder: str = "out") -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in Path(folder).iterdir() if path.suffix != ".csv"}


def test_a_video_of_each_line_as_the_command_alone_makes_it(model, monkeypatch):
    loads, load = [], minisora.load
    monkeypatch.setattr(minisora, "load", lambda *names, **how: loads.append(names) or load(*names, **how))
    result = run("generate", "--prompts", listed(), "-o", "out", *FAST, "--seed", "7", "--suffix", "mkv")
    assert result.exit_code == 0, (result.output, result.exception)
    assert len(loads) == 1 and sorted(times()) == ["0001.mkv", "0002.mkv", "0003.mkv"]
    assert result.stdout.splitlines()[-1] == "out: 3 made, 0 there before; prompts.csv lists them"
    assert rows() == [
        {"file": f"000{n}.mkv", "prompt": prompt, "seed": "7", "seconds": "0.625", "error": ""}
        for n, prompt in enumerate(("a red ball", 'a blue cube, "two"', "a green cone"), 1)
    ]
    assert run("generate", 'a blue cube, "two"', "-o", "alone.mkv", *FAST, "--seed", "7").exit_code == 0
    assert torch.equal(read_video("alone.mkv").frames, read_video("out/0002.mkv").frames)
    told = [(path.name, prompt) for path, prompt in read_prompts(Path("out"))]  # as evaluation reads it
    assert told == [("0001.mkv", "a red ball"), ("0002.mkv", 'a blue cube, "two"'), ("0003.mkv", "a green cone")]


def test_pictures_too(model):
    result = run("image", "--prompts", listed(), "-o", "out", "--steps", "1", "--zoom", "2")
    assert result.exit_code == 0, (result.output, result.exception)
    assert read_image("out/0003.png").shape == (64, 64, 3) and rows()[0]["seconds"] == ""


@pytest.mark.parametrize("suffix", ["mp4", "webm", "mkv", "gif"])
def test_what_is_whole_is_not_made_again_and_what_changed_is(model, suffix):
    words = ("generate", "--prompts", "list.txt", "-o", "out", "--suffix", suffix, "--size", "33x32", *FAST)
    listed()
    assert run(*words).exit_code == 0
    before = times()
    assert "out: 0 made, 3 there before" in run(*words).stdout and times() == before
    listed(THREE.replace("blue", "yellow") + "a fourth\n")
    assert "out: 2 made, 2 there before" in run(*words).stdout
    assert {name for name, time in times().items() if before.get(name) != time} == {f"0002.{suffix}", f"0004.{suffix}"}
    for more in (("--seed", "1"), ("--zoom", "2"), ("--size", "48x32")):
        assert "4 made, 0 there before" in run(*words, *more).stdout, more
        assert "0 made, 4 there before" in run(*words, *more).stdout, more
    model.model.bundle.digest = "other weights"
    assert "4 made, 0 there before" in run(*words, *more).stdout


def test_part_of_a_video_is_made_anew(model):
    words = ("generate", "--prompts", listed(), "-o", "out", "--suffix", "mkv", *FAST)
    assert run(*words).exit_code == 0
    whole = Video.open("out/0002.mkv").frames
    comment = json.dumps(json.loads(minisora.video.read.read_comment("out/0002.mkv")))  # type: ignore[attr-defined]
    Video(whole[:3], 8.0, request=comment).save("out/0002.mkv")  # as Ctrl-C leaves one
    Path("out/0003.mkv").write_bytes(Path("out/0003.mkv").read_bytes()[:100])
    assert "is there, and minisora did not make it" in refused(*words)
    Path("out/0003.mkv").unlink()
    assert "2 made, 1 there before" in run(*words).stdout
    assert torch.equal(Video.open("out/0002.mkv").frames, whole)


def test_a_broken_line_costs_itself(model):
    text = b"a ball\n3-2: the score\ncaf\xe9\na \x1b[2J cube\na cone\n" + b"far " * 600 + b"\n"
    result = run("generate", "--prompts", listed(text), "-o", "out", *FAST)
    assert result.exit_code == 1, (result.output, result.exception)
    assert sorted(times()) == ["0001.mp4", "0005.mp4"]
    *lines, last = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert all(line.startswith(f"list.txt:{n}") for line, n in zip(lines, (2, 3, 4, 6), strict=True))
    assert (
        "was read as a time" in lines[0] and "is not UTF-8" in lines[1] and "U+001B" in lines[2] and "long" in lines[3]
    )
    assert last == "4 of 6 prompts made nothing; the reasons are above" and "\x1b" not in result.output
    assert [bool(row["error"]) for row in rows()] == [False, True, True, True, False, True]
    assert rows()[2]["prompt"] == "" and "\x1b" not in Path("out/prompts.csv").read_text()
    result = run("generate", "--prompts", "list.txt", "-o", "out", *FAST)
    assert result.exit_code == 1 and "0 made, 2 there before" in result.stdout


@pytest.mark.parametrize("seconds", ["0.5", "3"])  # in one piece, and written while it is made
def test_ctrl_c_keeps_what_is_whole_and_the_command_goes_on(model, monkeypatch, seconds):
    frames = Sampling.__call__

    def interrupted(self, watch):
        for piece in frames(self, watch):
            if str(self.prompt) == "a green cone":
                yield piece[:2]
                raise KeyboardInterrupt
            yield piece

    monkeypatch.setattr(Sampling, "__call__", interrupted)
    words = ("generate", "--prompts", listed(), "-o", "out", *FAST[:4], "--seconds", seconds, "--one-stage")
    result = run(*words)
    assert result.exit_code == 130, (result.output, result.exception)
    assert sorted(times()) == ["0001.mp4", "0002.mp4"]
    assert result.stderr.endswith("stopped: 2 of 3 are there; the same command goes on\n")
    assert [row["file"] for row in rows()] == ["0001.mp4", "0002.mp4"]
    monkeypatch.setattr(Sampling, "__call__", frames)
    assert "1 made, 2 there before" in run(*words).stdout and len(rows()) == 3


def test_a_shorter_list_leaves_the_files_of_the_longer_one_with_their_prompts(model):
    words = ("image", "--prompts", "list.txt", "-o", "out", "--steps", "1")
    listed()
    assert run(*words).exit_code == 0
    listed("a red ball\n")
    assert run(*words).exit_code == 0
    assert [row["prompt"] for row in rows()] == ["a red ball", 'a blue cube, "two"', "a green cone"]
    Path("out/0002.png").unlink()
    assert run(*words).exit_code == 0 and [row["file"] for row in rows()] == ["0001.png", "0003.png"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "name a folder for them with -o, not out.mp4"),
        (("-o", "videos.mp4"), "name a folder for them with -o, not videos.mp4"),
        (("-o", "list.txt"), "name a folder for them with -o, not list.txt"),
        (("-o", "out", "--suffix", "png"), "would hold one picture"),
        (("-o", "out", "--suffix", "avi"), "no suffix that names a format"),
        (("-o", "out", "--sheet", "a.png"), "--sheet is of one video"),
        (("-o", "out", "--save-request", "a.json"), "--save-request is of one video"),
        (("-o", "out", "--timings"), "--timings is of one video"),
        (("-o", "out", "--steps", "0"), "--steps 0: give 1 to 1000"),
        (("-o", "out", "--from", "missing.mp4"), "missing.mp4"),
        (("a ball", "-o", "out"), "give one prompt"),
    ],
)
def test_options_that_no_list_has_are_refused_at_once(no_model, words, says):
    assert says in refused("generate", "--prompts", listed(), *words)
    assert "missing.txt cannot be read" in refused("generate", "--prompts", "missing.txt", "-o", "out")


def test_a_list_and_its_inputs_are_not_replaced(no_model):
    Path("out").mkdir()
    Path("out/prompts.csv").write_text("file,prompt\n0001.mp4,mine\n")
    assert "prompts.csv is there, and minisora did not make it" in refused(
        "generate", "--prompts", listed(), "-o", "out"
    )
    Path("out/prompts.csv").unlink()
    Video(picture(2, 32, 32), 8.0, request="{}").save("out/0002.mp4")
    assert "0002.mp4 is there, and minisora did not make it" in refused(
        "generate", "--prompts", "list.txt", "-o", "out"
    )
    said = refused("generate", "--prompts", "list.txt", "--from", "out/0002.mp4", "-o", "out")
    assert "0002.mp4 would replace the input" in said


def test_a_folder_may_have_a_dot(model):
    assert run("image", "--prompts", listed("a ball\n"), "-o", "my.pictures", "--steps", "1").exit_code == 0
    assert sorted(times("my.pictures")) == ["0001.png"]


def test_a_loop_has_lists_and_an_edit_has_none(model):
    words = ("--prompts", listed("a ball\n"), "-o", "out", *FAST)
    assert run("loop", *words).exit_code == 0 and sorted(times()) == ["0001.mp4"]
    assert "No such option: --prompts" in refused("edit", "clip.mp4", "a ball", *words[:2])
