"""Scenes to pictures: an analytic ray caster on tensors.

The ground is drawn at every pixel (ground.py). Each thing is cast only inside a patch around it
(raycast.py) and composited over the picture, from the farthest to the nearest. The order is by the
power of the camera's point, distance^2 - radius^2, which orders disjoint balls rightly; things in a
scene do not overlap.

Here: `render` and what it returns.
Not here: choosing scenes (draw.py), scenes as tensors (frames.py), the things themselves
(raycast.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from minisora.errors import UsageError
from minisora.worlds.playroom.frames import Frames, flatten
from minisora.worlds.playroom.ground import Rows, floor_pattern, paint, rows, shade
from minisora.worlds.playroom.raycast import patches
from minisora.worlds.playroom.scene import FLOORS, SHAPES, Scene

PIXELS_AT_ONCE = {"cpu": 1 << 17}  # what stays in a core's cache; other devices take AT_ONCE_ELSEWHERE
AT_ONCE_ELSEWHERE = 1 << 24


@dataclass(frozen=True, eq=False)
class Rendered:
    """Frames of B scenes with ground truth; N is the largest number of things, absent ones are NaN.

    frames:     (B, T, H, W, 3) uint8 RGB
    positions:  (B, T, N, 3) float32 centres in units
    screen:     (B, T, N, 2) float32 centres in the frame, 0..1 of width and height
    pose:       (B, T, 4, 4) float32 world to camera (x right, y down, z ahead)
    focal:      (B, T) float32 focal length in pixels
    masks:      (B, T, H, W) uint8, 0 for the background, i + 1 for thing i; None without truth
    depth:      (B, T, H, W) float32 units along the view, inf in the sky; None without truth
    """

    frames: Tensor
    positions: Tensor
    screen: Tensor
    pose: Tensor
    focal: Tensor
    masks: Tensor | None
    depth: Tensor | None


def render(
    scenes: Sequence[Scene],
    *,
    height: int,
    width: int,
    fps: float = 8.0,
    num_frames: int = 33,
    start: float = 0.0,
    device: str | torch.device = "cpu",
    truth: bool = False,
) -> Rendered:
    """Draw stretches of scenes, all of one size and length.

    height, width:  pixels, any
    start:          seconds after each scene's start
    truth:          also masks and depth

    Raises UsageError for a size, rate or length that is not positive.
    """
    if min(height, width, num_frames) < 1 or fps <= 0:
        raise UsageError(
            f"cannot draw {num_frames} frames of {height}x{width} at {fps:g} fps. Ask for at least one of each."
        )
    times = start + np.arange(num_frames) / fps
    frames, positions, pose, focal = flatten(scenes, times, min(height, width) / 2, torch.device(device))
    total = len(frames.turn)
    picture = torch.empty(total, height, width, 3, dtype=torch.uint8, device=device)
    masks = torch.zeros(total, height, width, dtype=torch.uint8, device=device) if truth else None
    depth = torch.empty(total, height, width, device=device) if truth else None
    at_once = max(1, PIXELS_AT_ONCE.get(torch.device(device).type, AT_ONCE_ELSEWHERE) // (height * width))
    with torch.no_grad():
        for first in range(0, total, at_once):
            here = slice(first, first + at_once)
            _draw(
                frames.part(first, first + at_once),
                picture[here],
                None if masks is None else masks[here],
                None if depth is None else depth[here],
            )
    shape = (len(scenes), num_frames)
    seen = (pose[:, :, None, :3, :3] @ positions[..., None])[..., 0] + pose[:, :, None, :3, 3]
    middle = torch.tensor([width / 2, height / 2], device=device)
    screen = (seen[..., :2] / seen[..., 2:].clamp_min(1e-3) * focal[..., None, None] + middle) / (2 * middle)
    return Rendered(
        frames=picture.view(*shape, height, width, 3),
        positions=positions,
        screen=screen,
        pose=pose,
        focal=focal,
        masks=None if masks is None else masks.view(*shape, height, width),
        depth=None if depth is None else depth.view(*shape, height, width),
    )


def _draw(frames: Frames, out: Tensor, masks: Tensor | None, depth: Tensor | None) -> None:
    """Draw one chunk of frames into `out` (F, H, W, 3), and into masks and depth unless None."""
    height, width = out.shape[1:3]
    across = torch.arange(width, device=out.device) + (0.5 - width / 2)
    down = torch.arange(height, device=out.device) + (0.5 - height / 2)
    focal = frames.focal[:, None]
    at = rows(frames.turn, frames.position, frames.focal, across / focal, down / focal)
    picture = _ground(frames, at)  # 3 planes of (F, H, W), 0..255
    if depth is not None:
        slope = frames.turn[:, 1, 2, None, None] * (down / focal)[:, :, None] + frames.turn[:, 2, 2, None, None]
        far = torch.where(slope < 0, frames.position[:, 2, None, None] / (-slope).clamp_min(1e-6), torch.inf)
        depth.copy_(far.expand_as(depth))
    for rank in patches(frames, height, width, with_depth=depth is not None):
        for patch in rank:
            for plane, colour in zip(picture, patch.colour, strict=True):
                flat = plane.view(-1)
                flat[patch.index] = torch.addcmul(colour, flat[patch.index], 1 - patch.cover)
            if masks is not None and depth is not None:
                seen = patch.cover >= 0.5
                index = patch.index[seen]
                masks.view(-1)[index] = patch.label.expand_as(patch.index)[seen]
                assert patch.depth is not None
                depth.view(-1)[index] = patch.depth[seen]
    for channel, plane in enumerate(picture):
        out[..., channel] = plane.add_(0.5).clamp_(0, 255.49)


def _ground(frames: Frames, at: Rows) -> list[Tensor]:
    """Floor, shadows, paint and sky: three planes of (F, H, W), 0..255."""
    kinds = torch.unique(frames.floor).tolist()
    if len(kinds) == 1:
        mix = floor_pattern(FLOORS[kinds[0]], frames.floor_yaw, at)
    else:
        mix = torch.empty(*at.x0.shape[:2], at.u.shape[2], device=at.u.device)
        for kind in kinds:
            chosen = (frames.floor == kind).nonzero()[:, 0]
            mix[chosen] = floor_pattern(FLOORS[kind], frames.floor_yaw[chosen], _pick(at, chosen))
    lit = torch.ones_like(mix)
    painted: list[tuple[Tensor, Tensor, Tensor]] = []
    for n in range(frames.shape.shape[1]):
        for kind in torch.unique(frames.shape[:, n]).tolist():
            if kind < 0:
                continue
            chosen = (frames.shape[:, n] == kind).nonzero()[:, 0]
            whole = len(chosen) == len(lit)
            turn = frames.thing_turn[chosen, n]
            shadow = shade(
                SHAPES[kind],
                at if whole else _pick(at, chosen),
                frames.centre[chosen, n],
                torch.atan2(turn[:, 1, 0], turn[:, 0, 0]),
                frames.across[chosen, n],
                frames.half_height[chosen, n],
                frames.sun[chosen],
            )
            if whole:
                lit.mul_(1 - shadow)
            else:
                lit[chosen] *= 1 - shadow
        chosen = (frames.trail[:, n] > 0).nonzero()[:, 0]
        if len(chosen):
            strip = paint(
                _pick(at, chosen), frames.trail_start[chosen, n], frames.centre[chosen, n, :2], frames.trail[chosen, n]
            )
            painted.append((chosen, frames.colour[chosen, n], strip))

    sun, ambient, horizon, zenith = frames.light.unbind(1)  # each (F, 3)
    direct = sun * frames.sun[:, 2:]
    sky_mix = (at.height * 3).clamp_max(1)
    keep = at.haze * at.floor_share
    picture = []
    for channel in range(3):
        first, second = (frames.floor_colours[:, i, channel, None, None] for i in range(2))
        base = torch.addcmul(first, mix, second - first)
        for chosen, colour, strip in painted:
            base[chosen] = torch.lerp(base[chosen], colour[:, channel, None, None].expand_as(strip), strip)
        light = torch.addcmul(ambient[:, channel, None, None], lit, direct[:, channel, None, None])
        low, high = horizon[:, channel, None, None], zenith[:, channel, None, None]
        behind = 255 * (low + (high - low) * sky_mix) * (1 - keep)
        picture.append(torch.addcmul(behind, base.mul_(light), 255 * keep))
    return picture


def _pick(at: Rows, chosen: Tensor) -> Rows:
    return Rows(**{name: value[chosen] for name, value in vars(at).items()})
