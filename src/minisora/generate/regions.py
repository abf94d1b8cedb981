"""Regions by box, mask or colour, or around a clip in a larger frame; inpainting them.

Source: pull and push, Gortler et al. 1996, "The Lumigraph", section 3.5.

Here: regions as pixels, and the condition for inpainting. Not here: the verbs (edits.py), levels of
tokens that a region touches (canvas.py).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.bundle import Bundle
from minisora.errors import UsageError
from minisora.generate.canvas import Condition, Shape
from minisora.generate.fields import FieldError
from minisora.generate.frames import Sampling, to_whole_latents
from minisora.generate.media import display_name
from minisora.generate.schedule import Schedule
from minisora.generate.window import Settings
from minisora.video import Video
from minisora.video.frames import Frames, derived
from minisora.video.recording import Recording


def of_box(clip: Video | Recording, box: tuple[int, int, int, int]) -> Tensor:
    """Mask of a box: (H, W, 3) uint8, white inside.

    box: left, top, width, height in pixels of the clip
    """
    (left, top, across, down), (height, width) = box, (clip.height, clip.width)
    if not (left >= 0 and top >= 0 and across > 0 < down and left + across <= width and top + down <= height):
        raise FieldError(f"{{box}} {','.join(map(str, box))} does not lie inside the clip, {width}x{height}.")
    hole = torch.zeros(height, width, 3, dtype=torch.uint8)
    hole[top : top + down, left : left + across] = 255
    return hole


def of_mask(clip: Video | Recording, mask: Video) -> Tensor:
    """Check a mask's size: returns (H, W, 3) uint8 of the clip's size."""
    (rows, columns), (height, width) = mask.frames.shape[1:3], (clip.height, clip.width)
    if (rows, columns) != (height, width):
        name = display_name(mask, "the mask")
        raise UsageError(f"{name} is {columns}x{rows}, the clip {width}x{height}. Make them equal.")
    return mask.frames[0]


def of_colour(clip: Video | Recording, colour: tuple[int, int, int], like: int) -> Tensor:
    """Mask of a colour: (H, W, 3) uint8, white where any frame is near it.

    like: tolerance of each of red, green and blue
    """
    wanted = torch.tensor(colour)
    near = torch.zeros(clip.height, clip.width, dtype=torch.bool)
    for frame in (frame for piece in clip.pieces() for frame in piece):
        near |= (frame - wanted).abs().amax(-1) <= like
    if not near.any():
        rgb, name = ",".join(map(str, colour)), display_name(clip, "the clip")
        raise FieldError(f"{{colour}} {rgb}: no pixel of {name} is within {like} of it in red, green and blue.")
    return 255 * near[:, :, None].expand(-1, -1, 3).to(torch.uint8)


def in_frame(clip: Frames, to: tuple[int, int], corner: tuple[int, int] | None) -> tuple[Frames, Tensor]:
    """Place a clip in a larger, black frame.

    clip:    (T, H, W, 3) uint8
    to:      height and width of the frame
    corner:  column and row of the clip's upper left corner; None: the clip is in the middle
    returns  the frames, and (height, width) bool, True around the clip
    """
    height, width = clip.shape[1:3]
    left, top = corner or ((to[1] - width) // 2, (to[0] - height) // 2)
    if min(top, left) < 0 or top + height > to[0] or left + width > to[1] or (height, width) == to:
        raise UsageError(
            f"a clip of {width}x{height} at column {left}, row {top} does not lie inside {to[1]}x{to[0]}. "
            "Ask for a larger frame."
        )
    hole = torch.ones(to, dtype=torch.bool)
    hole[top : top + height, left : left + width] = False
    edges = 0, 0, left, to[1] - left - width, top, to[0] - top - height
    return derived(clip, to, lambda frames: F.pad(frames, edges)), hole


def inpainting(
    bundle: Bundle, clip: Frames, hole: Tensor, shape: Shape, prompt: Schedule, settings: Settings
) -> Sampling:
    """Sampling of a video that keeps every pixel of a clip but those of a hole.

    clip: (T, H, W, 3) uint8
    hole: (H, W) bool, True where it is generated
    """
    if hole.all():
        raise UsageError("the region is the whole frame: nothing would be kept. Use generate, or a smaller region.")
    if not hole.any():
        raise UsageError("the region is empty: nothing would be made. Name pixels that are to change.")
    size = shape.height, shape.width
    given = Condition(to_whole_latents(bundle, derived(clip, size, lambda frames: filled(frames, hole))), region=~hole)
    return Sampling(bundle, shape, prompt, settings, (given,))


def filled(clip: Tensor, hole: Tensor) -> Tensor:
    """Fill the hole from its surroundings, so that latents at its edge do not show its content."""

    def smoothed(x: Tensor, known: Tensor) -> Tensor:
        if known.all():
            return x
        weight = F.avg_pool2d(known, 2, ceil_mode=True)
        half = F.avg_pool2d(x * known, 2, ceil_mode=True) / weight.clamp(min=1e-6)
        below = smoothed(half, (weight > 0).float())
        return torch.where(known > 0, x, F.interpolate(below, x.shape[-2:]))

    x = smoothed(clip.permute(0, 3, 1, 2).float(), (~hole).float()[None, None])
    return x.permute(0, 2, 3, 1).round().to(torch.uint8)
