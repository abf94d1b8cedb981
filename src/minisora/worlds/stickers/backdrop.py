"""Backdrops of the stickers: a colour, a gradient, a landscape of noise, or the empty playroom.

Here: `backdrop`.
Not here: the camera (drawing.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minisora.worlds.playroom.render import render
from minisora.worlds.playroom.scene import Scene, Shot
from minisora.worlds.stickers.staging import COLOURS, Background

MARGIN = 0.5  # of height and width on each side, for a camera that pans or zooms out
_ROWS, _COLUMNS = 192, 192  # a backdrop is soft: this is enough at any output size

Array: TypeAlias = NDArray[np.floating[Any]]


def backdrop(background: Background, height: int, width: int) -> Tensor:
    """(3, h, w) float 0..1, covering the picture and MARGIN around it.

    height, width: of the picture; only their ratio matters, so that shapes keep their form
    """
    if background.kind == "plain":
        return _colour(background.names[0]).reshape(3, 1, 1)
    ramp = np.clip(np.linspace(-MARGIN, 1 + MARGIN, _ROWS, dtype=np.float32), 0, 1)[:, None, None]
    if background.kind == "gradient":
        top, bottom = (_colour(name).numpy() for name in background.names)
        return torch.from_numpy(np.moveaxis(top + (bottom - top) * ramp, -1, 0)).contiguous()
    random = np.random.default_rng(background.seed)
    if background.kind == "playroom":
        return _playroom(background, random, height / width)
    short = min(height, width)
    # in short sides, the middle of the picture at 0.5: a round sun stays round at any aspect ratio
    y = (np.linspace(-0.5 - MARGIN, 0.5 + MARGIN, _ROWS) * (height / short) + 0.5).astype(np.float32)
    x = (np.linspace(-0.5 - MARGIN, 0.5 + MARGIN, _COLUMNS) * (width / short) + 0.5).astype(np.float32)
    columns, rows = np.meshgrid(x, y)
    picture = _PICTURES[background.names[0]](rows, columns, random)
    return torch.from_numpy(np.moveaxis(picture.clip(0, 1), -1, 0)).float().contiguous()


def _playroom(background: Background, random: np.random.Generator, aspect: float) -> Tensor:
    """The empty playroom from a low camera, so that the horizon is in view."""
    floor, light = background.names
    shot = Shot(z=0.8, distance=4.0, elevation=random.uniform(0.05, 0.12))
    yaw, azimuth = random.uniform(0, 2 * np.pi, 2)
    scene = Scene(
        seed=background.seed,
        split="train",
        things=(),
        shots=(shot,),
        floor=floor,
        floor_yaw=float(yaw),
        light=light,
        light_azimuth=float(azimuth),
    )
    height, width = (round(_ROWS * max(1, ratio)) for ratio in (aspect, 1 / aspect))
    frames = render([scene], height=height, width=width, num_frames=1).frames
    return frames[0, 0].permute(2, 0, 1).float().div(255).contiguous()


def _colour(name: str) -> Tensor:
    return torch.tensor(COLOURS[name]) / 255


def _rgb(*values: int) -> Array:
    return np.array(values, np.float32) / 255


def _noise(x: Array, y: Array, random: np.random.Generator, waves: int = 12, scale: float = 6.0) -> Array:
    """Smooth noise in -1..1: a sum of plane waves of random direction.

    Its features are about 1/scale of the picture wide.
    """
    total: Array = np.zeros_like(x)
    for _ in range(waves):
        angle, phase = random.uniform(0, 2 * np.pi, 2)
        frequency = scale * random.uniform(0.5, 1.5)
        total += np.sin(frequency * (np.cos(angle) * x + np.sin(angle) * y) + np.float32(phase))
    total /= np.sqrt(2 * waves)
    return total


def _line(x: Array, random: np.random.Generator, middle: float, height: float, scale: float) -> Array:
    """A skyline: height y at each x."""
    phases, top = random.uniform(0, 2 * np.pi, 3), x[:1]
    line: Array = np.full_like(top, middle)
    for k in range(3):
        line += height / 1.8 * np.sin(scale * (k + 1) * top + np.float32(phases[k])) / (k + 1)
    return line


def _over(picture: Array, colour: Array, y: Array, line: Array, soft: float = 0.02) -> Array:
    """Fill everything below a line."""
    below: Array = ((y - line) / soft + 0.5).clip(0, 1)[..., None]
    return picture + (colour - picture) * below


def _sky(y: Array, top: Array, bottom: Array) -> Array:
    down: Array = y.clip(0, 1)[..., None]
    return top + (bottom - top) * down


def _hills(y: Array, x: Array, random: np.random.Generator) -> Array:
    picture = _sky(y, _rgb(92, 168, 232), _rgb(206, 232, 246))
    for middle, colour in ((0.55, _rgb(128, 178, 122)), (0.68, _rgb(92, 156, 84)), (0.82, _rgb(62, 126, 60))):
        picture = _over(picture, colour, y, _line(x, random, middle, 0.06, random.uniform(2, 5)))
    return picture


def _sea(y: Array, x: Array, random: np.random.Generator) -> Array:
    picture = _sky(y, _rgb(110, 180, 236), _rgb(210, 234, 248))
    glitter = 0.05 * _noise(x, 4 * y, random, scale=14)[..., None]
    return _over(picture, _rgb(36, 104, 158) + glitter, y, np.full_like(x[:1], random.uniform(0.5, 0.65)))


def _sunset(y: Array, x: Array, random: np.random.Generator) -> Array:
    horizon = random.uniform(0.55, 0.68)
    picture = _sky(y / np.float32(horizon), _rgb(96, 62, 122), _rgb(250, 156, 84))
    distance = np.hypot(x - np.float32(random.uniform(0.2, 0.8)), y - np.float32(horizon - 0.08))
    sun = ((0.10 - distance) / 0.02 + 0.5).clip(0, 1)[..., None]
    picture = picture * (1 - sun) + _rgb(255, 226, 140) * sun
    glitter = 0.07 * _noise(x, 5 * y, random, scale=14)[..., None]
    return _over(picture, _rgb(98, 62, 96) + glitter, y, np.full_like(x[:1], horizon))


def _night(y: Array, x: Array, random: np.random.Generator) -> Array:
    picture = _sky(y, _rgb(10, 12, 36), _rgb(34, 38, 84))
    rows, columns = random.integers(1, _ROWS - 1, 150), random.integers(1, _COLUMNS - 1, 150)
    bright = random.uniform(0.3, 1, 150).astype(np.float32)
    for down, right, share in ((0, 0, 1.0), (0, 1, 0.4), (1, 0, 0.4), (0, -1, 0.4), (-1, 0, 0.4)):
        picture[rows + down, columns + right] += share * bright[:, None]
    return picture


def _snow(y: Array, x: Array, random: np.random.Generator) -> Array:
    picture = _sky(y, _rgb(150, 178, 206), _rgb(214, 224, 234))
    picture = _over(picture, _rgb(186, 202, 220), y, _line(x, random, 0.55, 0.08, random.uniform(3, 6)))
    ground = _rgb(240, 244, 250) + 0.02 * _noise(x, 3 * y, random)[..., None]
    return _over(picture, ground, y, _line(x, random, 0.70, 0.03, random.uniform(1, 3)))


def _desert(y: Array, x: Array, random: np.random.Generator) -> Array:
    picture = _sky(y, _rgb(122, 182, 224), _rgb(246, 226, 190))
    for middle, colour in ((0.58, _rgb(226, 184, 122)), (0.74, _rgb(208, 158, 92))):
        ripple = 0.025 * _noise(x, 3 * y, random, scale=10)[..., None]
        picture = _over(picture, colour + ripple, y, _line(x, random, middle, 0.05, random.uniform(1.5, 4)))
    return picture


def _clouds(y: Array, x: Array, random: np.random.Generator) -> Array:
    cloud: Array = (1.2 * _noise(x, 1.8 * y, random, scale=7) - 0.1).clip(0, 1)[..., None]
    sky = _sky(y, _rgb(66, 138, 220), _rgb(156, 206, 244))
    return sky + (_rgb(250, 251, 253) - sky) * cloud


def _meadow(y: Array, x: Array, random: np.random.Generator) -> Array:
    grass = _rgb(96, 166, 70) + _rgb(24, 28, 14) * _noise(x, 2 * y, random, scale=16)[..., None]
    horizon = _line(x, random, 0.35, 0.03, 2)
    picture = _over(_sky(y, _rgb(124, 192, 240), _rgb(214, 236, 248)), grass, y, horizon)
    rows, columns = random.integers(int(0.48 * _ROWS), _ROWS - 2, 90), random.integers(1, _COLUMNS - 2, 90)
    petals = np.stack([_rgb(250, 240, 120), _rgb(246, 246, 246), _rgb(238, 120, 160)])[random.integers(0, 3, 90)]
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        picture[rows + down, columns + right] = petals
    return picture


def _lights(y: Array, x: Array, random: np.random.Generator) -> Array:
    picture = np.broadcast_to(_rgb(26, 22, 38), (*y.shape, 3)).copy()
    for _ in range(16):
        cx, cy = random.uniform(-0.4, 1.4) * float(x.max() - x.min()) / 2, random.uniform(-0.4, 1.4)
        radius, hue = random.uniform(0.05, 0.16), random.uniform(0, 1, 3).astype(np.float32)
        disc = ((radius - np.hypot(x - np.float32(cx), y - np.float32(cy))) / 0.03 + 0.5).clip(0, 1)[..., None]
        picture += disc * np.float32(0.5) * (hue / hue.max())
    return picture


_PICTURES: dict[str, Callable[[Array, Array, np.random.Generator], Array]] = {
    "hills": _hills,
    "sea": _sea,
    "sunset": _sunset,
    "night": _night,
    "snow": _snow,
    "desert": _desert,
    "clouds": _clouds,
    "meadow": _meadow,
    "lights": _lights,
}
