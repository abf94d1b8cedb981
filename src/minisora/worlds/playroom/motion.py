"""Position and rotation of every thing at any time.

A path is a sum of closed forms (scene.Path), so times can be evaluated in any order. A collision is
one event on a line: both speeds jump there, conserving momentum.

Here: state at given times; the speeds after a collision; how near two things can come.
Not here: which paths are chosen (draw.py).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from minisora.worlds.playroom.scene import Scene, Thing

Array = NDArray[np.float64]
TILT = 0.6  # radians by which a ball's pattern leans, so that a spin and a roll both show


def positions(thing: Thing, times: Array) -> Array:
    """Centres in units.

    times:   (T,) seconds
    returns  (T, 3)
    """
    path = thing.path
    along = travelled(thing, times)
    angle = path.circle_phase + path.circle_turn * times
    u = np.mod(times / path.bounce_period + path.bounce_phase, 1.0)
    return np.stack(
        [
            path.x + along * math.cos(path.heading) + path.circle_radius * np.cos(angle),
            path.y + along * math.sin(path.heading) + path.circle_radius * np.sin(angle),
            thing.half_height + path.bounce_height * 4 * u * (1 - u),
        ],
        axis=-1,
    )


def travelled(thing: Thing, times: Array) -> Array:
    """Signed distance along the heading since time 0, in units; (T,) to (T,)."""
    path = thing.path
    kicked = path.kick * np.maximum(times - path.event, 0.0)
    return path.speed * times + path.acceleration * times**2 / 2 + kicked


def rotations(thing: Thing, times: Array) -> Array:
    """Turn of each thing: local to world. A ball rolls without slipping, the others slide upright.

    times:   (T,) seconds
    returns  (T, 3, 3)
    """
    path = thing.path
    turned = path.spin * times + path.circle_turn * times
    if thing.shape != "ball":
        return _about_z(turned + thing.yaw)
    rolled = (travelled(thing, times) + path.circle_radius * path.circle_turn * times) / thing.radius
    circling = path.circle_radius > 0
    # On a circle the frame turns with the thing, so that the way ahead is fixed in it.
    ahead = path.circle_phase + math.pi / 2 if circling else path.heading
    axis = np.array([-math.sin(ahead), math.cos(ahead), 0.0])  # up x ahead
    start = _about_z(np.array([thing.yaw]))[0] @ _about_axis(np.array([1.0, 0.0, 0.0]), np.array([TILT]))[0]
    turned_then_rolled: Array = _about_z(turned) @ _about_axis(axis, rolled) @ start
    return turned_then_rolled


def state(scene: Scene, times: Array) -> tuple[Array, Array]:
    """Motion of a scene's things.

    Centres (T, N, 3) and rotations (T, N, 3, 3) at `times` (T,) seconds.
    """
    if not scene.things:
        return np.empty((len(times), 0, 3)), np.empty((len(times), 0, 3, 3))
    centres = np.stack([positions(thing, times) for thing in scene.things], axis=1)
    turns = np.stack([rotations(thing, times) for thing in scene.things], axis=1)
    return centres, turns


def after_collision(mass: float, speed: float, other_mass: float, restitution: float) -> tuple[float, float]:
    """Speeds of a thing and of the resting one it ran into, along their line.

    Momentum is conserved; `restitution` is the ratio of relative speed after and before.
    """
    total = mass + other_mass
    return (mass - restitution * other_mass) / total * speed, (1 + restitution) * mass / total * speed


def touching_distance(one: Thing, other: Thing) -> float:
    """Distance of two touching things' axes on the floor; cubes face each other."""
    heights = np.linspace(0.0, 2 * min(one.half_height, other.half_height), 65)
    return float(np.max(_half_width(one, heights) + _half_width(other, heights)))


def _half_width(thing: Thing, heights: Array) -> Array:
    if thing.shape == "ball":
        return np.sqrt(np.maximum(thing.radius**2 - (heights - thing.radius) ** 2, 0.0))
    if thing.shape == "cone":
        return thing.across * (1 - heights / (2 * thing.half_height))
    return np.full_like(heights, thing.across)


def _about_z(angle: Array) -> Array:
    return _about_axis(np.array([0.0, 0.0, 1.0]), angle)


def _about_axis(axis: Array, angle: Array) -> Array:
    """Rodrigues' formula: (3,) unit axis, (T,) radians to (T, 3, 3)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    turn: Array = np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)
    return turn
