"""Scenes that no training saw, chosen by what is true of them before anything is drawn.

Drawing a scene takes milliseconds and choosing among drawn ones nothing, so each seed is drawn once, whoever looks.

Here: looking through the seeds, and how a scene looks and is asked for. Not here: what a suite looks for (motions.py,
space.py, physics.py, variety.py).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import islice

from torch import Tensor

from minisora.worlds import playroom
from minisora.worlds.playroom import Scene
from minisora.worlds.playroom.facts import watch
from minisora.worlds.seeds import CHOSEN

MOST_SEEDS = 4000
SECONDS = 4.0  # of a scene, in which all that is said of it happens


def choose(
    wanted: Callable[[Scene], bool], count: int, *, split: str = "held_out", first_seed: int = CHOSEN.start
) -> list[Scene]:
    """The first `count` scenes without a cut that are wanted; fewer where MOST_SEEDS hold no more."""
    scenes = (drawn(first_seed + n, split) for n in range(MOST_SEEDS))
    return list(islice((scene for scene in scenes if scene.cut is None and wanted(scene)), count))


def moving_as(scene: Scene, motion: str) -> int | None:
    """Which thing is seen to move so: its number. None where none is, whatever was planned."""
    planned = [n for n, thing in enumerate(scene.things) if thing.motion == motion]
    if not planned:
        return None
    seen = {each.number: each.motion for each in watch(scene, 0.0, SECONDS).things}
    return next((n for n in planned if seen.get(n) == motion), None)


def held_still(scene: Scene) -> bool:
    """Whether the camera does not move."""
    return all(shot.move == "static" for shot in scene.shots)


def prompt_of(scene: Scene, seconds: float, size: tuple[int, int]) -> str:
    """What the scene's own caption says of its first seconds, in frames of a size (height, width)."""
    return playroom.captions(scene, seed=scene.seed, start=0.0, stop=seconds, aspect=size[1] / size[0])[0].text


def shown(scene: Scene, size: tuple[int, int], *, num_frames: int, fps: float) -> Tensor:
    """(num_frames, height, width, 3) uint8 from the scene's start. size: (height, width)"""
    return playroom.render([scene], height=size[0], width=size[1], fps=fps, num_frames=num_frames).frames[0]


@cache
def drawn(seed: int, split: str) -> Scene:
    """`playroom.draw`, remembered."""
    return playroom.draw(seed, split=split)
