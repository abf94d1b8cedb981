"""Rendering of stagings.

Every resize and shift is parallel to the axes, so it is two matrix products, over rows and over
columns, with a triangle filter whose width follows the scale: exact to a fraction of a pixel,
without aliasing, on any device. Stickers are premultiplied (Porter and Duff 1984, operator `over`:
out = front + (1 - alpha) * back).

Here: `render`.
Not here: positions (staging.py), the stored animations (store.py), the backdrops (backdrop.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from minisora.worlds.stickers.backdrop import MARGIN, backdrop
from minisora.worlds.stickers.staging import Actor, Staging, place, view
from minisora.worlds.stickers.store import LONG_SIDES, STORED_FPS, load


def render(
    stagings: Sequence[Staging],
    *,
    height: int,
    width: int,
    fps: float = 8.0,
    num_frames: int = 33,
    start: float = 0.0,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Draw stretches of stagings.

    start:   seconds; the moment of the first frame
    returns  (B, T, H, W, 3) uint8 RGB on the device, with T = num_frames

    Raises UsageError when a sticker is not in the cache.
    """
    moments = [start + frame / fps for frame in range(num_frames)]
    videos = [_render_one(staging, moments, height, width, torch.device(device)) for staging in stagings]
    return torch.stack(videos)


def _render_one(staging: Staging, moments: list[float], height: int, width: int, device: torch.device) -> Tensor:
    short = min(height, width)
    views = torch.tensor([view(staging, seconds) for seconds in moments], dtype=torch.float64)
    pan, zoom = views[:, 0] * short, views[:, 1]
    canvas = _draw_backdrop(staging, pan, zoom, height, width, device)
    for actor in staging.actors:
        _draw_actor(canvas, actor, moments, pan, zoom)
    return (canvas + 0.5).clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _draw_backdrop(
    staging: Staging, pan: Tensor, zoom: Tensor, height: int, width: int, device: torch.device
) -> Tensor:
    """Render the backdrop under the camera's motion: (T, 3, H, W) float 0..255."""
    image = backdrop(staging.background, height, width).to(device) * 255
    num_frames = len(zoom)
    if staging.background.kind == "plain":
        return image.expand(num_frames, 3, height, width).clone()
    scale = height * (1 + 2 * MARGIN) / image.shape[1], width * (1 + 2 * MARGIN) / image.shape[2]
    if not staging.camera.startswith("zoom"):
        zoom = zoom[:1]  # all rows are the same
    if staging.camera == "static":
        pan = pan[:1]
    rows = _filter(height, image.shape[1], centre=torch.full_like(zoom, height / 2), scale=zoom * scale[0])
    shift = pan * zoom
    columns = _filter(width, image.shape[2], centre=width / 2 - shift, scale=zoom.expand_as(shift) * scale[1])
    seen = rows.to(device) @ image.transpose(0, 1).flatten(1)  # (T or 1, H, 3 w)
    seen = rearrange(seen, "t h (c w) -> t (h c) w", c=3) @ columns.to(device).mT
    video = rearrange(seen, "t (h c) w -> t c h w", c=3).expand(num_frames, -1, -1, -1)
    return video.clone(memory_format=torch.contiguous_format)


def _draw_actor(canvas: Tensor, actor: Actor, moments: list[float], pan: Tensor, zoom: Tensor) -> None:
    """Composite an actor over the canvas, (T, 3, H, W) float 0..255, in place."""
    height, width = canvas.shape[2:]
    short = min(height, width)
    places = torch.tensor([place(actor, seconds) for seconds in moments], dtype=torch.float64)
    length = places[:, 2] * short * zoom  # of the longer side, in pixels
    # not by the largest of these moments: a frame must not depend on which stretch it is drawn in
    stored = load(actor.key, LONG_SIDES[0] if 1.2 * actor.size * short > LONG_SIDES[1] else LONG_SIDES[1])
    numbers = [round((actor.phase + seconds) * STORED_FPS) % len(stored) for seconds in moments]
    frames = torch.from_numpy(stored[numbers]).to(canvas.device)
    x = width / 2 + ((actor.x - 0.5) * width + places[:, 0] * short - pan) * zoom
    y = height / 2 + ((actor.y - 0.5) * height + places[:, 1] * short) * zoom
    scale = length / max(frames.shape[1], frames.shape[3])
    top, bottom = _reach(y, scale * frames.shape[1], height)
    left, right = _reach(x, scale * frames.shape[3], width)
    if top >= bottom or left >= right:
        return
    rows = _filter(bottom - top, frames.shape[1], centre=y - top, scale=scale, outside=0).to(canvas.device)
    columns = _filter(right - left, frames.shape[3], centre=x - left, scale=scale, outside=0).to(canvas.device)
    drawn = rows @ frames.flatten(2).float()  # (T, rows, 4 w): all channels in one product
    drawn = rearrange(drawn, "t h (c w) -> t (h c) w", c=4) @ columns.mT
    drawn = rearrange(drawn, "t (h c) w -> t c h w", c=4)
    part = canvas[:, :, top:bottom, left:right]
    part.mul_(1 - drawn[:, 3:] / 255).add_(drawn[:, :3])


def _reach(centre: Tensor, length: Tensor, limit: int) -> tuple[int, int]:
    """First and last pixel (exclusive) that an interval covers in any frame."""
    low, high = float((centre - length / 2).min()), float((centre + length / 2).max())
    return max(0, int(low) - 2), min(limit, int(high) + 3)


def _filter(out: int, size: int, *, centre: Tensor, scale: Tensor, outside: int | None = None) -> Tensor:
    """Resampling matrices (T, out, size) float32: row i has the weights of output pixel i.

    centre:  (T,) position of the input's middle, in output pixels
    scale:   (T,) output pixels per input pixel; below 1 the filter widens, against aliasing
    outside: None repeats the edge; 0 is transparent beyond the input
    """
    position = (torch.arange(out, dtype=torch.float64) + 0.5 - centre[:, None]) / scale[:, None] + size / 2 - 0.5
    support = (1 / scale).clamp(min=1).float()[:, None, None]
    beyond = 0 if outside is None else math.ceil(float(support.max()))
    if outside is None:
        position = position.clamp(0, size - 1)
    inputs = torch.arange(-beyond, size + beyond, dtype=torch.float32)
    weights = (1 - (position.float()[..., None] - inputs).abs() / support).clamp_(min=0)
    # a sampled triangle does not sum to its width: unnormalised, it beats against the pixels
    weights /= weights.sum(-1, keepdim=True).clamp_(min=1e-6)
    return weights[..., beyond : beyond + size]
