"""Facts of a stretch of a scene, derived from its geometry and not from the plan it was drawn by.

A planned motion that falls outside the stretch, the frame or the shot is not visible, so it is not
a fact.

Here: `watch`, and `facts`, the same as JSON values for a judge.
Not here: words (captions.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from minisora.worlds.playroom.camera import project, shot_at, views
from minisora.worlds.playroom.motion import Array, positions
from minisora.worlds.playroom.scene import Scene, Thing

MARGIN = 0.2  # seconds that must be seen before and after an event
SHORTEST = 0.5  # seconds of a shot in which a move of the camera can be seen
MOVED = 0.2  # units in a stretch, below which a thing stays still


@dataclass(frozen=True)
class Seen:
    """A thing as it is seen in a stretch.

    motion:    one of scene.MOTIONS as far as it is seen; "leaves", "returns" for half of that
        motion and "turns_back" where a wide frame shows it whole; "moves" for straight
        motion between two directions; "none" in a single moment
    direction: "left", "right", "toward", "away" for straight motion in one of them
    past:      things it crosses in the frame: (number, "past", "behind" or "in front of")
    """

    number: int
    thing: Thing
    motion: str
    direction: str | None
    past: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class View:
    """The visible content of a stretch of a scene.

    camera:     the move of the (first) shot; "none" in a single moment
    camera_after: the move after the cut, where there is one in the stretch
    relations:  (number, "left of", "right of", "behind" or "in front of", number), where clear at
        both ends of the stretch
    """

    things: tuple[Seen, ...]
    camera: str
    cut: bool
    camera_after: str | None
    relations: tuple[tuple[int, str, int], ...]


@lru_cache(maxsize=256)  # each wording of a caption asks again
def watch(scene: Scene, start: float, stop: float, *, aspect: float = 1.0) -> View:
    """The visible facts from start to stop, in seconds. aspect: width / height of the frame"""
    cut_at = scene.cut
    cut = cut_at is not None and start + 0.25 <= cut_at <= stop - 0.25
    main = (start, stop)
    if cut_at is not None and start < cut_at <= stop:  # motions are of one shot: the first, if it lasts
        main = (start, cut_at - 0.01) if cut_at - start >= 0.8 or not cut else (cut_at, stop)
        if not cut:  # a sliver of a shot at either end
            main = (start, cut_at - 0.01) if cut_at - start > stop - cut_at else (cut_at, stop)
    sight = _Sight(scene, main, aspect)
    moment = start == stop
    things = tuple(
        Seen(
            n,
            thing,
            *(("none", None) if moment else _motion(scene, sight, n)),
            () if moment else _crossed(scene, sight, n),
        )
        for n, thing in enumerate(scene.things)
        if sight.inside[:, n].any()
    )
    if moment:
        camera, after = "none", None
    elif cut:
        assert cut_at is not None
        camera, after = _camera_move(scene, start, cut_at - 1e-6), _camera_move(scene, cut_at, stop)
    else:
        camera, after = _camera_move(scene, *main), None
    return View(things, camera, cut, after, _relations(sight, {seen.number for seen in things}, things))


def facts(scene: Scene, start: float, stop: float, *, aspect: float = 1.0) -> dict[str, Any]:
    """The facts of a stretch, as JSON values, for judging a clip of it."""
    view = watch(scene, start, stop, aspect=aspect)
    return {
        "things": [
            {
                "number": seen.number,
                "colour": seen.thing.colour,
                "shape": seen.thing.shape,
                "size": seen.thing.size,
                "material": seen.thing.material,
                "motion": seen.motion,
                "direction": seen.direction,
            }
            for seen in view.things
        ],
        "count": len(view.things),
        "camera": view.camera,
        "camera_after": view.camera_after,
        "cut": view.cut,
        "floor": scene.floor,
        "light": scene.light,
        "relations": [list(relation) for relation in view.relations],
    }


class _Sight:
    """Positions of all things over a stretch of one shot, on the floor and in the frame."""

    def __init__(self, scene: Scene, span: tuple[float, float], aspect: float) -> None:
        start, stop = span
        self.times: Array = np.linspace(start, stop, 2 + math.ceil((stop - start) * 10))
        self.places = np.stack([positions(thing, self.times) for thing in scene.things], axis=1)
        pose, focal = views(scene, self.times)
        self.spots, self.depth = project(pose, focal, self.places)
        half = np.array([thing.across for thing in scene.things])
        self.radius = half * focal[:, None] / np.maximum(self.depth, 1e-3)
        limit = np.array([max(aspect, 1.0), max(1 / aspect, 1.0)])
        ahead = self.depth > 0.5
        self.inside = (np.abs(self.spots) < limit).all(-1) & ahead  # its middle is in the frame
        self.outside = (np.abs(self.spots) - self.radius[..., None] > limit).any(-1) | ~ahead  # none of it is
        middle = pose[len(pose) // 2]
        self.right, self.ahead = middle[0, :2], middle[2, :2] / np.linalg.norm(middle[2, :2])


def _motion(scene: Scene, sight: _Sight, n: int) -> tuple[str, str | None]:
    thing = scene.things[n]
    if thing.motion in ("bounces", "spins", "circles", "still"):
        return thing.motion, None
    start, stop = sight.times[0], sight.times[-1]
    event = start + MARGIN <= thing.path.event <= stop - MARGIN
    direction = _direction(sight, n)
    if thing.motion == "leaves_and_returns":
        inside, outside = sight.inside[:, n], sight.outside[:, n]
        if outside.any():
            first, last = np.flatnonzero(outside)[[0, -1]]
            leaves, returns = inside[:first].any(), inside[last:].any()
            if leaves and returns:
                return "leaves_and_returns", _direction(sight, n, stop=int(first))
            if leaves:
                return "leaves", _direction(sight, n, stop=int(first))
            return "returns", _direction(sight, n, start=int(last))
        turn = -thing.path.speed / thing.path.acceleration
        if start + 0.4 < turn < stop - 0.4:
            return "turns_back", _direction(sight, n, stop=max(int(np.searchsorted(sight.times, turn)), 1))
    elif thing.motion in ("collides", "struck") and event:
        other = 1 if thing.motion == "collides" else 0
        if sight.inside[:, [n, other]].all():
            later = int(np.searchsorted(sight.times, thing.path.event))
            if thing.motion == "collides":
                return thing.motion, _direction(sight, n, stop=later)
            return thing.motion, _direction(sight, n, start=later)
    elif thing.motion == "passes_behind" and event and (1, "behind") in _crossed(scene, sight, n):
        return thing.motion, direction
    if np.linalg.norm(sight.places[-1, n] - sight.places[0, n]) < MOVED:
        return "still", None
    if thing.motion == "trail":
        return "trail", direction
    return ("moves" if direction is None else f"rolls_{direction}"), direction


def _direction(sight: _Sight, n: int, start: int = 0, stop: int = -1) -> str | None:
    """Direction of a thing's motion, seen by the camera in the middle of the stretch.

    None between two directions.
    """
    way = sight.places[stop, n, :2] - sight.places[start, n, :2]
    aside, ahead = float(way @ sight.right), float(way @ sight.ahead)
    if abs(aside) > 1.4 * abs(ahead):
        return "right" if aside > 0 else "left"
    if abs(ahead) > 1.4 * abs(aside):
        return "away" if ahead > 0 else "toward"
    return None


def _crossed(scene: Scene, sight: _Sight, n: int) -> tuple[tuple[int, str], ...]:
    """Things that a mover passes from one side to the other in the frame."""
    thing = scene.things[n]
    if thing.path.speed == 0 or thing.path.acceleration != 0 or thing.motion in ("collides", "struck"):
        return ()
    crossed = []
    for other in range(len(scene.things)):
        gap = sight.spots[:, n, 0] - sight.spots[:, other, 0]
        reach = sight.radius[:, n] + sight.radius[:, other]
        if other == n or not sight.inside[:, [n, other]].all() or gap[0] * gap[-1] >= 0:
            continue
        if min(abs(gap[0]) / reach[0], abs(gap[-1]) / reach[-1]) < 0.6 or scene.things[other].motion == "circles":
            continue
        at = int(np.abs(gap).argmin())
        over = abs(sight.spots[at, n, 1] - sight.spots[at, other, 1]) < 0.75 * reach[at]
        deeper = sight.depth[at, n] - sight.depth[at, other]
        how = "past" if not over or abs(deeper) < 0.4 else "behind" if deeper > 0 else "in front of"
        crossed.append((other, how))
    return tuple(crossed)


def _camera_move(scene: Scene, start: float, stop: float) -> str:
    """The move of one shot if it lasts long enough to be seen, else "static"."""
    shot = shot_at(scene, (start + stop) / 2)
    if stop - start < SHORTEST or shot.move == "static":
        return "static"
    _, focal = views(scene, np.array([start, stop]))
    if shot.move.startswith("zoom") and abs(math.log(focal[1] / focal[0])) < 0.04:
        return "static"
    return shot.move


def _relations(sight: _Sight, shown: set[int], things: tuple[Seen, ...]) -> tuple[tuple[int, str, int], ...]:
    """Relations of things that stay in place, where clear at both ends of the stretch."""
    stay = {seen.number for seen in things if seen.motion in ("none", "still", "spins", "bounces")}
    found = []
    for one in sorted(shown & stay):
        for other in sorted(shown & stay):
            if one >= other:
                continue
            reach = sight.radius[[0, -1], one] + sight.radius[[0, -1], other]
            gap = (sight.spots[[0, -1], one, 0] - sight.spots[[0, -1], other, 0]) / reach
            deeper = sight.depth[[0, -1], one] - sight.depth[[0, -1], other]
            if (gap < -1.1).all():
                found.append((one, "left of", other))
            elif (gap > 1.1).all():
                found.append((one, "right of", other))
            elif (np.abs(gap) < 0.9).all() and (deeper > 0.8).all():
                found.append((one, "behind", other))
            elif (np.abs(gap) < 0.9).all() and (deeper < -0.8).all():
                found.append((one, "in front of", other))
    return tuple(found)
