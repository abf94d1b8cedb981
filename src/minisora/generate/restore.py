"""Exact conditioning frames after decoding, and blending the generated frames next to them.

The VAE loses the same detail in neighbouring frames, so an exact frame next to a decoded one would
flicker. The detail lost in the nearest conditioning frames is therefore added to the generated
ones, fading with each frame of distance, and only where a generated frame shows the same as the
decoded conditioning frame: elsewhere the edge of an object that moved on would leave a ghost.
Detail lost around a generated region is added inside it, fading with each pixel from its edge.

Here: pixels after decoding. Not here: conditioning in latents (canvas.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.generate.canvas import Condition

FADE = 4  # frames on each side of exact ones
EDGE = 4  # pixels inside a generated region; farther in, detail from outside no longer applies
MOST_LOST = 16.0  # of 255, mean: a larger difference is not loss of the VAE but another picture
MOST_APART = 16.0  # of 255, mean of the colours: pixels that differ more show another object


@dataclass(frozen=True, eq=False)
class Lost:
    """A conditioning frame as decoded, (H, W, 3) uint8, and the detail it lost, int16."""

    decoded: Tensor
    detail: Tensor

    def share(self, frame: Tensor) -> Tensor:
        """Weight of the detail in another frame: (H, W, 1), 1 where both show the same, to 0."""
        apart = (frame.float() - self.decoded.float()).abs().mean(-1, keepdim=True)
        return (1 - apart / MOST_APART).clamp(min=0)


def hold_exactly(pieces: Iterable[Tensor], conditions: Sequence[Condition]) -> Iterator[Tensor]:
    """Restore conditioning frames in decoded pieces; FADE frames or more wait for the next.

    pieces: (n, H, W, 3) uint8
    """
    held = [condition for condition in conditions if condition.noise == 0]
    whole = [condition for condition in held if condition.region is None]
    lost: dict[int, Lost] = {}  # by frame
    waiting: Tensor | None = None
    start = 0
    for piece in _joined(pieces):
        if waiting is not None:
            first = start + len(waiting)
            lost.update(_lost(piece, first, whole))
            yield _finished(waiting, start, held, lost)
            start = first
            lost = {frame: what for frame, what in lost.items() if frame >= start - FADE}
        else:
            lost.update(_lost(piece, start, whole))
        waiting = piece
    if waiting is not None:
        yield _finished(waiting, start, held, lost)


def _joined(pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """Join pieces so that all but the last have FADE frames or more."""
    held: list[Tensor] = []
    for piece in pieces:
        held.append(piece)
        if sum(map(len, held)) >= FADE:
            yield torch.cat(held)
            held = []
    if held:
        yield torch.cat(held)


def _lost(frames: Tensor, start: int, conditions: Sequence[Condition]) -> dict[int, Lost]:
    lost = dict[int, Lost]()
    for condition in conditions:
        for frame in range(max(condition.at, start), min(condition.end, start + len(frames))):
            decoded = frames[frame - start]
            detail = condition.media[frame - condition.at : frame - condition.at + 1][0].short() - decoded.short()
            if detail.abs().float().mean() <= MOST_LOST:
                lost[frame] = Lost(decoded, detail)
    return lost


def _finished(frames: Tensor, start: int, held: Sequence[Condition], lost: dict[int, Lost]) -> Tensor:
    result = frames.clone()
    for n in range(len(frames)):
        here = start + n
        near = [] if here in lost else _neighbours(here, lost)
        if near:
            weights = [(1 - abs(at - here) / (FADE + 1)) * lost[at].share(frames[n]) for at in near]
            scale = torch.stack(weights).sum(0).clamp(min=1)  # between two exact frames, their mean
            added = sum(weight / scale * lost[at].detail for at, weight in zip(near, weights, strict=True))
            result[n] = (frames[n] + added).round().clamp(0, 255).to(torch.uint8)
    for condition in held:
        first, end = max(condition.at, start), min(condition.end, start + len(frames))
        if first < end:
            span = result[first - start : end - start]
            media = condition.media[first - condition.at : end - condition.at]
            region = condition.holds(first, end)
            span.copy_(media if region is None else _around(span, media, region))
    return result


def _around(frames: Tensor, media: Tensor, region: Tensor) -> Tensor:
    """Exact pixels inside the region; outside, generated ones blended towards them at its edge.

    region: (n, H, W) bool, or (1, H, W) for all frames
    """
    holds = region.float()[:, None]
    lost = (media.float() - frames.float()).permute(0, 3, 1, 2) * holds
    lost *= lost.abs().sum((1, 2, 3), keepdim=True) <= MOST_LOST * lost.shape[1] * holds.sum((1, 2, 3), keepdim=True)

    def mean_near(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2 * EDGE + 1, 1, EDGE, count_include_pad=False)

    near = mean_near(holds)  # a half at a straight edge
    added = mean_near(lost) / near.clamp(min=1e-6) * (2 * near).clamp(max=1)
    met = (frames.float() + added.permute(0, 2, 3, 1)).round().clamp(0, 255).to(torch.uint8)
    return torch.where(region[..., None], media, met)


def _neighbours(here: int, lost: dict[int, Lost]) -> list[int]:
    """Nearest frames of `lost` before and after, no more than FADE away."""
    before = max((frame for frame in lost if here - FADE <= frame < here), default=None)
    after = min((frame for frame in lost if here < frame <= here + FADE), default=None)
    return [frame for frame in (before, after) if frame is not None]
