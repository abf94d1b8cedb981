"""What is drawn: the same for a seed, within the split, and true to mechanics."""

import json
from itertools import product

import numpy as np
import pytest

from minisora.errors import UsageError
from minisora.worlds.playroom import COLOURS, MOTIONS, SHAPES, Scene, draw, is_held_out
from minisora.worlds.playroom.camera import project, views
from minisora.worlds.playroom.motion import positions, rotations, touching_distance


@pytest.fixture(scope="module")
def scenes():
    return [draw(seed) for seed in range(1000)]


def test_a_seed_is_a_scene(scenes):
    assert draw(3) == scenes[3] != scenes[4]
    assert Scene.from_json(json.loads(json.dumps(scenes[3].to_json()))) == scenes[3]
    # Plain numbers of one seed, so that a change of the world is noticed.
    assert draw(0).seed == 0 and draw(0, split="held_out") != scenes[0]


def test_training_never_shows_what_is_held_out_and_shows_every_pair(scenes):
    triples = {(t.colour, t.shape, t.motion) for scene in scenes for t in scene.things}
    assert not any(is_held_out(*triple) for triple in triples)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        seen = {(triple[one], triple[other]) for triple in triples}
        axes = (COLOURS, SHAPES, MOTIONS)
        assert seen == set(product(axes[one], axes[other]))


def test_the_held_out_split_holds_one():
    for seed in range(60):
        first = draw(seed, split="held_out").things[0]
        assert is_held_out(first.colour, first.shape, first.motion)


def test_about_a_tenth_is_held_out():
    share = np.mean([is_held_out(*triple) for triple in product(COLOURS, SHAPES, MOTIONS)])
    assert 0.08 < share < 0.12


def test_collisions_keep_momentum_and_bodies_apart(scenes):
    found = 0
    for scene in scenes:
        if scene.things[0].motion != "collides":
            continue
        found += 1
        one, other = scene.things[:2]
        event, step = one.path.event, 1e-4
        times = np.array([event - 0.3, event - 0.3 + step, event + 0.3, event + 0.3 + step])
        momentum = [t.mass * np.diff(positions(t, times), axis=0)[[0, 2]] / step for t in (one, other)]
        before, after = momentum[0] + momentum[1]
        assert np.allclose(before, after, atol=2e-3)
        energy = [sum((m[i] ** 2).sum() / t.mass for m, t in zip(momentum, (one, other), strict=True)) for i in (0, 1)]
        assert energy[1] <= energy[0] * 1.001
        apart = np.linalg.norm(
            positions(one, np.linspace(0, 4, 401)) - positions(other, np.linspace(0, 4, 401)), axis=1
        )
        level = abs(one.half_height - other.half_height)
        touch = np.hypot(touching_distance(one, other), level)
        assert touch - 0.02 < apart.min() < touch + 0.05
    assert found > 50


def test_balls_roll_without_slipping(scenes):
    """The point of a ball that touches the floor does not move."""
    found = 0
    for scene in scenes[:300]:
        thing = scene.things[0]
        if thing.shape != "ball" or thing.motion not in ("rolls_left", "rolls_away", "trail", "leaves_and_returns"):
            continue
        found += 1
        times = np.array([1.0, 1.0 + 1e-5])
        turns, centres = rotations(thing, times), positions(thing, times)
        touching = turns[0].T @ np.array([0, 0, -thing.radius])  # in the ball's own axes
        now = centres + turns @ touching
        assert np.abs(now[1] - now[0]).max() < 1e-8
    assert found > 5


def test_bounces_fall_under_one_gravity(scenes):
    for scene in scenes[:200]:
        for thing in scene.things:
            if thing.motion == "bounces":
                path = thing.path
                assert 8 * path.bounce_height / path.bounce_period**2 == pytest.approx(9.8, rel=1e-2)
                assert positions(thing, np.linspace(0, 4, 200))[:, 2].min() > thing.half_height - 1e-9


def test_motions_cross_the_frame_and_stay_in_it(scenes):
    times = np.linspace(0, 4, 17)
    for scene in scenes[:300]:
        pose, focal = views(scene, times)
        for thing in scene.things:
            spots, _ = project(pose, focal, positions(thing, times)[:, None])
            if thing.motion == "leaves_and_returns":
                assert np.abs(spots[:, 0, 0]).max() > 1 > np.abs(spots[[0, -1], 0]).max()
            else:
                assert np.abs(spots).max() < 1
            if thing.motion in ("rolls_left", "rolls_right") and [shot.move for shot in scene.shots] == ["static"]:
                way = spots[-1, 0, 0] - spots[0, 0, 0]
                assert abs(way) > 0.6 and (way > 0) == (thing.motion == "rolls_right")


def test_another_split_is_refused():
    with pytest.raises(UsageError, match="held_out"):
        draw(0, split="test")
