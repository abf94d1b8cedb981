"""Where points go when the camera moves, on paper and on real renders."""

from __future__ import annotations

import math

import pytest
import torch

from minisora.eval import space
from minisora.eval.scenes import choose, held_still
from minisora.worlds import playroom


def poses(*turns_and_shifts):
    pose = torch.eye(4).repeat(len(turns_and_shifts), 1, 1)
    for one, (angle, shift) in zip(pose, turns_and_shifts, strict=True):
        cosine, sine = math.cos(angle), math.sin(angle)
        one[:3, :3] = torch.tensor([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
        one[:3, 3] = torch.tensor(shift)
    return pose


def test_zoom_step_aside_and_pan_on_paper():
    depth = torch.full((6, 8), 4.0)
    depth[0] = torch.inf
    still, nothing = (0.0, (0.0, 0.0, 0.0)), (0.0, 0.0, 0.0)
    way = space.point_tracks(
        depth, poses(still, still, (0.0, (0.5, 0.0, 0.0)), (0.1, nothing)), torch.tensor([9.0, 18, 9, 9])
    )
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    at = torch.stack([x, y], -1)
    assert way[:, 0].isnan().all()  # the sky has no depth
    torch.testing.assert_close(way[0, 1:], at[1:])
    middle = torch.tensor([3.5, 2.5])
    torch.testing.assert_close(way[1, 1:], (2 * (at - middle) + middle)[1:])  # twice the focal length
    torch.testing.assert_close(way[2, 1:], (at + torch.tensor([9 * 0.5 / 4, 0]))[1:])  # f d / Z
    angle = torch.atan((at[1:, :, 0] - 3.5) / 9)  # a pan turns all directions alike, at any depth
    torch.testing.assert_close(way[3, 1:, :, 0], 9 * torch.tan(angle - 0.1) + 3.5, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def rendered():
    (scene,) = choose(lambda scene: not held_still(scene) and scene.floor in ("checker", "grass"), 1)
    return playroom.render([scene], height=64, width=64, fps=8.0, num_frames=9, truth=True)


def test_the_real_clip_is_one_place_and_a_frozen_one_is_not(rendered):
    marks = space.space_marks(rendered.frames[0], rendered)
    for name in ("colour of points", "way of points[dis]"):
        better, model, floor, ceiling = marks[name]
        assert better == "lower" and model == ceiling < 0.5 * floor, marks


def test_points_behind_things_and_outside_are_not_asked_for(rendered):
    way = space.point_tracks(rendered.depth[0, 0], rendered.pose[0], rendered.focal[0])
    seen = space.in_sight(way, rendered.masks[0])
    assert seen[1:].any() and not seen[:, rendered.masks[0, 0] > 0].any()
    inside = way[seen]
    assert (inside >= 0).all() and (inside <= 63).all()
    found = rendered.masks[0, -1][inside[:, 1].round().long(), inside[:, 0].round().long()]
    last = seen[:-1].sum()
    assert (found[last:] == 0).all()


def test_a_point_that_changes_by_ten_is_ten_off():
    frames = torch.full((2, 8, 8, 3), 100, dtype=torch.uint8)
    frames[1] += 10
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    way, seen = torch.stack([x, y], -1).repeat(2, 1, 1, 1), torch.ones(2, 8, 8, dtype=torch.bool)
    assert space.colour_error(frames, way, seen) == pytest.approx(10)
    told = space.flow_error(frames, way, seen, lambda one, other: torch.full((*one.shape[:2], 2), 0.0))
    assert told == 0
    told = space.flow_error(frames, way, seen, lambda one, other: torch.full((*one.shape[:2], 2), 16.0))
    assert told == pytest.approx(100 * math.hypot(1, 1) / 8)  # 16 times as large, 16 pixels: 1 pixel of 8
