"""The floor with its pattern, shadows and paint, and the sky above it.

The camera never leans to a side, so a row of the frame has one distance to the floor: everything
that depends on distance (haze, softening of the pattern, the sky) is computed once for each row,
and floor coordinates are linear along a row.

Here: colours of floors and lights; the picture without the things.
Not here: the things (render.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from minisora.worlds.playroom.scene import FLOORS

Colour = tuple[float, float, float]

FLOOR_COLOURS: dict[str, tuple[Colour, Colour]] = {  # mixed by the pattern
    "grey": ((0.40, 0.41, 0.43), (0.60, 0.61, 0.63)),
    "wood": ((0.35, 0.24, 0.17), (0.60, 0.45, 0.33)),
    "checker": ((0.27, 0.28, 0.31), (0.70, 0.70, 0.71)),
    "grass": ((0.24, 0.33, 0.18), (0.42, 0.50, 0.29)),
    "sand": ((0.60, 0.54, 0.43), (0.77, 0.71, 0.59)),
}


@dataclass(frozen=True)
class Light:
    """Colours of the ambient and the sun's light, which add up; elevation in radians."""

    sun: Colour
    ambient: Colour
    elevation: float
    horizon: Colour
    zenith: Colour


LIGHT_COLOURS: dict[str, Light] = {
    "day": Light((0.72, 0.71, 0.68), (0.42, 0.43, 0.45), 0.95, (0.78, 0.86, 0.93), (0.42, 0.62, 0.88)),
    "sunset": Light((0.78, 0.63, 0.48), (0.44, 0.39, 0.40), 0.55, (0.97, 0.66, 0.42), (0.52, 0.38, 0.52)),
    "night": Light((0.46, 0.48, 0.55), (0.36, 0.37, 0.43), 0.80, (0.13, 0.16, 0.28), (0.03, 0.04, 0.11)),
}
HAZE = 32.0  # units until the floor is 1/e itself
FARTHEST = 80.0  # units, beyond which the floor is all haze


@dataclass(frozen=True)
class Rows:
    """The rays of a frame by row and column. Floor point: (x0 + xu u, y0 + yu u) for column u."""

    u: Tensor  # (1, 1, W)
    x0: Tensor  # (F, H, 1), as all below
    xu: Tensor
    y0: Tensor
    yu: Tensor
    softness: Tensor  # units of floor that a pixel covers, along the view
    floor_share: Tensor  # 1 on the floor, 0 in the sky, between at the horizon's row
    haze: Tensor  # share of the floor's own colour
    height: Tensor  # of the ray above the horizon, for the sky


def rows(turn: Tensor, position: Tensor, focal_pixels: Tensor, u: Tensor, v: Tensor) -> Rows:
    """Rays of F frames.

    turn:          (F, 3, 3) world to camera
    position:      (F, 3) of the camera
    focal_pixels:  (F,)
    u, v:          (F, W), (F, H) directions across and down for a step of 1 ahead
    """
    right, down, ahead = (turn[:, axis, :, None, None] for axis in range(3))  # each (F, 3, 1, 1)
    v = v[:, :, None]
    slope = down[:, 2] * v + ahead[:, 2]  # z of the ray; down for the floor
    height = position[:, 2, None, None]
    pixel = 1 / focal_pixels[:, None, None]
    steep = (-slope).clamp_min(1e-4)
    reach = (height / steep).clamp_max(FARTHEST)
    distance = torch.where(slope < 0, reach, FARTHEST)
    return Rows(
        u=u[:, None, :],
        x0=position[:, 0, None, None] + distance * (down[:, 0] * v + ahead[:, 0]),
        xu=distance * right[:, 0],
        y0=position[:, 1, None, None] + distance * (down[:, 1] * v + ahead[:, 1]),
        yu=distance * right[:, 1],
        softness=distance * distance * pixel / height,
        floor_share=(0.5 - slope / (pixel * down[:, 2].abs())).clamp(0, 1),
        haze=torch.exp(-distance / HAZE),
        height=slope.clamp_min(0),
    )


# A pattern: (x, y) floor coordinates (F, H, W), units per pixel (F, H, 1) -> share of colour 2


def _grey(x: Tensor, y: Tensor, soft: Tensor) -> Tensor:
    """Slabs a unit wide with dark joints."""
    joint = torch.minimum((x * math.pi).sin().abs(), (y * math.pi).sin().abs())
    edge = 2.2 * soft.clamp_min(0.035)
    return 0.72 - 0.72 * (1.3 - joint / edge).clamp(0, 1) * (0.12 / edge).clamp_max(1)


def _wood(x: Tensor, y: Tensor, soft: Tensor) -> Tensor:
    """Planks along x with their own tone and a slow grain."""
    across = y / 0.55
    plank = across.floor()
    seam = (across - plank - 0.5).abs()
    edge = soft.clamp_min(0.03) / 0.55
    fade = 1 / (1 + (2 * soft) ** 2)
    tone = (plank * 2.4).sin() * 0.24 + (x * 1.9 + plank * 2.7).sin() * 0.13
    return 0.58 + fade * tone - 0.5 * ((seam - 0.5 + edge) / edge).clamp(0, 1) * (0.05 / edge).clamp_max(1)


def _checker(x: Tensor, y: Tensor, soft: Tensor) -> Tensor:
    wave = (x * (math.pi / 0.8)).sin() * (y * (math.pi / 0.8)).sin()
    sharp = (0.3 / soft).clamp(0.5, 8.0)
    return 0.5 + 0.5 * (wave * sharp).clamp(-1, 1) / (1 + (1.2 * soft) ** 2)


def _grass(x: Tensor, y: Tensor, soft: Tensor) -> Tensor:
    fade = 1 / (1 + (2 * soft) ** 2)
    blobs = (5.1 * x + 1.3 * (3.7 * y).sin()).sin() * (4.3 * y + 1.7 * (2.9 * x).sin()).sin()
    patches = (1.7 * x + 0.6 * y).sin() * (1.3 * y - 0.9 * x).sin()
    return 0.5 + fade * (0.32 * blobs + 0.2 * patches)


def _sand(x: Tensor, y: Tensor, soft: Tensor) -> Tensor:
    fade = 1 / (1 + (2 * soft) ** 2)
    ripples = (7.5 * y + 1.4 * (1.9 * x).sin() + 0.8 * (1.1 * x + 0.7 * y).sin()).sin()
    dunes = (1.3 * x + 0.8 * y).sin() * (0.9 * y - 0.7 * x).sin()
    return 0.5 + fade * (0.30 * ripples + 0.2 * dunes)


PATTERNS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = dict(
    zip(FLOORS, (_grey, _wood, _checker, _grass, _sand), strict=True)
)


def floor_pattern(floor: str, yaw: Tensor, at: Rows) -> Tensor:
    """Share of the floor's second colour: (F, H, W). yaw: (F,) radians of the pattern."""
    sine, cosine = yaw.sin()[:, None, None], yaw.cos()[:, None, None]
    x = torch.addcmul(at.x0 * cosine + at.y0 * sine + 0.3, at.xu * cosine + at.yu * sine, at.u)
    y = torch.addcmul(at.y0 * cosine - at.x0 * sine + 0.3, at.yu * cosine - at.xu * sine, at.u)
    return PATTERNS[floor](x, y, at.softness)


def _local(at: Rows, x: Tensor, y: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
    """Floor coordinates about (x, y), first axis along (cosine, sine); each of these (F,)."""
    x, y, cosine, sine = (value[:, None, None] for value in (x, y, cosine, sine))
    from_x, from_y = at.x0 - x, at.y0 - y
    along = torch.addcmul(from_x * cosine + from_y * sine, at.xu * cosine + at.yu * sine, at.u)
    across = torch.addcmul(from_y * cosine - from_x * sine, at.yu * cosine - at.xu * sine, at.u)
    return along, across


def shade(
    shape: str, at: Rows, centre: Tensor, yaw: Tensor, across: Tensor, half_height: Tensor, sun: Tensor
) -> Tensor:
    """Shadow of a thing: share of the sun's light that it takes from the floor, (F, H, W).

    The edge is soft. The outline is exact for the ball (an ellipse), the cylinder (a swept disc)
    and the cube (a hexagon), approximate for the cone.

    centre:  (F, 3); yaw, across, half_height: (F,) of the thing
    sun:     (F, 3) direction to the light
    """
    level = sun[:, :2].norm(dim=-1).clamp_min(1e-6)
    slant = level / sun[:, 2]  # floor units of shadow for a unit of height
    away = -sun[:, :2] / level[:, None]
    bottom = (centre[:, 2] - half_height).clamp_min(0)
    start = centre[:, :2] + away * (slant * bottom)[:, None]
    length = 2 * half_height * slant
    soft = (0.05 + 0.22 * bottom + 0.05 * half_height)[:, None, None]
    radius = across[:, None, None]
    long = length[:, None, None]
    if shape == "ball":
        middle = centre[:, :2] + away * (slant * centre[:, 2])[:, None]
        along, aside = _local(at, middle[:, 0], middle[:, 1], away[:, 0], away[:, 1])
        outside = torch.hypot(along * sun[:, 2, None, None], aside) - radius
    elif shape == "cube":
        x, y = _local(at, start[:, 0], start[:, 1], yaw.cos(), yaw.sin())
        a = long * (away[:, 0] * yaw.cos() + away[:, 1] * yaw.sin())[:, None, None]
        b = long * (away[:, 1] * yaw.cos() - away[:, 0] * yaw.sin())[:, None, None]
        beyond_x = (x - a / 2).abs() - (radius + a.abs() / 2)
        beyond_y = (y - b / 2).abs() - (radius + b.abs() / 2)
        beside = (x * b - y * a).abs() / long - radius * (a.abs() + b.abs()) / long
        outside = torch.maximum(torch.maximum(beyond_x, beyond_y), beside)
    else:
        along, aside = _local(at, start[:, 0], start[:, 1], away[:, 0], away[:, 1])
        h = (along / long).clamp(0, 1)
        taper = (1 - h) if shape == "cone" else 1.0
        outside = torch.hypot(along - h * long, aside) - radius * taper
    taken: Tensor = (0.5 - outside / soft).clamp_(0, 1)
    return taken


def paint(at: Rows, start: Tensor, end: Tensor, half_width: Tensor) -> Tensor:
    """Share of paint in a strip from start to end, (F, 2) each: (F, H, W)."""
    span = end - start
    length = span.norm(dim=-1)
    direction = span / length.clamp_min(1e-6)[:, None]
    along, aside = _local(at, start[:, 0], start[:, 1], direction[:, 0], direction[:, 1])
    nearest = torch.minimum(along.clamp_min(0), length[:, None, None])
    outside = torch.hypot(along - nearest, aside) - half_width[:, None, None]
    strip: Tensor = (0.5 - outside / at.softness.clamp_min(0.02)).clamp(0, 1)
    return strip.mul_((length > 1e-3)[:, None, None])
