"""Conditions to a canvas: the known latents, and the level of every token.

A canvas is one video as the network sees it: tokens in time, row and column, each with a level c in
0..1, its share of the sampler's time t (diffusion/denoiser.py). Level 0: conditioning, kept as it
is. Level 1: generated from noise. Between: starts from the known latent, noised in part (SDEdit).
Every verb is such a pattern; nothing here depends on the verb.

Conditioning frames that fill a whole group are held as that group's latent. Frames of a group
filled only in part are extra frames: one-frame latents next to the grid, each at its own time, so
that the network sees them too. Clean conditions may overlap noised ones: the frames between the
clean ones then start from the noised ones.

Here: the pattern. Not here: sampling (window.py), restoring exact frames after decoding
(restore.py), the rule of levels (diffusion/denoiser.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.bundle import Bundle
from minisora.data.patch import grid_positions, patchify, unpatchify
from minisora.errors import UsageError
from minisora.vae.codec import Codec, Strides, encode_latent
from minisora.video import Shape as Shape
from minisora.video import to_float
from minisora.video.frames import Frames

Region = Tensor | Frames  # (H, W) bool, or (T, H, W), in memory or read when sliced


@dataclass(frozen=True, eq=False)
class Condition:
    """Frames that the video keeps, or starts from.

    media:   (T, H, W, 3) uint8, of the video's size, in memory or read when sliced
    at:      output frame at which they begin
    noise:   level of their tokens: 0 keeps them exactly, 1 frees them; between, they are noised in
             part (SDEdit)
    region:  (H, W) bool, True where the condition applies, or (T, H, W) of each frame; None:
             everywhere. A token that lies partly outside in any of its frames is free
    """

    media: Frames
    at: int = 0
    noise: float = 0.0
    region: Region | None = None

    def __post_init__(self) -> None:
        if not len(self.media):
            raise UsageError("a condition of no frames holds nothing. Leave it out.")
        if not 0 <= self.noise <= 1:
            raise UsageError(f"a condition's noise is between 0 (kept) and 1 (free), not {self.noise:g}.")
        if self.region is None:
            return
        (rows, columns), (height, width) = self.region.shape[-2:], self.media.shape[1:3]
        if (rows, columns) != (height, width):
            raise UsageError(
                f"a region of {columns}x{rows} does not fit media of {width}x{height}. Resize one of them."
            )
        if len(self.region.shape) == 3 and len(self.region) != len(self.media):
            raise UsageError(f"a region of {len(self.region)} frames does not fit media of {len(self.media)}.")
        if isinstance(self.region, Tensor) and not self.region.any():
            raise UsageError("the region of a condition is empty: it holds nothing. Leave the condition out.")

    @property
    def end(self) -> int:
        return self.at + len(self.media)

    def holds(self, first: int, stop: int) -> Tensor | None:
        """Pixels that it holds in output frames first..stop, as `in_frames`; None: all."""
        return None if self.region is None else in_frames(self.region, first - self.at, stop - self.at)


def in_frames(region: Region, first: int, stop: int) -> Tensor:
    """Region in frames first..stop: (n, H, W) bool; (1, H, W) if it is one for all frames."""
    return region[first:stop] if len(region.shape) == 3 else region[None]  # type: ignore[index]  # it is a tensor


@dataclass(frozen=True, eq=False)
class Canvas:
    """One video to generate: L tokens, first those of the grid, then those of the extra frames."""

    shape: Shape
    grid: tuple[int, int, int]
    patch: tuple[int, int, int]
    known: Tensor  # (1, L, Ct), or (B, L, Ct) of B videos in one pack; zeros where nothing is known
    levels: Tensor  # (L,) c of each token
    positions: Tensor  # (L, 3) time, row, column in the units of RoPE
    single: Tensor  # (L,) bool: the token covers one frame, not a group
    conditions: tuple[Condition, ...]

    def latents(self, tokens: Tensor) -> Tensor:
        """Unpatchify the grid, without extra frames: (B, L, Ct) -> (B, Tz, Hz, Wz, Cz)"""
        t, h, w = self.grid
        return unpatchify(tokens[:, : t * h * w], self.patch, self.grid)

    def held(self) -> list[bool]:
        """For each latent of the grid, True if all its tokens are at level 0."""
        return (self._by_latent(self.levels) == 0).flatten(1).all(1).tolist()

    def beginning_with(self, latent: Tensor) -> Canvas:
        """Copy with the first latent as conditioning. latent: (B, 1, Hz, Wz, Cz)"""
        tokens = patchify(latent, self.patch)
        known, levels = self.known.repeat(len(tokens), 1, 1), self.levels.clone()
        known[:, : tokens.shape[1]], levels[: tokens.shape[1]] = tokens, 0.0
        return replace(self, known=known, levels=levels)

    def window(self, first: int, stop: int, tokens: Tensor, done: Sequence[bool]) -> Canvas:
        """Latents first..stop as a canvas of its own, with time counted from its first latent.

        tokens: (1, L, Ct) known or generated so far
        done:   for each latent of the grid, True to hold it as `tokens` has it
        """
        t, rows, columns = self.grid
        cells = rows * columns
        begin = float(self.positions[first * cells, 0])
        end = float(self.positions[stop * cells - 1, 0])
        here = torch.zeros(len(self.levels), dtype=torch.bool, device=self.levels.device)
        here[first * cells : stop * cells] = True
        extra_frames = self.positions[t * cells :, 0]
        here[t * cells :] = (extra_frames >= begin) & (extra_frames <= end)
        levels = self.levels.clone()
        levels[: t * cells] *= ~_each_token(list(done), cells).to(levels.device)
        return replace(
            self,
            grid=(stop - first, rows, columns),
            known=tokens[:, here],
            levels=levels[here],
            positions=self.positions[here] - torch.tensor([begin, 0.0, 0.0], device=self.positions.device),
            single=self.single[here],
        )

    def _by_latent(self, values: Tensor) -> Tensor:
        """Values of the grid, without the extra frames: (L,) -> (Tz, rows, columns)"""
        t, h, w = self.grid
        grid: Tensor = values[: t * h * w].unflatten(0, self.grid)
        return grid


@torch.no_grad()
def build(bundle: Bundle, shape: Shape, conditions: Sequence[Condition] = ()) -> Canvas:
    """Encode the conditions and set the levels.

    shape: of the video; it is generated on the next larger grid of tokens, and cropped

    Raises UsageError for a condition of another size than the video, one that ends after it, and
    two that overlap. A clean condition may overlap a noised one: the clean one is kept.
    """
    for condition in conditions:
        check_fits(condition, shape)
    clean, noised = ([c for c in conditions if (c.noise > 0) == in_part] for in_part in (False, True))
    check_apart(clean)
    check_apart(noised)
    patch, codec, strides = bundle.dit.config.patch, bundle.vae, bundle.vae.strides
    grid = t, rows, columns = _grid(bundle, shape)
    device = codec.latent_mean.device
    group_seconds = strides.frames / shape.fps
    known = torch.zeros(1, t, rows * patch[1], columns * patch[2], codec.channels, device=device)
    levels = torch.ones(t, rows, columns, device=device)
    extra_frames: list[tuple[Tensor, Tensor, float]] = []  # latent, levels, seconds
    for condition in (*noised, *clean):

        def level_of(first: int, stop: int, condition: Condition = condition) -> Tensor:
            return _levels(condition, first, stop, (rows, columns), bundle.token_size).to(device)

        def cells_of(first: int, stop: int, condition: Condition = condition) -> Tensor:
            """Frames of the output, first..stop, padded to whole tokens."""
            media = condition.media[first - condition.at : stop - condition.at]
            return _on_grid(media, rows * bundle.token_size[0], columns * bundle.token_size[1]).to(device)

        filled, left = _latents_of(condition, strides)
        for latent in filled:
            span = strides.span(latent)
            frames, level = cells_of(span.start, span.stop), level_of(span.start, span.stop)
            holds = level <= levels[latent]
            cells = holds.repeat_interleave(patch[1], 0).repeat_interleave(patch[2], 1)
            known[:, latent] = torch.where(cells[..., None], _encode(codec, frames), known[:, latent])
            levels[latent] = torch.where(holds, level, levels[latent])
        if condition.noise < 1:
            for frame in left:
                z = _encode(codec, cells_of(frame, frame + 1))
                extra_frames.append((z, level_of(frame, frame + 1), frame / shape.fps))
    time_rate = bundle.sampling.time_rate
    blocks = [known, *(z[:, None] for z, _, _ in extra_frames)]
    moments = torch.tensor([n * group_seconds for n in range(t)] + [seconds for _, _, seconds in extra_frames])
    return Canvas(
        shape=shape,
        grid=grid,
        patch=patch,
        known=patchify(torch.cat(blocks, 1), patch),
        levels=torch.cat([levels, *(level[None] for _, level, _ in extra_frames)]).flatten(),
        positions=grid_positions(moments * time_rate, rows, columns).to(device),
        single=_each_token([True] + [False] * (t - 1) + [True] * len(extra_frames), rows * columns).to(device),
        conditions=tuple(conditions),
    )


def _grid(bundle: Bundle, shape: Shape) -> tuple[int, int, int]:
    """Numbers of tokens along time, rows and columns that cover the shape."""
    height, width = bundle.token_size
    return bundle.vae.strides.num_latents(shape.num_frames), -(-shape.height // height), -(-shape.width // width)


def check_fits(condition: Condition, shape: Shape) -> None:
    if tuple(condition.media.shape[1:3]) != (shape.height, shape.width):
        height, width = condition.media.shape[1:3]
        raise UsageError(
            f"a condition of {width}x{height} pixels does not fit a video of {shape.width}x{shape.height}. "
            f"Resize one of them."
        )
    if len(condition.media) > shape.num_frames:
        raise UsageError(
            f"a clip of {len(condition.media)} frames does not fit a video of {shape.num_frames}. "
            f"Ask for {len(condition.media)} frames, or cut the clip."
        )
    if condition.at < 0 or condition.end > shape.num_frames:
        raise UsageError(
            f"a clip of {len(condition.media)} frames placed at frame {condition.at} ends at {condition.end}, "
            f"but the video has {shape.num_frames}. Place it between 0 and "
            f"{shape.num_frames - len(condition.media)}, or ask for {condition.end} frames."
        )


def check_apart(conditions: Sequence[Condition]) -> None:
    ordered = sorted(conditions, key=lambda condition: condition.at)
    for one, other in pairwise(ordered):
        if one.end > other.at:
            raise UsageError(
                f"two conditions overlap: one ends at frame {one.end}, the next begins at {other.at}. "
                f"Place the second at {one.end} or later."
            )


def _latents_of(condition: Condition, strides: Strides) -> tuple[list[int], list[int]]:
    """Latents that the condition fills whole, and its frames that are in no such latent."""
    frames = range(condition.at, condition.end)
    spans = {n: strides.span(n) for n in sorted({strides.latent_of(frame) for frame in frames})}
    filled = [n for n, span in spans.items() if span.start >= condition.at and span.stop <= condition.end]
    return filled, [frame for frame in frames if strides.latent_of(frame) not in filled]


def _levels(condition: Condition, first: int, stop: int, grid: tuple[int, int], cell: tuple[int, int]) -> Tensor:
    """Level of each token of one latent: `noise` if the region covers it in all frames, else 1.

    first, stop: output frames of the latent
    grid:        rows and columns of tokens, the shape of the result
    cell:        height and width of a token in pixels
    """
    region = condition.holds(first, stop)
    if region is None:
        return torch.full(grid, condition.noise)
    holds = _on_grid(region[..., None], grid[0] * cell[0], grid[1] * cell[1])[..., 0]
    whole = F.max_pool2d(1 - holds.float(), cell).amax(0) == 0
    return torch.where(whole, condition.noise, 1.0)


def _on_grid(media: Tensor, height: int, width: int) -> Tensor:
    """Pad (T, H, W, C) to a size by repeating the last row and column."""
    rows = torch.arange(height).clamp(max=media.shape[1] - 1)
    columns = torch.arange(width).clamp(max=media.shape[2] - 1)
    return media[:, rows][:, :, columns]


def _encode(codec: Codec, frames: Tensor) -> Tensor:
    """Encode one frame or one group: (n, H, W, 3) uint8 -> (1, Hz, Wz, Cz)"""
    return encode_latent(codec, to_float(frames).to(codec.dtype))


def _each_token(flags: list[bool], tokens: int) -> Tensor:
    return torch.tensor(flags).repeat_interleave(tokens)
