"""Ray intersection with the four shapes, in each shape's own space.

In that space a thing of radius 1 stands at the origin, upright along z; a ray is o + t d. All
shapes are convex, so only the first hit counts. Patterns of darker paint make rotation visible.

Here: hit, distance, normal and pattern for each shape.
Not here: light (render.py), shadows (ground.py).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from minisora.worlds.playroom.scene import EXTENTS

Vec = tuple[Tensor, Tensor, Tensor]
# (origin, direction) -> hit (bool), t, normal, pattern (bool: painted darker); the last three mean
# nothing off the hit
Hit = tuple[Tensor, Tensor, Vec, Tensor]


def ball(o: Vec, d: Vec) -> Hit:
    """Unit sphere; two opposite patches where x y > 0 is large."""
    a = _dot(d, d)
    b = _dot(o, d)
    c = _dot(o, o) - 1
    disc = b * b - a * c
    t = (-b - disc.clamp_min(0).sqrt()) / a
    n = _at(o, d, t)
    return disc > 0, t, n, n[0] * n[1] > 0.16


def cube(o: Vec, d: Vec) -> Hit:
    """Box; a vertical stripe down the middle of each side."""
    half = EXTENTS["cube"][0]
    enter, leave = [], []
    for origin, direction in zip(o, d, strict=True):
        inverse = 1 / torch.where(direction.abs() < 1e-7, 1e-7, direction)
        middle, width = -origin * inverse, (half * inverse).abs()
        enter.append(middle - width)
        leave.append(middle + width)
    t = torch.maximum(torch.maximum(enter[0], enter[1]), enter[2])
    hit = t < torch.minimum(torch.minimum(leave[0], leave[1]), leave[2])
    on_x, on_z = t == enter[0], t == enter[2]
    on_y = ~(on_x | on_z)
    normal = (-d[0].sign() * on_x, -d[1].sign() * on_y, -d[2].sign() * (on_z & ~on_x))
    x, y = o[0] + t * d[0], o[1] + t * d[1]
    stripe = 0.24 * half
    return hit, t, normal, ((y.abs() < stripe) & on_x) | ((x.abs() < stripe) & on_y)


def cylinder(o: Vec, d: Vec) -> Hit:
    """Upright cylinder with caps; vertical stripes around it."""
    radius, half = EXTENTS["cylinder"]
    a = (d[0] * d[0] + d[1] * d[1]).clamp_min(1e-12)
    b = o[0] * d[0] + o[1] * d[1]
    disc = b * b - a * (o[0] * o[0] + o[1] * o[1] - radius**2)
    root = disc.clamp_min(0).sqrt()
    inverse = 1 / torch.where(d[2].abs() < 1e-7, 1e-7, d[2])
    middle, width = -o[2] * inverse, (half * inverse).abs()
    side, cap = (-b - root) / a, middle - width
    t = torch.maximum(side, cap)
    hit = (disc > 0) & (t < torch.minimum((-b + root) / a, middle + width))
    on_side = side > cap
    x, y = o[0] + t * d[0], o[1] + t * d[1]
    normal = (x * on_side / radius, y * on_side / radius, -d[2].sign() * ~on_side)
    return hit, t, normal, _stripes(x, y, radius) & on_side


def cone(o: Vec, d: Vec) -> Hit:
    """Upright cone, tip up; vertical stripes from tip to base."""
    radius, half = EXTENTS["cone"]
    slope = radius / (2 * half)  # radius lost in a unit of height
    rest, fall = slope * (half - o[2]), -slope * d[2]  # radius of the cone along the ray: rest + t fall
    a = d[0] * d[0] + d[1] * d[1] - fall * fall
    a = torch.where(a.abs() < 1e-7, 1e-7, a)
    b = o[0] * d[0] + o[1] * d[1] - rest * fall
    disc = b * b - a * (o[0] * o[0] + o[1] * o[1] - rest * rest)
    root = disc.clamp_min(0).sqrt()
    far = torch.full_like(disc, torch.inf)
    t = far
    for sign in (-1.0, 1.0):
        mantle = (-b + sign * root) / a
        z = o[2] + mantle * d[2]
        t = torch.where((disc > 0) & (z.abs() <= half) & (mantle > 0), torch.minimum(t, mantle), t)
    base = (-half - o[2]) / torch.where(d[2].abs() < 1e-7, 1e-7, d[2])
    x, y = o[0] + base * d[0], o[1] + base * d[1]
    on_base = (x * x + y * y < radius**2) & (base > 0) & (base < t)
    t = torch.where(on_base, base, t)
    hit = t < far
    t = torch.where(hit, t, 0.0)
    x, y = o[0] + t * d[0], o[1] + t * d[1]
    z = o[2] + t * d[2]
    here = (slope * (half - z)).clamp_min(1e-4)
    length = (1 + slope**2) ** 0.5
    side = ~on_base
    normal = (x / here / length * side, y / here / length * side, slope / length * side - 1.0 * on_base)
    return hit, t, normal, _stripes(x, y, here) & side


SHAPE_HITS: dict[str, Callable[[Vec, Vec], Hit]] = {"ball": ball, "cube": cube, "cylinder": cylinder, "cone": cone}


def _stripes(x: Tensor, y: Tensor, radius: Tensor | float) -> Tensor:
    """Three stripes a third of a turn apart: cos(3 angle) = 4 c^3 - 3 c is large."""
    c = x / radius
    return (4 * c * c - 3) * c > 0.45


def _dot(u: Vec, v: Vec) -> Tensor:
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


def _at(o: Vec, d: Vec, t: Tensor) -> Vec:
    return o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2]
