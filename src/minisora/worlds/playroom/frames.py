"""Scenes as tensors: what the caster needs of every frame, several scenes laid end to end.

Here: `Frames` and making them. Not here: drawing them (render.py, ground.py, cast.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from minisora.worlds.playroom.camera import views
from minisora.worlds.playroom.ground import FLOOR_COLOURS, LIGHT_COLOURS
from minisora.worlds.playroom.motion import Array, state
from minisora.worlds.playroom.scene import COLOURS, FLOORS, MATERIALS, SHAPES, SIZES, Scene

TRAIL_WIDTH = 0.45  # half-width of a painted trail, of the radius


@dataclass(frozen=True)
class Frames:
    """F frames of several scenes, flattened: what the caster needs of each frame and of its N things."""

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
    most = max([1, *(len(scene.things) for scene in scenes)])
    count, length = len(scenes), len(times)
    pose, focal = np.empty((count, length, 4, 4)), np.empty((count, length))
    centre = np.full((count, length, most, 3), np.nan)
    turn = np.zeros((count, length, most, 3, 3))
    look = np.zeros((count, 23))  # what a scene keeps through all its frames
    things = np.zeros((count, most, 11))
    things[:, :, 0] = -1
    for b, scene in enumerate(scenes):
        pose[b], focal[b] = views(scene, times)
        number = len(scene.things)
        centre[b, :, :number], turn[b, :, :number] = state(scene, times)
        light = LIGHT_COLOURS[scene.light]
        level = np.cos(light.elevation)
        sun = (level * np.cos(scene.light_azimuth), level * np.sin(scene.light_azimuth), np.sin(light.elevation))
        colours = (*FLOOR_COLOURS[scene.floor], light.sun, light.ambient, light.horizon, light.zenith, sun)
        look[b] = [FLOORS.index(scene.floor), scene.floor_yaw, *(value for colour in colours for value in colour)]
        for n, thing in enumerate(scene.things):
            things[b, n] = (
                SHAPES.index(thing.shape),
                list(SIZES).index(thing.size),
                MATERIALS.index(thing.material),
                *COLOURS[thing.colour],
                thing.across,
                thing.half_height,
                TRAIL_WIDTH * thing.radius if thing.motion == "trail" else 0.0,
                thing.path.x,
                thing.path.y,
            )
    wide = np.repeat(look[:, None], length, axis=1)
    many = np.repeat(things[:, None], length, axis=1)

    def flat(array: Array) -> Tensor:
        return torch.from_numpy(array.reshape(count * length, *array.shape[2:])).float().to(device)

    flat_pose, looks, each = flat(pose), flat(wide), flat(many)
    frames = Frames(
        turn=flat_pose[:, :3, :3],
        position=-(flat_pose[:, :3, :3].mT @ flat_pose[:, :3, 3:])[..., 0],
        focal=flat(focal * focal_scale),
        floor=looks[:, 0].long(),
        floor_yaw=looks[:, 1],
        floor_colours=looks[:, 2:8].reshape(-1, 2, 3),
        light=looks[:, 8:20].reshape(-1, 4, 3),
        sun=looks[:, 20:23],
        shape=each[..., 0].long(),
        size=each[..., 1].long(),
        shiny=each[..., 2],
        colour=each[..., 3:6],
        centre=flat(np.nan_to_num(centre)),
        thing_turn=flat(turn),
        across=each[..., 6],
        half_height=each[..., 7],
        trail=each[..., 8],
        trail_start=each[..., 9:11],
    )
    shape = (count, length)
    return (
        frames,
        torch.from_numpy(centre).float().to(device),
        flat_pose.view(*shape, 4, 4),
        frames.focal.view(shape),
    )
