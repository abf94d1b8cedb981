"""The measures of the verbs on clips of which the answer is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from minisora.eval import verbs
from minisora.eval.rows import NAN, Figure, figure_of, verb_table
from minisora.eval.verbs import Case
from minisora.judge.network import load_judge
from minisora.judge.playroom import Found, PlayroomJudge
from minisora.video import Video
from minisora.worlds import playroom


@pytest.fixture(scope="module")
def case() -> Case:
    return verbs._cases(1, (64, 64))[0]


def test_real_frames_join_without_a_trace_and_cuts_do_not(case):
    other = case.real.flip(2).roll(3, 0)
    for at in (5, 9, 13):
        better, model, floor, ceiling = verbs._join(case.real, case, other, at)
        assert better == "lower" and model == ceiling and floor > 2 * ceiling


def test_roughness_is_the_second_difference_at_the_join():
    ramp = torch.arange(10, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 4, 4, 3)
    assert verbs._roughness(ramp, 5) == 0
    jumped = torch.cat([ramp[:5], ramp[5:] + 20])
    assert verbs._roughness(jumped, 5) == 20 and verbs._roughness(jumped, 8) == 0


def test_the_real_clip_goes_the_real_way_and_a_frozen_one_does_not():
    judge = load_judge(PlayroomJudge)
    moving = next(case for case in verbs._cases(12, (64, 64)) if any("rolls" in t.motion for t in case.scene.things))
    better, model, floor, _ = verbs._trajectory(moving.real, moving, judge, first=9, known=9)
    assert better == "lower" and model == 0 <= floor
    frozen = moving.real[8:9].expand(17, -1, -1, -1)
    assert verbs._trajectory(frozen, moving, judge, first=9, known=9)[1] > 0.02


class Answers:
    """A model that gives the same frames to whatever is asked of it."""

    def __init__(self, frames):
        self.frames = frames

    def outpaint(self, *_, **__):
        return Video(self.frames, 8.0)

    generate = storyboard = connect = inpaint = outpaint


def rendered(case, width=64, frames=17):
    return playroom.render([case.scene], height=64, width=width, fps=8.0, num_frames=frames).frames[0]


def test_the_truth_around_a_clip_reaches_the_ceiling_and_another_scene_the_floor():
    judge, (case, other) = load_judge(PlayroomJudge), verbs._cases(2, (64, 64))
    truth, pasted = rendered(case, 112), rendered(other, 112)
    pasted[:, :, 24:88] = truth[:, :, 24:88]
    for frames, place in ((truth, 2), (pasted, 1)):
        marks, shown = verbs._outpaint(Answers(frames), case, other, judge, 0)
        assert marks["clip exact"][1] == 1 and torch.equal(shown, frames)
        for name in ("edge", "colours"):
            assert marks[name][1] == marks[name][1 + place], name
    assert marks["edge"][1] > 2 and marks["PSNR around it, dB"][1] == marks["PSNR around it, dB"][2] < 30


def test_things_of_one_scene_are_kept_over_a_cut_and_those_of_another_are_not():
    judge, (case, other) = load_judge(PlayroomJudge), verbs._cases(2, (64, 64))
    real = rendered(case, frames=33)
    marks, _ = verbs._storyboard(Answers(real), case, other, judge, 0)
    assert marks["keyframe exact"][1] == 1
    for field in ("colour", "shape", "size"):
        assert marks[f"{field} kept"][1] == marks[f"{field} kept"][3] >= 0.5
    changed, _ = verbs._storyboard(Answers(torch.cat([case.real, other.real[1:]])), case, other, judge, 0)
    assert changed["colour kept"][1] <= marks["colour kept"][1]


def test_a_scene_with_a_cut_is_its_own_ceiling_and_one_without_is_no_cut():
    judge, (case, other) = load_judge(PlayroomJudge), verbs._cases(2, (64, 64))
    scene = verbs._with_cut(0)
    assert scene.cut is not None and scene != verbs._with_cut(1)
    real = playroom.render([scene], height=64, width=64, fps=8.0, num_frames=17).frames[0]
    marks, shown = verbs._cut(Answers(real), case, other, judge, 0)
    assert marks["cut made"][1:] == (1, 0, 1) and torch.equal(shown, real)
    for field in ("colour", "shape", "size"):
        assert marks[f"{field} kept"][1] == marks[f"{field} kept"][3] >= 0.5
    marks, _ = verbs._cut(Answers(case.real), case, other, judge, 0)
    assert marks["cut made"][1:] == (0, 0, 1) and math.isnan(marks["shape kept"][1])


def test_nothing_kept_of_nothing_is_no_figure():
    ball = Found("red", "ball", "small", "none", "none")
    assert math.isnan(verbs._kept([], [ball], "shape"))
    assert verbs._kept([ball, replace(ball, colour="blue")], [ball], "shape") == 0.5
    assert verbs._kept([ball], [replace(ball, shape="cube")], "shape") == 0


def test_another_colour_is_asked_for_in_a_hole():
    """So what leaks out of the hole scores nothing."""
    judge = load_judge(PlayroomJudge)
    case = next(case for case in verbs._cases(8, (64, 64)) if case.scene.things[0].colour in case.prompt)
    marks, _ = verbs._inpaint(Answers(case.real), case, case, judge, 3)
    _, model, floor, ceiling = marks["new colour in the hole"]
    assert marks["outside exact"][1] == 1 and model == floor == 0 and ceiling == 1


def test_half_way_between_is_a_blend():
    one, other = torch.zeros(2, 2, 3, dtype=torch.uint8), torch.full((2, 2, 3), 100, dtype=torch.uint8)
    assert verbs._blended(one, other, 3)[:, 0, 0, 0].tolist() == [25, 50, 75]


def test_a_figure_says_how_much_of_the_gap_is_closed():
    found = [
        {"join": ("lower", 2.0, 5.0, 1.0)},
        {"join": ("lower", 4.0, 5.0, 1.0)},
        {"join": ("lower", NAN, 5.0, 1.0)},
    ]
    figure = figure_of("extend", "join", found)
    assert (figure.n, figure.mean, figure.floor, figure.ceiling) == (2, 3.0, 5.0, 1.0)
    assert figure.closed == 0.5 and figure.low <= 3 <= figure.high
    assert "| extend | join | lower | 2 |" in verb_table([figure])
    assert Figure("a", "b", "lower", 1, 1.0, 1.0, 1.0, 1.0, 1.0).row().endswith("nan |")


def test_scenes_are_held_out_and_without_a_cut(case):
    assert case.scene.split == "held_out" and case.scene.cut is None
    again = playroom.render([case.scene], height=64, width=64, fps=8.0, num_frames=17).frames[0]
    assert torch.equal(again, case.real) and len(case.fast) == 33
