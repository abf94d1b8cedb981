"""Physics on ways that are known, and what is read of real renders against the simulator."""

from __future__ import annotations

import math
from statistics import fmean

import pytest
import torch

from minisora.eval import physics
from minisora.eval.physics import FRAMES, GIVEN, LOST, TIMES
from minisora.judge.network import load_judge
from minisora.judge.playroom import FPS, PlayroomJudge
from minisora.worlds import playroom
from minisora.worlds.playroom.motion import after_collision


@pytest.fixture(scope="module")
def cases():
    return {case.kind: case for case in physics.cases(1)}


def test_errors_on_paper():
    true = torch.from_numpy(TIMES)[None] * 0.8
    assert physics.position_error(true, true) == 0 == physics.velocity_error(true, true)
    assert physics.position_error(true + 0.3, true) == pytest.approx(0.3)
    assert physics.velocity_error(true + 0.3, true) == pytest.approx(0)
    held = true[:, GIVEN - 1 : GIVEN].expand(1, FRAMES)
    assert physics.velocity_error(held, true) == pytest.approx(0.8)
    assert physics.position_error(held, true) == pytest.approx(0.8 / FPS * (FRAMES - GIVEN + 1) / 2)
    lost = true.clone()
    lost[:, GIVEN:] = math.nan
    assert physics.position_error(lost, true) == LOST and physics.velocity_error(lost, true) == pytest.approx(0.8)


@pytest.mark.parametrize("restitution", [0.75, 1.0])
def test_momentum_is_kept_by_a_collision_of_the_simulator(restitution):
    masses, speed, contact = torch.tensor([0.4, 0.1], dtype=torch.float64), 0.9, 1.0
    late = torch.from_numpy(TIMES - contact).clamp(min=0)
    ways = torch.stack([speed * late for speed in after_collision(0.4, speed, 0.1, restitution)])
    assert physics.momentum_after(ways, masses, contact) == pytest.approx(0.4 * speed)
    gone = torch.full_like(ways, math.nan)
    assert physics.momentum_after(torch.stack([ways[0], gone[1]]), masses, contact) < 0.4 * speed
    assert physics.momentum_after(gone, masses, contact) == 0


def test_real_clips_are_read_as_the_simulator_has_them():
    """Averaged over three scenes of a kind: slow things leave a small gap to the floor."""
    segmenter, read = load_judge(PlayroomJudge).segmenter, dict[str, list[physics.Marks]]()
    for case in physics.cases(3):
        if case.kind in ("rolls", "collides", "bounces", "fast"):
            rendered = playroom.render([case.scene], height=64, width=64, fps=FPS, num_frames=case.frames)
            marks = physics.motion_marks(rendered.frames[0], rendered.frames[0], case, segmenter)
            assert all(better == "lower" and model == ceiling for better, model, _, ceiling in marks.values())
            read.setdefault(case.kind, []).append(marks)
    for kind, most in (("rolls", 0.15), ("collides", 0.2), ("bounces", 0.3), ("fast", 0.3)):
        for name in read[kind][0]:
            model, floor = (fmean(marks[name][n] for marks in read[kind]) for n in (1, 2))
            assert model < 0.3 * floor, (kind, name, model, floor)
        for marks in read[kind]:
            assert marks["position, units"][3] < 0.1 and marks["velocity, units/s"][3] < most, (kind, marks)
    assert set(read["fast"][0]) == {"position, units", "velocity, units/s"}


def test_collisions_come_after_what_is_given_and_the_camera_rests(cases):
    event = cases["collides"].scene.things[0].path.event
    assert event > TIMES[GIVEN - 1] and cases["collides"].movers == (0, 1)
    assert all(shot.move == "static" for case in cases.values() for shot in case.scene.shots)
    assert cases["rolls"].scene.split == "held_out" and cases["slow"].scene.split == "train"


def test_another_speed_keeps_the_middle(cases):
    """Training had 0.48 to 0.76 units/s, and trails up to 0.9."""
    slow, fast = (cases[kind].scene.things[0].path for kind in ("slow", "fast"))
    assert slow.speed < 0.4 and fast.speed > 0.9 and slow.heading == fast.heading
    assert slow.x + slow.speed * math.cos(slow.heading) == pytest.approx(fast.x + fast.speed * math.cos(fast.heading))


def test_masks_of_the_real_clip_agree_and_of_a_frozen_one_do_not(cases):
    rendered = playroom.render([cases["rolls"].scene], height=64, width=64, fps=FPS, num_frames=9)
    frames = rendered.frames[0]
    marks = physics.mask_marks(frames, frames, frames)
    assert [marks[name][1] for name in ("spatial IoU", "spatiotemporal IoU", "weighted spatial IoU", "MSE")] == [
        1,
        1,
        1,
        0,
    ]
    assert marks["spatial IoU"][2] == 0 and marks["MSE"][2] > 0
