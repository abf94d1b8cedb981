"""Ray casting of things: each inside a patch of the frame around it, four rays per pixel.

Here: the patches of all things of a chunk of frames, ordered for compositing over the ground.
Not here: intersection of ray and shape (shapes.py), compositing (render.py).
"""

from __future__ import annotations

from collections.abc import Iterator
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

    def part(self, chosen: Tensor) -> Patch:
        """The chosen ones of the I patches."""
        return Patch(
            self.index[chosen],
            self.cover[chosen],
            tuple(plane[chosen] for plane in self.colour),
            self.label[chosen],
            None if self.depth is None else self.depth[chosen],
        )


@dataclass(frozen=True, kw_only=True)
class _Boxes:
    """I things of one shape and size, each in a box of P x Q pixels that holds it."""

    frames: Frames
    height: int  # pixels of a frame
    width: int
    frame: Tensor  # (I,) in which frame each is
    thing: Tensor  # (I,) which of its things it is
    to_camera: Tensor  # (I, 3, 3) the thing's axes to the camera's
    middle: Tensor  # (I, 3) of the thing, in the camera's axes
    top: Tensor  # (I,) pixels
    left: Tensor  # (I,)
    rows: int  # P
    columns: int  # Q


def patches(frames: Frames, height: int, width: int, *, with_depth: bool) -> list[list[Patch]]:
    """Cast things in patches: a list for each rank, from the farthest thing to the nearest."""
    offset = frames.centre - frames.position[:, None]
    power = (offset * offset).sum(-1) - frames.across.square()
    order = torch.where(frames.shape >= 0, power, -torch.inf).argsort(dim=1, descending=True).argsort(dim=1)
    ranks: list[list[Patch]] = [[] for _ in range(frames.shape.shape[1])]
    for boxes in _boxes(frames, height, width):
        patch, rank_of = _cast(boxes, with_depth), order[boxes.frame, boxes.thing]
        for rank, own in enumerate(ranks):
            chosen = (rank_of == rank).nonzero()[:, 0]
            if len(chosen):
                own.append(patch if len(chosen) == len(rank_of) else patch.part(chosen))
    return ranks


def _boxes(frames: Frames, height: int, width: int) -> Iterator[_Boxes]:
    """The boxes of all things that are in the frame, by shape and size."""
    extents = torch.stack([frames.across, frames.across, frames.half_height], dim=-1)  # (F, N, 3)
    signs = torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], device=extents.device)
    to_camera = frames.turn[:, None] @ frames.thing_turn  # (F, N, 3, 3)
    middle = (frames.turn[:, None] @ (frames.centre - frames.position[:, None])[..., None])[..., 0]
    corners = (to_camera[:, :, None] @ (extents[:, :, None] * signs)[..., None])[..., 0] + middle[:, :, None]
    scale = frames.focal[:, None, None, None]
    limits = torch.tensor([width, height], device=extents.device)
    screen = corners[..., :2] / corners[..., 2:].clamp_min(NEAREST) * scale + limits / 2
    low, high = screen.amin(2).floor(), screen.amax(2).ceil()  # (F, N, 2)
    in_front = (frames.shape >= 0) & (corners[..., 2].amin(-1) > NEAREST)
    visible = in_front & (low < limits).all(-1) & (high > 0).all(-1)

    group = torch.where(visible, frames.shape * len(SIZES) + frames.size, -1)
    for kind in torch.unique(group).tolist():
        if kind < 0:
            continue
        f, n = (group == kind).nonzero(as_tuple=True)
        size = (high - low)[f, n].amax(0)
        columns, rows = min(int(size[0]), width), min(int(size[1]), height)
        yield _Boxes(
            frames=frames,
            height=height,
            width=width,
            frame=f,
            thing=n,
            to_camera=to_camera[f, n],
            middle=middle[f, n],
            top=low[f, n, 1].clamp(0, height - rows),
            left=low[f, n, 0].clamp(0, width - columns),
            rows=rows,
            columns=columns,
        )


def _cast(boxes: _Boxes, with_depth: bool) -> Patch:
    """Cast the things in their boxes, four rays to a pixel."""
    shape = SHAPES[int(boxes.frames.shape[boxes.frame[0], boxes.thing[0]])]
    origin, direction = _rays(boxes, shape)
    o = origin[:, 0, None, None], origin[:, 1, None, None], origin[:, 2, None, None]
    hit, t, normal, dark = SHAPE_HITS[shape](o, direction)
    sky, direct, gloss = _light(boxes, origin, normal)
    shown = hit.to(direct.dtype)
    paint_shown = torch.where(dark, DARK, 1.0) * shown
    cover, sky, direct, gloss = (
        _halve(plane) for plane in (shown, sky * paint_shown, direct * paint_shown, gloss * shown)
    )
    index = (
        (boxes.frame * boxes.height + boxes.top.long())[:, None, None] * boxes.width
        + boxes.left.long()[:, None, None]
        + torch.arange(boxes.rows, device=cover.device)[:, None] * boxes.width
        + torch.arange(boxes.columns, device=cover.device)
    )
    label = (boxes.thing + 1).to(torch.uint8)[:, None, None]
    depth = _halve(torch.where(hit, t, 0.0)) / cover.clamp_min(0.25) if with_depth else None
    return Patch(index, cover, _colour(boxes, sky, direct, gloss), label, depth)


def _rays(boxes: _Boxes, shape: str) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Rays in the space of each thing, where it has radius 1.

    Their parameter stays depth along the view.

    returns  their origin (I, 3), and directions: x, y and z of (I, 2P, 2Q)
    """
    frames, f, n = boxes.frames, boxes.frame, boxes.thing
    radius = frames.half_height[f, n] / EXTENTS[shape][1]
    focal = frames.focal[f, None]
    steps_x = torch.arange(2 * boxes.columns, device=f.device) / 2 + (0.25 - boxes.width / 2)
    steps_y = torch.arange(2 * boxes.rows, device=f.device) / 2 + (0.25 - boxes.height / 2)
    u = ((boxes.left[:, None] + steps_x) / focal)[:, None, :]  # (I, 1, 2Q)
    v = ((boxes.top[:, None] + steps_y) / focal)[:, :, None]  # (I, 2P, 1)
    local = boxes.to_camera.mT / radius[:, None, None]  # the camera's axes to the thing's space
    origin = -(local @ boxes.middle[..., None])[..., 0]
    columns = local[..., None, None]  # (I, 3, 3, 1, 1)
    x, y, z = (columns[:, i, 0] * u + (columns[:, i, 1] * v + columns[:, i, 2]) for i in range(3))
    return origin, (x, y, z)


def _light(boxes: _Boxes, origin: Tensor, normal: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Light of the sky, of the sun and of its reflection for each ray, (I, 2P, 2Q) each."""
    turn = boxes.frames.thing_turn[boxes.frame, boxes.thing]
    sun = (turn.mT @ boxes.frames.sun[boxes.frame][..., None])[..., 0]  # in the thing's axes
    view = functional.normalize(origin, dim=-1)
    half = functional.normalize(sun + view, dim=-1)
    direct = _along(normal, sun).add_(WRAP).mul_(1 / (1 + WRAP)).clamp_(0, 1)
    sky = _along(normal, turn[:, 2]).clamp_(-1, 1) * 0.22 + 0.78  # floor and sky light from below and above
    gloss = _along(normal, half).clamp_(0, 1)  # off the hit the normal may be anything
    gloss = gloss.square_().square_().square_().square_().square_()  # ** 32
    return sky, direct, gloss


def _colour(boxes: _Boxes, sky: Tensor, direct: Tensor, gloss: Tensor) -> tuple[Tensor, ...]:
    """Colour planes, three of (I, P, Q) in 0..255, from light premultiplied by coverage."""
    frames, f, n = boxes.frames, boxes.frame, boxes.thing
    shiny = frames.shiny[f, n, None, None]
    direct_strength, gloss_strength = 1.0 - 0.12 * shiny, 0.8 * shiny
    planes = []
    for channel in range(3):
        colour = 255 * frames.colour[f, n, channel, None, None]
        sun_light, ambient = (frames.light[f, i, channel, None, None] for i in range(2))
        plane = sky * (colour * ambient) + direct * (colour * sun_light * direct_strength)
        planes.append(torch.addcmul(plane, gloss, 255 * (sun_light + ambient) * gloss_strength))
    return tuple(planes)


def _along(normal: tuple[Tensor, Tensor, Tensor], direction: Tensor) -> Tensor:
    """Dot product of normals (I, P, Q) with one direction (I, 3) for each patch."""
    x, y, z = (direction[:, i, None, None] for i in range(3))
    return torch.addcmul(torch.addcmul(normal[0] * x, normal[1], y), normal[2], z)


def _halve(plane: Tensor) -> Tensor:
    """Mean over 2x2 rays: (I, 2P, 2Q) to (I, P, Q)."""
    return functional.avg_pool2d(plane[:, None], 2)[:, 0]
