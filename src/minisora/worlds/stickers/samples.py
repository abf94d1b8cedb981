"""Stagings as `Clip`s: frames, captions for the stretches that training cuts, and ground truth.

Here: `clip`.
Not here: drawing, rendering and captioning a staging (staging.py, drawing.py, wording.py).
"""

from __future__ import annotations

from minisora.video import Shape
from minisora.worlds.clip import Caption, Clip
from minisora.worlds.stickers.drawing import render
from minisora.worlds.stickers.staging import Staging, draw, facts
from minisora.worlds.stickers.wording import captions

_STRETCHES = ((0.0, 2.0), (0.0, 4.0), (2.0, 4.0), (0.0, 0.0), (2.0, 2.0))  # seconds


def clip(seed: int, shape: Shape, *, split: str = "train", phrasing: str = "train") -> Clip:
    """The clip of a seed; the scene does not depend on size and length.

    split:    of the content (`draw`), "train" or "held_out"
    phrasing: of the captions (`captions`), "train" or "held_out"

    The captions are of the stretches and moments that lie within the clip, or of the whole clip if
    none does. Raises UsageError when the stickers are not in the cache.
    """
    staging = draw(seed, split=split)
    frames = render([staging], **vars(shape))[0]
    return Clip(
        key=f"stickers-{split}-{seed}",
        frames=frames,
        fps=shape.fps,
        captions=tuple(_within(staging, seed, shape.seconds, phrasing)),
        truth=facts(staging),
    )


def _within(staging: Staging, seed: int, seconds: float, phrasing: str) -> list[Caption]:
    stretches = [each for each in _STRETCHES if each[1] <= seconds + 1e-6]
    if not any(stop > start for start, stop in stretches) and seconds > 0:
        stretches.insert(0, (0.0, seconds))
    return [
        each
        for start, stop in stretches
        for each in captions(staging, seed=seed, start=start, stop=stop, phrasing=phrasing)
    ]
