"""Regions by box, mask or colour, or around a clip in a larger frame; inpainting them.

A region is one for all frames, or one for each.

Source: pull and push, Gortler et al. 1996, "The Lumigraph", section 3.5.

Here: regions as pixels, and the condition for inpainting. Not here: the verbs (edits.py), levels of
tokens that a region touches (canvas.py).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.bundle import Bundle
from minisora.errors import UsageError
from minisora.generate.canvas import Condition, Region, Shape, in_frames
from minisora.generate.fields import FieldError
from minisora.generate.fitting import Fitted
from minisora.generate.frames import Sampling, to_whole_latents
from minisora.generate.media import display_name
from minisora.generate.schedule import Schedule
from minisora.generate.window import Settings
from minisora.video import Video
from minisora.video.frames import Computed, Frames, derived, in_pieces, padded
from minisora.video.recording import Recording


def of_box(clip: Video | Recording, box: tuple[int, int, int, int]) -> Video:
    """Mask of a box: one frame, white inside.

    box: left, top, width, height in pixels of the clip
    """
    (left, top, across, down), (height, width) = box, (clip.height, clip.width)
    if not (left >= 0 and top >= 0 and across > 0 < down and left + across <= width and top + down <= height):
        raise FieldError(f"{{box}} {','.join(map(str, box))} does not lie inside the clip, {width}x{height}.")
    hole = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    hole[:, top : top + down, left : left + across] = 255
    return Video(hole, 1.0)


def check_mask(clip: Video | Recording, mask: Video | Recording) -> None:
    """Raise UsageError for a mask of another size, and for one over time of another length."""
    name = display_name(mask, "the mask")
    if (mask.height, mask.width) != (clip.height, clip.width):
        sizes = f"{mask.width}x{mask.height}, the clip {clip.width}x{clip.height}"
        raise UsageError(f"{name} is {sizes}. Make them equal.")
    if len(mask.read()[0]) > 1 and abs(mask.seconds - clip.seconds) > 0.5 / clip.fps:
        raise UsageError(
            f"{name} lasts {mask.seconds:.4g} s, the clip {clip.seconds:.4g} s. "
            "Give a mask as long as the clip, or of one frame for all of it."
        )


def of_colour(clip: Video | Recording, colour: tuple[int, int, int], like: int) -> Video:
    """Mask of a colour: one frame, white where any frame of the clip is near it.

    like: tolerance of each of red, green and blue
    """
    wanted = torch.tensor(colour)
    near = torch.zeros(clip.height, clip.width, dtype=torch.bool)
    for frame in (frame for piece in clip.pieces() for frame in piece):
        near |= (frame - wanted).abs().amax(-1) <= like
    if not near.any():
        rgb, name = ",".join(map(str, colour)), display_name(clip, "the clip")
        raise FieldError(f"{{colour}} {rgb}: no pixel of {name} is within {like} of it in red, green and blue.")
    return Video(255 * near[None, :, :, None].expand(-1, -1, -1, 3).to(torch.uint8), 1.0)


def hole_of(mask: Video | Recording, clip: Fitted) -> Region:
    """Pixels to regenerate, white in the mask, fitted as the clip is.

    returns  (H, W) bool of a mask of one frame, else (T, H, W) with T of the clip
    """
    frames, _ = mask.read(size=clip.size)
    if len(frames) == 1:
        return _white(frames[:])[0]
    frames, _ = mask.read(size=clip.size, fps=clip.fps)
    missing = max(0, len(clip.frames) - len(frames))  # less than a frame, by `check_mask`
    hole = Computed((len(clip.frames), *clip.size), lru_cache(1)(lambda a, b: _white(padded(frames, missing)[a:b])))
    return hole[:] if isinstance(frames, Tensor) else hole


def _white(frames: Tensor) -> Tensor:
    return frames.float().mean(-1) > 127.5


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
    bundle: Bundle, clip: Frames, hole: Region, shape: Shape, prompt: Schedule, settings: Settings
) -> Sampling:
    """Sampling of a video that keeps every pixel of a clip but those of a hole.

    clip: (T, H, W, 3) uint8
    hole: (H, W) bool, True where it is generated, or (T, H, W) of each frame
    """
    _check_hole(hole)
    kept: Region = derived(hole, (shape.height, shape.width), torch.logical_not)
    around: Frames = Computed(
        tuple(clip.shape), lambda first, stop: filled(clip[first:stop], in_frames(hole, first, stop))
    )
    whole = to_whole_latents(bundle, around[:] if isinstance(clip, Tensor) else around)
    if len(kept.shape) == 3:
        kept = padded(kept, len(whole) - len(clip))
    return Sampling(bundle, shape, prompt, settings, (Condition(whole, region=kept),))


def _check_hole(hole: Region) -> None:
    """Raise UsageError for a hole that is everything, or nothing, in all frames."""
    some = other = False
    for piece in in_pieces(hole):
        some, other = some or bool(piece.any()), other or not bool(piece.all())
        if some and other:
            return
    if some:
        raise UsageError("the region is the whole frame: nothing would be kept. Use generate, or a smaller region.")
    raise UsageError("the region is empty: nothing would be made. Name pixels that are to change.")


def filled(clip: Tensor, hole: Tensor) -> Tensor:
    """Fill the hole from its surroundings, so that latents at its edge do not show its content.

    hole: (H, W) bool, or (n, H, W); a frame without surroundings gets black
    """

    def smoothed(x: Tensor, known: Tensor) -> Tensor:
        if known.all() or x.shape[-2:] == (1, 1):
            return x
        weight = F.avg_pool2d(known, 2, ceil_mode=True)
        half = F.avg_pool2d(x * known, 2, ceil_mode=True) / weight.clamp(min=1e-6)
        below = smoothed(half, (weight > 0).float())
        return torch.where(known > 0, x, F.interpolate(below, x.shape[-2:]))

    x = smoothed(clip.permute(0, 3, 1, 2).float(), (~hole).float().view(-1, 1, *hole.shape[-2:]))
    return x.permute(0, 2, 3, 1).round().to(torch.uint8)
