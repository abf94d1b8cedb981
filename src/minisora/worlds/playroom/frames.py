"""Scenes as tensors: what the caster needs of every frame, several scenes laid end to end.

Here: `Frames` and building them. Not here: drawing them (render.py, ground.py, raycast.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minisora.worlds.playroom.camera import views
from minisora.worlds.playroom.ground import FLOOR_COLOURS, LIGHT_COLOURS
from minisora.worlds.playroom.motion import Array, state
from minisora.worlds.playroom.scene import COLOURS, FLOORS, MATERIALS, SHAPES, SIZES, Scene, Thing

TRAIL_WIDTH = 0.45  # half-width of a painted trail, of the radius


@dataclass(frozen=True)
class Frames:
    """F frames of several scenes, flattened: what the ray caster needs of each frame and thing."""

    turn: Tensor  # (F, 3, 3)
    position: Tensor  # (F, 3) of the camera
    focal: Tensor  # (F,) pixels
    floor: Tensor  # (F,) index into FLOORS
    floor_yaw: Tensor  # (F,)
    floor_colours: Tensor  # (F, 2, 3)
    light: Tensor  # (F, 4, 3) sun, ambient, horizon, zenith
    sun: Tensor  # (F, 3) direction to the light
    shape: Tensor  # (F, N) index into SHAPES, -1 for none
    size: Tensor  # (F, N) index into SIZES
    shiny: Tensor  # (F, N) 0 or 1
    colour: Tensor  # (F, N, 3)
    centre: Tensor  # (F, N, 3)
    thing_turn: Tensor  # (F, N, 3, 3) local to world
    across: Tensor  # (F, N) half-width
    half_height: Tensor  # (F, N)
    trail: Tensor  # (F, N) half-width of the trail, 0 for none
    trail_start: Tensor  # (F, N, 2)

    def part(self, start: int, stop: int) -> Frames:
        return Frames(**{name: value[start:stop] for name, value in vars(self).items()})


def flatten(
    scenes: Sequence[Scene], times: Array, focal_scale: float, device: torch.device
) -> tuple[Frames, Tensor, Tensor, Tensor]:
    """Lay B scenes of T frames end to end, so F = B T.

    times:       (T,) seconds
    focal_scale: pixels of a focal length of 1
    returns      the frames; of each scene and time the centres (B, T, N, 3), NaN where there is no
        thing, the pose (B, T, 4, 4), world to camera, and the focal length (B, T) in pixels
    """
    most = max([1, *(len(scene.things) for scene in scenes)])
    count, length = len(scenes), len(times)
    pose, focal = np.empty((count, length, 4, 4)), np.empty((count, length))
    centre = np.full((count, length, most, 3), np.nan)
    turn = np.zeros((count, length, most, 3, 3))
    looks, things = np.zeros(count, _LOOK), np.zeros((count, most), _THING)
    things["shape"] = -1
    for b, scene in enumerate(scenes):
        pose[b], focal[b] = views(scene, times)
        number = len(scene.things)
        centre[b, :, :number], turn[b, :, :number] = state(scene, times)
        looks[b] = _look(scene)
        for n, thing in enumerate(scene.things):
            things[b, n] = _thing(thing)

    def flat(array: Array) -> Tensor:
        """(B, T, ...) to (F, ...); numbers with a fraction become float32."""
        laid = torch.from_numpy(array.reshape(count * length, *array.shape[2:]))
        return (laid.float() if laid.is_floating_point() else laid).to(device)

    flat_pose = flat(pose)
    frames = Frames(
        turn=flat_pose[:, :3, :3],
        position=-(flat_pose[:, :3, :3].mT @ flat_pose[:, :3, 3:])[..., 0],
        focal=flat(focal * focal_scale),
        centre=flat(np.nan_to_num(centre)),
        thing_turn=flat(turn),
        **{name: flat(np.repeat(looks[name][:, None], length, axis=1)) for name in _LOOK.names or ()},
        **{name: flat(np.repeat(things[name][:, None], length, axis=1)) for name in _THING.names or ()},
    )
    shape = (count, length)
    return (
        frames,
        torch.from_numpy(centre).float().to(device),
        flat_pose.view(*shape, 4, 4),
        frames.focal.view(shape),
    )


# what a scene and a thing keep through all frames, by fields of `Frames`
_LOOK = np.dtype(
    [
        ("floor", int),
        ("floor_yaw", float),
        ("floor_colours", float, (2, 3)),
        ("light", float, (4, 3)),
        ("sun", float, 3),
    ]
)
_THING = np.dtype(
    [
        *(("shape", int), ("size", int), ("shiny", float), ("colour", float, 3)),
        *(("across", float), ("half_height", float), ("trail", float), ("trail_start", float, 2)),
    ]
)


def _look(scene: Scene) -> tuple[Any, ...]:
    """A row of _LOOK."""
    light = LIGHT_COLOURS[scene.light]
    level = np.cos(light.elevation)
    return (
        FLOORS.index(scene.floor),
        scene.floor_yaw,
        FLOOR_COLOURS[scene.floor],
        (light.sun, light.ambient, light.horizon, light.zenith),
        (level * np.cos(scene.light_azimuth), level * np.sin(scene.light_azimuth), np.sin(light.elevation)),
    )


def _thing(thing: Thing) -> tuple[Any, ...]:
    """A row of _THING."""
    return (
        SHAPES.index(thing.shape),
        list(SIZES).index(thing.size),
        MATERIALS.index(thing.material),
        COLOURS[thing.colour],
        thing.across,
        thing.half_height,
        TRAIL_WIDTH * thing.radius if thing.motion == "trail" else 0.0,
        (thing.path.x, thing.path.y),
    )
