"""Which frames a claim is about, and that the real clip gets full marks."""

from __future__ import annotations

import torch

from minisora.eval import motions
from minisora.eval.motions import GIVEN, claimed
from minisora.judge.network import load_judge
from minisora.judge.playroom import PlayroomJudge


def test_after_it_was_hidden():
    areas = torch.full((33,), 100)
    areas[15:20] = 0
    asked = claimed("passes_behind", areas)
    assert asked.nonzero().flatten().tolist() == list(range(20, 33))
    assert not claimed("leaves_and_returns", torch.full((33,), 100)).any()  # it never left
    assert claimed("rolls_left", areas).nonzero().flatten().tolist() == [*range(GIVEN, 15), *range(20, 33)]


def test_scenes_have_the_motion_and_the_real_clip_is_right():
    segmenter = load_judge(PlayroomJudge).segmenter
    for motion in ("rolls_left", "struck"):
        ((scene, thing, frames, asked),) = motions._scenes(motion, 1, (64, 64))
        assert scene.things[thing].motion == motion and scene.split == "held_out" and asked[GIVEN:].any()
        marks = motions._marks(frames, frames, asked, scene.things[thing].colour, segmenter)
        assert marks["found"][1] == marks["size"][1] == 1.0 and marks["way"][1] == 0.0 <= marks["way"][2]
        lost = motions._marks(torch.full_like(frames, 128), frames, asked, scene.things[thing].colour, segmenter)
        assert lost["found"][1] == lost["size"][1] == 0.0 and lost["way"][1] == 1.0


def test_paint_stays_in_the_real_clip_and_not_on_a_bare_floor():
    ((scene, thing, frames, _),) = motions._scenes("trail", 1, (64, 64))
    assert all(shot.move == "static" for shot in scene.shots)
    real = motions.trail_marks(frames, scene, thing)
    assert [real[name][1] for name in ("painted stays", "painting goes on")] == [1.0, 1.0]
    assert real["painted stays"][2] == 0.0 and real["painting goes on"][2] < 0.1
    frozen = motions.trail_marks(frames[GIVEN - 1 : GIVEN].expand_as(frames), scene, thing)
    assert frozen["painted stays"][1] > 0.9 and frozen["painting goes on"][1] == real["painting goes on"][2]
