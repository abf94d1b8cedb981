"""Benchmarks by name, and what the command refuses before a model is loaded."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

import minisora
from minisora.bundle import Bundle, Sampling
from minisora.cli import app
from minisora.errors import UsageError
from minisora.eval import command
from minisora.video import Video


class Grey:
    """Makes clips of plain grey, and keeps what it was asked for."""

    def __init__(self, weight=0.0):
        layer = torch.nn.Linear(2, 2)
        torch.nn.init.constant_(layer.weight, weight)
        torch.nn.init.zeros_(layer.bias)
        text = SimpleNamespace(fingerprint="reads English")
        self.bundle = Bundle("grey", vae=layer, dit=layer, text=text, sampling=Sampling())
        self.asked = []

    def generate(self, prompt, *, seed):
        return Video(torch.full((3, 16, 16, 3), seed % 256, dtype=torch.uint8), 8.0)

    def animate(self, picture, prompt, *, seed, seconds=2.0):
        self.asked.append(("animate", picture.name, seconds))
        frames = torch.full((1 + round(8 * seconds), 16, 16, 3), 90, dtype=torch.uint8)
        frames[0] = 255
        return Video(frames, 8.0)

    def extend(self, clip, prompt, *, after, seed):
        self.asked.append(("extend", len(clip.frames), after))
        return Video(torch.cat([clip.frames, torch.zeros(round(8 * after), 16, 16, 3, dtype=torch.uint8)]), 8.0)


def test_clips_for_a_benchmark(tmp_path):
    prompts = tmp_path / "colours.txt"
    prompts.write_text("a red ball\na blue cube\n")
    with pytest.raises(UsageError, match="names its prompt files"):
        command.export(Grey(), "compbench", prompts, tmp_path / "out")
    scene = tmp_path / "scene.txt"
    scene.write_text("a red ball\n")
    made = command.export(Grey(), "vbench", scene, tmp_path / "out")
    assert sorted(path.name for path in made) == [f"a red ball-{n}.mp4" for n in range(5)]
    assert command.export(Grey(), "vbench", scene, tmp_path / "out") == []


def test_clips_of_another_model_are_not_taken_for_what_is_asked(tmp_path):
    (prompts := tmp_path / "scene.txt").write_text("a red ball\n")
    made = command.export(Grey(), "vbench", prompts, tmp_path / "out")
    before = [path.read_bytes() for path in made]
    slower = Grey()
    slower.bundle = replace(slower.bundle, sampling=Sampling(steps=48))
    for other in (Grey(weight=1.0), slower):
        with pytest.raises(UsageError, match="made by another model"):
            command.export(other, "vbench", prompts, tmp_path / "out")
    assert [path.read_bytes() for path in made] == before
    assert len(command.export(slower, "vbench", prompts, tmp_path / "slower")) == 5


@pytest.mark.parametrize("suffix", [".jpg", ".mp4"])
def test_physics_iq_gets_what_follows_and_nothing_that_was_given(tmp_path, suffix):
    given, prompts = tmp_path / "given", tmp_path / "descriptions.csv"
    given.mkdir()
    start = given / f"0001_start{suffix}"
    if suffix == ".mp4":
        Video(torch.full((4, 16, 16, 3), 255, dtype=torch.uint8), 8.0).save(start)
    else:
        start.touch()
    prompts.write_text(
        "scenario,description,category,generated_video_name\n"
        "0001_perspective-left_take-1_ball.mp4,A ball.,Solid,0001_perspective-left_ball.mp4\n"
    )
    model = Grey()
    (path,) = command.export(model, "physics-iq", prompts, tmp_path / "out", given=given)
    frames = Video.open(path).frames
    assert len(frames) == 40 and float(frames.float().mean((1, 2, 3)).max()) < 128
    assert model.asked == [("animate", "0001_start.jpg", 5.0) if suffix == ".jpg" else ("extend", 4, 5.0)]


def test_result_files_are_told_with_totals_where_all_is_there(tmp_path):
    from minisora.eval.exchange import QUALITY, SEMANTIC

    some, every = tmp_path / "a_eval_results.json", tmp_path / "b_eval_results.json"
    some.write_text(json.dumps({"scene": [0.4, []]}))
    assert command.read("vbench", some) == "scene: 0.4000"
    every.write_text(json.dumps({name.replace(" ", "_"): [0.5, []] for name in (*QUALITY, *SEMANTIC)}))
    assert "total: 0." in command.read("vbench", every)
    with pytest.raises(UsageError, match="There are: vbench, vbench2"):
        command.read("sora", some)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--export", "sora"), "there is no benchmark 'sora' here. There are: vbench"),
        (("--export", "vbench"), "needs --prompts"),
        (("--export", "physics-iq", "--prompts", "a.csv"), "switch-frames with --given"),
        (("--read", "sora", "a.json"), "there is no benchmark"),
        (("--read", "vbench", "a.json"), "a.json cannot be read"),
        (("--write-prompts", "a.doc"), "written as .txt, .csv or .jsonl"),
        (("--folder", "nowhere"), "holds no video"),
        (("--world", "-1"), "world -1"),
        (("--count", "0"), "give 1 or more prompts"),
    ],
)
def test_refused_before_the_model_is_loaded(tmp_path, monkeypatch, words, says):
    def load(name="toybox", device=None, upscale=None):
        raise AssertionError("the model was loaded for nothing")

    monkeypatch.setattr(minisora, "load", load, raising=False)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["evaluate", *words])
    assert result.exit_code == 2 and says in result.stderr, (result.stderr, result.exception)
