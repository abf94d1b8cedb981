"""Clips of one size and length for a known model: their tokens and their storage.

Here: the clips, and checking that the model supports them. Not here: the models (known.py),
planning (estimate.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from minisora.errors import UsageError
from minisora.runs.known import Known
from minisora.runs.layouts import HALF
from minisora.train.latents import INSIDE

BITS_PER_PIXEL = 0.1  # of h264 as it is found on the web, 1.2 Mbit/s at 832x480 and 30 frames a second


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Clips that `model` supports, as checked by `clips_of`. size: (height, width), pixels"""

    model: Known
    size: tuple[int, int]
    num_frames: int
    fps: float

    @property
    def grid(self) -> tuple[int, int, int]:
        """Latent cells of a clip: frames, rows, columns."""
        strides, (height, width) = self.model.strides, self.size
        return strides.num_latents(self.num_frames), height // strides.pixels, width // strides.pixels

    @property
    def tokens(self) -> int:
        (latents, rows, columns), (pt, ph, pw) = self.grid, self.model.config.patch
        return -(-latents // pt) * (rows // ph) * (columns // pw)

    def storage(self) -> dict[str, float]:
        """Bytes of one clip in each stored form."""
        (latents, rows, columns), (height, width) = self.grid, self.size
        cells = (2 * latents + INSIDE) * rows * columns  # singles too, see train/latents.py
        words, config = self.model.text_tokens, self.model.config
        video = BITS_PER_PIXEL / 8 * self.num_frames * height * width
        return {
            "latents in float16, single frames too": float(HALF * cells * config.latent_channels),
            f"text states in float16, {words} tokens": float(HALF * words * config.text_width),
            f"clips in h264 at {BITS_PER_PIXEL:g} bits a pixel": video,
        }

    def __str__(self) -> str:
        height, width = self.size
        return f"{width}x{height}, {self.num_frames} frames at {self.fps:g} a second"


def clips_of(
    model: Known, *, size: tuple[int, int] | None = None, seconds: float | None = None, fps: float | None = None
) -> Clips:
    """Clips of a size (height, width), length and fps; by default the model's own.

    Raises UsageError for a size or length that the model does not support.
    """
    height, width = model.size if size is None else size
    for side, cells, name in zip((height, width), model.config.patch[1:], ("height", "width"), strict=True):
        if side % (unit := model.strides.pixels * cells):
            down = max(unit, side // unit * unit)
            raise UsageError(
                f"{model.name} has no {name} of {side}: use a multiple of {unit}, {down} or {down + unit}."
            )
    fps = model.fps if fps is None else fps
    frames = (model.seconds if seconds is None else seconds) * fps
    group = model.strides.frames
    if abs(frames - round(frames)) > 1e-6 or round(frames) % group:
        down = max(group, int(frames // group) * group)
        raise UsageError(
            f"{frames / fps:g} s at {fps:g} frames a second are not whole groups of {group} frames: "
            f"use {down / fps:g} or {(down + group) / fps:g} s."
        )
    return Clips(model=model, size=(height, width), num_frames=1 + round(frames), fps=fps)
