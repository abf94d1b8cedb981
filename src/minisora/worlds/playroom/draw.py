"""Drawing a scene from a seed, identical on every machine.

The number of things and the first one's motion are drawn once. The rest is redrawn until all things
are in view, apart from each other, and visibly perform their motions.

Here: `draw`, `count_of`. Only `random.Random` is used, whose stream is fixed by Python.
Not here: the data classes of a scene (scene.py), its captions (captions.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from minisora.errors import UsageError
from minisora.worlds.playroom.camera import project, views
from minisora.worlds.playroom.motion import Array, after_collision, positions, touching_distance
from minisora.worlds.playroom.scene import (
    COLOURS,
    FLOORS,
    LIGHTS,
    MATERIALS,
    SHAPES,
    SIZES,
    Path,
    Scene,
    Shot,
    Thing,
    is_held_out,
)

Key = TypeVar("Key")
Flags = NDArray[np.bool_]
Cameras = tuple[Array, Array]  # poses and focal lengths, as `views` gives them
SPLITS = ("train", "held_out")
SECONDS = 4.0  # usual length of a clip; every motion of a scene is visible within it
MIDDLE = SECONDS / 2
TIMES = np.linspace(0.0, SECONDS, 9)
TRIES = 30  # to place the things that move before kinds and cameras are drawn again
SPOTS = 64  # on the floor that are tried for each of the others

# chances, not percentages: each is over the sum of those that fit the number of things
FIRST_MOTIONS = {
    "rolls_left": 13,
    "rolls_right": 13,
    "rolls_toward": 9,
    "rolls_away": 9,
    "bounces": 12,
    "spins": 11,
    "still": 5,
    "circles": 11,
    "leaves_and_returns": 6,
    "trail": 9,
    "collides": 24,
    "passes_behind": 20,
}
NEED_TWO = ("collides", "passes_behind")
OTHER_MOTIONS = {"still": 64, "spins": 24, "bounces": 12}
MOVES = {
    "static": 45,
    "orbit_left": 11,
    "orbit_right": 11,
    "zoom_in": 9,
    "zoom_out": 9,
    "pan_left": 7.5,
    "pan_right": 7.5,
}
LIGHT_CHANCES = dict(zip(LIGHTS, (50, 27, 23), strict=True))
COUNTS = {1: 33, 2: 43, 3: 24}
CUT_SHARE = 0.1
SIZE_CHANCES = (33, 67)  # small, large: the large are harder to place, and come out even


def draw(seed: int, *, split: str = "train") -> Scene:
    """The scene of a seed.

    split:  "train" never shows a held-out triple of colour, shape and motion (`is_held_out`);
            in "held_out" the first thing always is one, and it alone

    Raises UsageError for another split.
    """
    if split not in SPLITS:
        raise UsageError(f"there is no split {split!r}. Choose one of: {', '.join(SPLITS)}.")
    rng = _rng(seed, split)
    count = _choose(rng, COUNTS)
    motion = _choose(rng, {m: chance for m, chance in FIRST_MOTIONS.items() if count > 1 or m not in NEED_TWO})
    while True:  # count and motion stay, so that scenes that are hard to place are not rarer
        things = _kinds(rng, split, count, motion)
        shots = _shots(rng)
        scene = Scene(
            seed=seed,
            split=split,
            things=things,
            shots=shots,
            floor=rng.choice(FLOORS),
            floor_yaw=_round(rng.uniform(-0.5, 0.5)),
            light=_choose(rng, LIGHT_CHANCES),
            light_azimuth=_round(rng.uniform(-2.6, -0.5)),  # behind the camera, to either side
        )
        placed = _lay_out(rng, scene)
        if placed is not None:
            return placed


def count_of(seed: int, *, split: str = "train") -> int:
    """Number of things in the scene of a seed, without drawing the rest."""
    return _choose(_rng(seed, split), COUNTS)


def _rng(seed: int, split: str) -> Random:
    return Random(f"playroom {split} {seed}")


def _choose(rng: Random, chances: Mapping[Key, float]) -> Key:
    return rng.choices(list(chances), weights=list(chances.values()))[0]


def _round(value: float) -> float:
    return round(value, 4)


def _kinds(rng: Random, split: str, count: int, motion: str) -> tuple[Thing, ...]:
    """Colours, shapes, sizes and motions; places come later. Colours differ within a scene."""
    while True:
        motions = [motion, *(_choose(rng, OTHER_MOTIONS) for _ in range(1, count))]
        if motions[0] == "collides":
            motions[1] = "struck"
        colours = rng.sample(list(COLOURS), count)
        shapes = [rng.choice(SHAPES) for _ in range(count)]
        held_out = [is_held_out(*triple) for triple in zip(colours, shapes, motions, strict=True)]
        if any(held_out[1:]) or held_out[0] != (split == "held_out"):
            continue
        sizes = rng.choices(list(SIZES), weights=SIZE_CHANCES, k=count)
        if motions[0] == "collides" and sizes == ["small", "large", *sizes[2:]]:
            sizes[:2] = ["large", "small"]  # the heavier one comes, or nothing much would move
        if motions[0] == "trail":
            sizes[0] = "small"  # a large one would go less far than it is wide, and hide its paint
        if motions[0] == "passes_behind":
            sizes[0] = "small"
            motions[1] = "spins" if motions[1] == "spins" else "still"
            if is_held_out(colours[1], shapes[1], motions[1]):
                continue
        return tuple(
            Thing(
                colour=colour,
                shape=shape,
                size=size,
                material=rng.choice(MATERIALS),
                motion=motion,
                path=Path(x=0.0, y=0.0),
                yaw=_round(rng.uniform(-math.pi, math.pi)),
            )
            for colour, shape, size, motion in zip(colours, shapes, sizes, motions, strict=True)
        )


def _shots(rng: Random) -> tuple[Shot, ...]:
    cut = _round(rng.uniform(1.2, 2.8)) if rng.random() < CUT_SHARE else None
    first = _shot(rng, 0.0, 0.0, MIDDLE if cut is None else cut / 2)
    if cut is None:
        return (first,)
    turned = first.azimuth + rng.choice((-1, 1)) * rng.uniform(0.95, 1.4)  # 54 to 80 degrees
    return first, _shot(rng, cut, turned, (cut + SECONDS) / 2)


def _shot(rng: Random, start: float, azimuth: float, pivot: float) -> Shot:
    move = _choose(rng, MOVES)
    rates = {
        "static": (0.0, 0.0),
        "orbit": (math.radians(8.5), math.radians(12.0)),
        "zoom": (0.11, 0.15),
        "pan": (math.radians(3.6), math.radians(5.2)),
    }
    return Shot(
        start=start,
        x=_round(rng.uniform(-0.15, 0.15)),
        y=_round(rng.uniform(-0.1, 0.3)),
        z=_round(rng.uniform(0.3, 0.65)),
        azimuth=_round(azimuth + rng.uniform(-0.06, 0.06)),
        elevation=_round(rng.uniform(0.24, 0.44)),
        distance=_round(rng.uniform(5.8, 6.5)),
        move=move,
        rate=_round(rng.uniform(*rates[move.split("_")[0]])),
        pivot=_round(pivot),
    )


def _lay_out(rng: Random, scene: Scene) -> Scene | None:
    """Place all things, one after the other; None if they do not fit."""
    cameras = views(scene, TIMES)
    for _ in range(TRIES):
        leaders = _place_leaders(rng, scene)
        sights = [_Sight(thing, cameras) for thing in leaders]
        if _fit(leaders, sights) and (leaders[0].motion != "leaves_and_returns" or scene.cut is None):
            others = _place_others(rng, scene.things[len(leaders) :], leaders, sights, cameras)
            if others is not None:
                return replace(scene, things=(*leaders, *others))
    return None


def _place_others(
    rng: Random, things: Sequence[Thing], leaders: Sequence[Thing], sights: Sequence[_Sight], cameras: Cameras
) -> list[Thing] | None:
    """Static things, each at the first of SPOTS that is in view and clear of those before it."""
    before = list(zip(leaders, sights, strict=True))
    for thing in things:
        spots = [_spot(rng, -0.9, 2.6) for _ in range(SPOTS)]
        other = replace(thing, path=_in_place(rng, thing.motion, *spots[0]))
        tried = _Sight(other, cameras, spots)
        fits = tried.in_view(other)
        for one, sight in before:
            fits &= _apart(other, tried, one, sight)
        if not fits.any():
            return None
        x, y = spots[int(fits.argmax())]
        placed = replace(other, path=replace(other.path, x=_round(x), y=_round(y)))
        before.append((placed, _Sight(placed, cameras)))
    return [placed for placed, _ in before[len(leaders) :]]


def _place_leaders(rng: Random, scene: Scene) -> list[Thing]:
    """Place the things of the first motion: one, or two that meet."""
    first = scene.things[0]
    if first.motion == "collides":
        return _place_collision(rng, first, scene.things[1])
    if first.motion == "passes_behind":
        return _place_passing(rng, scene, first, scene.things[1])
    return [_place_first(rng, first)]


def _place_first(rng: Random, thing: Thing) -> Thing:
    motion = thing.motion
    aside, deep = rng.uniform(-0.3, 0.3), rng.uniform(-0.7, 1.6)
    if motion in ("rolls_left", "rolls_right", "trail"):
        left = motion == "rolls_left" or (motion == "trail" and rng.random() < 0.5)
        speed = rng.uniform(0.7, 0.9) if motion == "trail" else rng.uniform(0.48, 0.76)
        path = _straight(aside, deep, math.pi if left else 0.0, speed)
    elif motion in ("rolls_toward", "rolls_away"):
        speed = rng.uniform(0.55, 0.85)
        path = _straight(rng.uniform(-1.0, 1.0), 0.4 + aside, math.pi / 2 * (-1 if "toward" in motion else 1), speed)
    elif motion == "circles":
        path = Path(
            x=_round(aside),
            y=_round(rng.uniform(-0.3, 0.7)),
            circle_radius=_round(rng.uniform(0.55, 0.85)),
            circle_turn=_round(rng.choice((-1, 1)) * rng.uniform(1.4, 2.1)),
            circle_phase=_round(rng.uniform(-math.pi, math.pi)),
        )
    elif motion == "leaves_and_returns":
        side = rng.choice((-1, 1))
        turn = rng.uniform(1.9, 2.15)  # seconds to the farthest point
        near, far = rng.uniform(-0.3, 0.5), 2.12 + 1.5 * thing.across + rng.uniform(0.1, 0.3)
        pull = 2 * (far - near) / turn**2
        path = Path(
            x=_round(side * near),
            y=_round(rng.uniform(-1.1, -0.6)),
            heading=0.0 if side > 0 else _round(math.pi),
            speed=_round(pull * turn),
            acceleration=_round(-pull),
        )
    else:
        path = _in_place(rng, motion, *_spot(rng, -0.7, 1.2))
    return replace(thing, path=path)


def _spot(rng: Random, nearest: float, farthest: float) -> tuple[float, float]:
    """Random place on the floor; with the distance the range to the sides grows."""
    y = rng.uniform(nearest, farthest)
    widest = 1.5 + 0.3 * y
    return rng.uniform(-widest, widest), y


def _straight(x: float, y: float, heading: float, speed: float) -> Path:
    """Straight path, through (x, y) in the middle of the clip."""
    back = speed * MIDDLE
    return Path(
        x=_round(x - back * math.cos(heading)),
        y=_round(y - back * math.sin(heading)),
        heading=_round(heading),
        speed=_round(speed),
    )


def _in_place(rng: Random, motion: str, x: float, y: float) -> Path:
    path = Path(x=_round(x), y=_round(y))
    if motion == "bounces":
        period = rng.uniform(0.7, 0.95)
        height = 9.8 * period**2 / 8  # under gravity, with a unit of a metre: 0.6 to 1.1
        return replace(
            path, bounce_height=_round(height), bounce_period=_round(period), bounce_phase=_round(rng.random())
        )
    if motion == "spins":
        return replace(path, spin=_round(rng.choice((-1, 1)) * rng.uniform(2.2, 3.4)))
    assert motion in ("still", "struck", "passes_behind", "collides"), motion
    return path


def _place_collision(rng: Random, one: Thing, other: Thing) -> list[Thing]:
    """Collision: `one` moves along x and hits `other` at the event; momentum is conserved."""
    side = rng.choice((-1, 1))
    event = rng.uniform(0.6, 1.4)
    restitution = rng.uniform(0.75, 0.95)
    hit_speed = rng.uniform(0.45, 0.7)
    _, gain = after_collision(one.mass, 1.0, other.mass, restitution)
    speed = hit_speed / gain
    after, other_after = after_collision(one.mass, speed, other.mass, restitution)
    gap = touching_distance(one, other)
    meets = rng.uniform(-0.9, -0.2)  # where `other` waits, towards the side that `one` comes from
    deep = rng.uniform(-0.3, 1.5)
    heading = 0.0 if side > 0 else _round(math.pi)
    yaw = 0.0
    paths = [
        Path(
            x=_round(side * (meets - gap - speed * event)),
            y=_round(deep),
            heading=heading,
            speed=_round(speed),
            event=_round(event),
            kick=_round(after - speed),
        ),
        Path(x=_round(side * meets), y=_round(deep), heading=heading, event=_round(event), kick=_round(other_after)),
    ]
    return [replace(thing, path=path, yaw=yaw) for thing, path in zip((one, other), paths, strict=True)]


def _place_passing(rng: Random, scene: Scene, one: Thing, other: Thing) -> list[Thing]:
    """Occlusion: `one` crosses the line of sight to `other`, farther away, soon after the start."""
    side = rng.choice((-1, 1))
    event = rng.uniform(1.25, 1.9 if other.size == "large" else 1.55)
    speed = rng.uniform(0.8, 1.05)
    start = -side * rng.uniform(1.85, 2.3)
    deep, front = rng.uniform(1.2, 2.1), rng.uniform(-0.5, 0.2)
    pose, _ = views(scene, np.array([event]))
    x, y, _ = (-(pose[0, :3, :3].T @ pose[0, :3, 3])).tolist()
    crossing = start + side * speed * event
    aside = x + (crossing - x) * (front - y) / (deep - y)
    path = Path(
        x=_round(start),
        y=_round(deep),
        heading=0.0 if side > 0 else _round(math.pi),
        speed=_round(speed),
        event=_round(event),
    )
    return [replace(one, path=path), replace(other, path=_in_place(rng, other.motion, aside, front))]


class _Sight:
    """Samples of a placed thing over the clip, as the cameras see it.

    (T, N, ...) at `TIMES`, at each of N spots on the floor.

    spots: candidate places on the floor of a static thing; none: its own place
    """

    def __init__(self, thing: Thing, cameras: Cameras, spots: Sequence[tuple[float, float]] = ()) -> None:
        pose, focal = cameras
        x, y = thing.path.x, thing.path.y
        moved = np.array([(to_x - x, to_y - y, 0.0) for to_x, to_y in spots] or [(0.0, 0.0, 0.0)])
        self.centres = positions(thing, TIMES)[:, None] + moved
        self.spots, self.depth = project(pose, focal, self.centres)
        reach = max(thing.across * (1.3 if thing.shape == "cube" else 1.0), thing.half_height)
        self.radius = reach * focal[:, None] / np.maximum(self.depth, 1e-3)

    def in_view(self, thing: Thing) -> Flags:
        """(N,) True if it is wholly in the frame all the time, or when its motion requires it."""
        reach = np.abs(self.spots).max(axis=-1) + 0.9 * self.radius
        if thing.motion == "leaves_and_returns":
            gone = (np.abs(self.spots[..., 0]) - self.radius).max(0) > 1.03
            seen = gone & (reach[[0, 1, -1]].max(0) < 0.97)
        else:
            seen = reach.max(0) < 0.97
        found: Flags = seen & (self.depth.min(0) >= 2.5)
        return found


def _fit(things: list[Thing], sights: list[_Sight]) -> bool:
    seen = all(sight.in_view(thing).all() for thing, sight in zip(things, sights, strict=True))
    return seen and (len(things) == 1 or bool(_apart(things[1], sights[1], things[0], sights[0]).all()))


def _apart(other: Thing, other_sight: _Sight, one: Thing, sight: _Sight) -> Flags:
    """True where `other`, placed after `one`, keeps clear of it and does not hide it for long.

    (N,); a passing thing may hide it as it passes.
    """
    meet = (one.motion, other.motion) == ("collides", "struck")
    ways = other_sight.centres - sight.centres
    clear: Flags = np.hypot(ways[..., 0], ways[..., 1]).min(0) >= (one.across + other.across) * 1.2
    gaps = other_sight.spots - sight.spots
    between = np.hypot(gaps[..., 0], gaps[..., 1]) / (sight.radius + other_sight.radius)
    if one.path.speed == 0 and other.path.kick == 0:  # neither crosses the frame: both stay plain to see
        clear &= between.min(0) >= 0.75
    elif meet:
        clear = between[-1] >= 0.5
    else:
        clear &= np.minimum(between[0], between[-1]) >= 1.0
        if one.motion != "passes_behind":
            clear &= (between < 0.6).sum(0) <= 2
    return clear
