"""Scenes outside the training set, chosen by their facts before anything is rendered.

Drawing a scene from a seed takes milliseconds and testing a drawn one almost nothing, so drawn
scenes are cached.

Here: searching the seeds, and the frames and the prompt of a scene. Not here: the criteria of each
suite (motions.py, space.py, physics.py, variety.py).
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
SECONDS = 4.0  # length of a scene; everything that its caption states happens in it


def choose(
    wanted: Callable[[Scene], bool], count: int, *, split: str = "held_out", first_seed: int = CHOSEN.start
) -> list[Scene]:
    """The first `count` scenes without a cut that `wanted` accepts.

    Fewer if MOST_SEEDS seeds have no more.
    """
    scenes = (drawn(first_seed + n, split) for n in range(MOST_SEEDS))
    return list(islice((scene for scene in scenes if scene.cut is None and wanted(scene)), count))


def moving_as(scene: Scene, motion: str) -> int | None:
    """The number of the thing that is seen to move so; None if none is, whatever was planned."""
    planned = [n for n, thing in enumerate(scene.things) if thing.motion == motion]
    if not planned:
        return None
    seen = {each.number: each.motion for each in watch(scene, 0.0, SECONDS).things}
    return next((n for n in planned if seen.get(n) == motion), None)


def held_still(scene: Scene) -> bool:
    """True if the camera does not move."""
    return all(shot.move == "static" for shot in scene.shots)


def prompt_of(scene: Scene, seconds: float, size: tuple[int, int]) -> str:
    """The scene's own caption for its first seconds, in frames of a size (height, width)."""
    return playroom.captions(scene, seed=scene.seed, start=0.0, stop=seconds, aspect=size[1] / size[0])[0].text


def rendered(scene: Scene, size: tuple[int, int], *, num_frames: int, fps: float) -> Tensor:
    """Render (num_frames, height, width, 3) uint8 from the scene's start. size: (height, width)"""
    return playroom.render([scene], height=size[0], width=size[1], fps=fps, num_frames=num_frames).frames[0]


@cache
def drawn(seed: int, split: str) -> Scene:
    """Cached `playroom.draw`."""
    return playroom.draw(seed, split=split)
