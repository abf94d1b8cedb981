"""Tracks against the renderer's truth, and the background's motion against a known shift."""

from __future__ import annotations

import pytest
import torch

from minisora.judge.segment import BACKGROUND, CLASSES, FIRST_COLOUR, SKY, Segmenter, targets
from minisora.judge.tracks import FIELD, LEAST_CELLS, first_cut, measure
from minisora.worlds import playroom


class Oracle(Segmenter):
    """Says what it was told, in order."""

    def __init__(self, shares):
        super().__init__()
        self.shares, self.said = shares, 0

    def forward(self, frames):
        self.said += len(frames)
        return (self.shares[self.said - len(frames) : self.said] + 1e-4).log()


def test_targets_hold_every_thing_and_sum_to_one():
    scenes = [playroom.draw(seed) for seed in range(3)]
    rendered = playroom.render(scenes, height=96, width=96, num_frames=3, truth=True)
    shares = targets(scenes, rendered)
    assert torch.allclose(shares.sum(2), torch.ones(()))
    for row, scene in enumerate(scenes):
        for n, thing in enumerate(scene.things):
            index = FIRST_COLOUR + list(playroom.COLOURS).index(thing.colour)
            covered = (rendered.masks[row] == n + 1).sum((1, 2))
            assert torch.equal(shares[row, :, index].sum((1, 2)) * 4, covered.float())
    sky = (shares[:, :, SKY] == 1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert rendered.depth[sky].isinf().all()


def test_tracks_follow_the_things():
    scene = next(
        s
        for s in map(playroom.draw, range(100))
        if s.things[0].motion == "rolls_left" and len(s.things) == 1 and s.things[0].shape == "ball"
    )
    rendered = playroom.render([scene], height=96, width=96, num_frames=9, truth=True)
    tracks = measure(rendered.frames[0], Oracle(targets([scene], rendered)[0]))
    assert tracks.colours == (scene.things[0].colour,) and tracks.doubles == 0
    spots = rendered.screen[0, :, 0] * 2 - 1
    assert (tracks.things[0, :, 1:3] - spots).abs().max() < 0.05  # halves of the frame
    assert (tracks.things[0, :, 0] == 1).all()


def test_two_blobs_of_a_colour_are_two_things():
    shares = torch.zeros(6, CLASSES, 48, 48)
    shares[:, BACKGROUND] = 1
    for top, side in ((5, 10), (30, 6)):
        shares[:, FIRST_COLOUR, top : top + side, 8 : 8 + side] = 1
        shares[:, BACKGROUND, top : top + side, 8 : 8 + side] = 0
    frames = torch.full((6, 96, 96, 3), 128, dtype=torch.uint8)
    tracks = measure(frames, Oracle(shares))
    assert len(tracks.colours) == 1 and tracks.doubles == 1
    assert tracks.things[0, 0, 3] == pytest.approx(10 * 2 / 48, rel=1e-3)  # the larger one is followed
    assert LEAST_CELLS < 6**2


def test_a_shift_of_the_background_is_measured():
    generator = torch.Generator().manual_seed(0)
    world = torch.rand(1, 3, 40, 60, generator=generator)
    world = torch.nn.functional.interpolate(world, scale_factor=4, mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0)
    frames = torch.stack([(world[20:116, 20 + n : 116 + n] * 255) for n in range(8)]).to(torch.uint8)
    shares = torch.zeros(8, CLASSES, 48, 48)
    shares[:, BACKGROUND] = 1
    field = measure(frames, Oracle(shares)).clip[1:, :FIELD]
    asked = -1 / 48 * 8  # one pixel to the left in each of 8 frames a second, in halves of the frame
    assert field[:, 0].mean() == pytest.approx(asked, rel=0.15)
    assert field[:, 3].abs().max() < 0.03


def test_a_cut_ends_what_is_looked_at():
    scene = next(s for s in map(playroom.draw, range(400)) if s.cut is not None and s.cut < 1.7)
    frames = playroom.render([scene], height=96, width=96, num_frames=17).frames[0]
    assert first_cut(frames) == sum(n / 8 < scene.cut for n in range(17))
    steady = next(s for s in map(playroom.draw, range(400)) if s.cut is None)
    assert first_cut(playroom.render([steady], height=96, width=96, num_frames=17).frames[0]) == 17
