"""Casting things: each only inside a patch of the frame round it, four rays to a pixel, with its light.

Here: the patches of all things of a chunk of frames, ordered for laying over the ground.
Not here: where a ray meets a shape (shapes.py), laying the patches over (render.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from minisora.worlds.playroom.frames import Frames
from minisora.worlds.playroom.scene import EXTENTS, SHAPES, SIZES
from minisora.worlds.playroom.shapes import SHAPE_HITS

NEAREST = 0.5  # units; what is nearer to the camera is not drawn
WRAP = 0.3  # how far sunlight reaches round a thing, so that its colour shows on the far side too
DARK = 0.55  # brightness of the painted pattern on a thing


@dataclass(frozen=True)
class Patch:
    index: Tensor  # (I, P, Q) into the flattened frames
    cover: Tensor  # (I, P, Q) share of each pixel
    colour: tuple[Tensor, ...]  # three of (I, P, Q), 0..255, already times cover
    label: Tensor  # (I, 1, 1) uint8
    depth: Tensor | None  # (I, P, Q)


def patches(frames: Frames, height: int, width: int, *, with_depth: bool) -> list[list[Patch]]:
    """The things, cast in patches: a list for each rank, from the farthest thing of each frame to the nearest."""
    present = frames.shape >= 0
    offset = frames.centre - frames.position[:, None]
    power = (offset * offset).sum(-1) - frames.across.square()
    order = torch.where(present, power, -torch.inf).argsort(dim=1, descending=True).argsort(dim=1)

    extents = torch.stack([frames.across, frames.across, frames.half_height], dim=-1)  # (F, N, 3)
    signs = torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], device=extents.device)
    to_camera = frames.turn[:, None] @ frames.thing_turn  # (F, N, 3, 3)
    middle = (frames.turn[:, None] @ offset[..., None])[..., 0]
    corners = (to_camera[:, :, None] @ (extents[:, :, None] * signs)[..., None])[..., 0] + middle[:, :, None]
    nearest = corners[..., 2].amin(-1)
    scale = frames.focal[:, None, None, None]
    centre = torch.tensor([width / 2, height / 2], device=extents.device)
    screen = corners[..., :2] / corners[..., 2:].clamp_min(NEAREST) * scale + centre
    low, high = screen.amin(2).floor(), screen.amax(2).ceil()  # (F, N, 2)
    limits = torch.tensor([width, height], device=extents.device)
    visible = present & (nearest > NEAREST) & (low < limits).all(-1) & (high > 0).all(-1)

    ranks: list[list[Patch]] = [[] for _ in range(frames.shape.shape[1])]
    group = torch.where(visible, frames.shape * len(SIZES) + frames.size, -1)
    for kind in torch.unique(group).tolist():
        if kind < 0:
            continue
        f, n = (group == kind).nonzero(as_tuple=True)
        size = (high - low)[f, n].amax(0)
        size_x, size_y = min(int(size[0]), width), min(int(size[1]), height)
        x0 = low[f, n, 0].clamp(0, width - size_x)
        y0 = low[f, n, 1].clamp(0, height - size_y)
        patch = _cast(
            frames, f, n, to_camera[f, n], middle[f, n], x0, y0, (size_y, size_x), (height, width), with_depth
        )
        for rank, own in enumerate(ranks):
            chosen = (order[f, n] == rank).nonzero()[:, 0]
            if len(chosen) == len(f):
                own.append(patch)
            elif len(chosen):
                own.append(
                    Patch(
                        patch.index[chosen],
                        patch.cover[chosen],
                        tuple(plane[chosen] for plane in patch.colour),
                        patch.label[chosen],
                        None if patch.depth is None else patch.depth[chosen],
                    )
                )
    return ranks


def _cast(
    frames: Frames,
    f: Tensor,
    n: Tensor,
    to_camera: Tensor,
    middle: Tensor,
    x0: Tensor,
    y0: Tensor,
    size: tuple[int, int],
    whole: tuple[int, int],
    with_depth: bool,
) -> Patch:
    """Cast I patches of things of one shape, four rays to a pixel.

    f, n:    (I,) frame and thing of each patch
    middle:  (I, 3) of the thing in the camera's axes; x0, y0: (I,) the patch's corner in pixels
    """
    size_y, size_x = size
    height, width = whole
    shape = SHAPES[int(frames.shape[f[0], n[0]])]
    radius = frames.half_height[f, n]  # units for one local unit: the shapes of radius 1 are this much smaller
    radius = radius / EXTENTS[shape][1]
    focal = frames.focal[f, None]
    steps_x = torch.arange(2 * size_x, device=f.device) / 2 + (0.25 - width / 2)
    steps_y = torch.arange(2 * size_y, device=f.device) / 2 + (0.25 - height / 2)
    u = ((x0[:, None] + steps_x) / focal)[:, None, :]  # (I, 1, Q)
    v = ((y0[:, None] + steps_y) / focal)[:, :, None]  # (I, P, 1)

    local = to_camera.mT / radius[:, None, None]  # camera to the thing's space; t stays depth along the view
    origin = -(local @ middle[..., None])[..., 0]  # (I, 3)
    o = origin[:, 0, None, None], origin[:, 1, None, None], origin[:, 2, None, None]
    columns = local[..., None, None]  # (I, 3, 3, 1, 1)
    d0, d1, d2 = (columns[:, i, 0] * u + (columns[:, i, 1] * v + columns[:, i, 2]) for i in range(3))
    hit, t, normal, dark = SHAPE_HITS[shape](o, (d0, d1, d2))

    own_turn = frames.thing_turn[f, n]
    sun = (own_turn.mT @ frames.sun[f][..., None])[..., 0]  # in the thing's axes
    view = functional.normalize(origin, dim=-1)
    half = functional.normalize(sun + view, dim=-1)
    direct = _along(normal, sun).add_(WRAP).mul_(1 / (1 + WRAP)).clamp_(0, 1)
    sky = _along(normal, own_turn[:, 2]).clamp_(-1, 1) * 0.22 + 0.78  # floor and sky light from below and above
    gloss = _along(normal, half).clamp_(0, 1)  # off the hit the normal may be anything
    gloss = gloss.square_().square_().square_().square_().square_()  # ** 32
    shown = hit.to(direct.dtype)
    paint_shown = torch.where(dark, DARK, 1.0) * shown
    cover, sky, direct, gloss = (
        _halve(plane) for plane in (shown, sky * paint_shown, direct * paint_shown, gloss * shown)
    )

    shiny = frames.shiny[f, n, None, None]
    direct_strength, gloss_strength = 1.0 - 0.12 * shiny, 0.8 * shiny
    planes = []
    for channel in range(3):
        colour = 255 * frames.colour[f, n, channel, None, None]
        sun_light, ambient = (frames.light[f, i, channel, None, None] for i in range(2))
        plane = sky * (colour * ambient) + direct * (colour * sun_light * direct_strength)
        planes.append(torch.addcmul(plane, gloss, 255 * (sun_light + ambient) * gloss_strength))
    index = (
        (f * height + y0.long())[:, None, None] * width
        + x0.long()[:, None, None]
        + torch.arange(size_y, device=f.device)[:, None] * width
        + torch.arange(size_x, device=f.device)
    )
    depth = _halve(torch.where(hit, t, 0.0)) / cover.clamp_min(0.25) if with_depth else None
    return Patch(index, cover, tuple(planes), (n + 1).to(torch.uint8)[:, None, None], depth)


def _along(normal: tuple[Tensor, Tensor, Tensor], direction: Tensor) -> Tensor:
    """Dot product of normals (I, P, Q) with one direction (I, 3) for each patch."""
    x, y, z = (direction[:, i, None, None] for i in range(3))
    return torch.addcmul(torch.addcmul(normal[0] * x, normal[1], y), normal[2], z)


def _halve(plane: Tensor) -> Tensor:
    """Mean of each 2x2 rays: (I, 2P, 2Q) to (I, P, Q)."""
    return functional.avg_pool2d(plane[:, None], 2)[:, 0]
