"""Delivery: videos are generated at the model's own size, and enlarged to the requested size.

With an upscaler in the bundle a `Shape` is the delivered one. Conditions are fitted to the
delivered size from the user's own file, reduced from there for the network, and restored exactly
over the enlarged frames.

Here: the size of generation, conditions at that size, frames at the delivered size, the choice of
the upscaler. Not here: the upscaler's network (upscale/), restoring exact frames (restore.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minisora.bundle import Bundle, Enlarges
from minisora.generate.canvas import Condition, Shape, check_fits
from minisora.generate.restore import hold_exactly
from minisora.progress import Watch
from minisora.upscale.files import ABOUT, EMBEDDED, load_upscaler, upscaler_folder
from minisora.video import resize
from minisora.video.frames import derived

# the largest training frames of the recipes, for a model of 64x64: 96x96, 112x64 and 64x112
MOST_AREA = 2.25  # times the model's own area
MOST_SIDE = 1.75  # times the side of a square of that area
NEAR = 0.05  # relative difference of a side that makes no difference to the network


@dataclass(frozen=True)
class Resampling:
    """Bicubic enlargement, for a bundle without an upscaler."""

    factor: int = 4

    def stream(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """(n, H, W, 3) uint8 -> (n, factor*H, factor*W, 3) uint8"""
        for piece in pieces:
            yield resize(piece, self.factor * piece.shape[1], self.factor * piece.shape[2])


def with_upscaler(bundle: Bundle, name: str | None) -> Bundle:
    """Add an upscaler to a bundle.

    name: an upscaler, see `upscaler_folder`; None for the bundle's own, or plain resampling if it
          has none; "none" to deliver at the size of generation

    Raises UsageError for an unknown name, WeightsError for damaged files.
    """
    device, dtype = bundle.vae.latent_mean.device, bundle.vae.dtype
    upscaler = upscaler_for(bundle.trained, name, device=device, dtype=dtype)
    return replace(bundle, upscaler=upscaler, upscale=name)


def upscaler_for(
    trained: Mapping[str, Any], name: str | None = None, *, device: torch.device | str = "cpu", dtype: torch.dtype
) -> Enlarges | None:
    """Load the upscaler of a bundle; None if it delivers at the size of generation.

    trained: of the bundle; for name and errors see `with_upscaler`
    """
    own = trained.get("upscaler")
    if name is None and own is None and (EMBEDDED / ABOUT).exists():
        return Resampling()
    name = name or own or "none"
    return None if name == "none" else load_upscaler(upscaler_folder(name), device=device, dtype=dtype)


def notes_on_upscaling(bundle: Bundle) -> list[str]:
    """Notes for the user on enlargement; empty with an upscaler, or without enlargement."""
    plain = isinstance(bundle.upscaler, Resampling)
    return [f"{bundle.name} has no upscaler: what it makes is enlarged by plain resampling"] if plain else []


def own_size(bundle: Bundle) -> tuple[int, int]:
    """Height and width that the bundle delivers by default."""
    height, width = bundle.sampling.size
    factor = bundle.upscaler.factor if bundle.upscaler else 1
    return factor * height, factor * width


def side_seen(bundle: Bundle) -> int:
    """Longest side of a frame, in pixels, that the network sees at once."""
    return bundle.sampling.tile * bundle.token_size[0]


def working(bundle: Bundle, shape: Shape) -> Shape:
    """Shape of generation for a delivered shape, at its aspect.

    Usually the delivered size over the upscaler's factor, so that nothing is resampled twice, if
    the weights were trained on frames so large: from the model's own area to MOST_AREA and
    MOST_SIDE, and no larger than the network sees at once. Smaller deliveries are generated at the
    model's own area; larger ones at the largest of these sizes and enlarged further, without tiles.
    """
    if bundle.upscaler is None:
        return shape
    own, longer = math.prod(bundle.sampling.size), max(shape.height, shape.width)
    least = math.sqrt(own / (shape.height * shape.width))
    seen = side_seen(bundle) / longer
    most = max(least, min(math.sqrt(MOST_AREA) * least, MOST_SIDE * math.sqrt(own) / longer, seen))
    exact = 1 / bundle.upscaler.factor
    scale = min(max(exact, least), most)
    if abs(scale / exact - 1) <= NEAR and exact <= seen:
        scale = exact
    height, width = (max(1, round(scale * side)) for side in (shape.height, shape.width))
    return replace(shape, height=height, width=width)


def reduced(bundle: Bundle, conditions: Sequence[Condition], shape: Shape) -> list[Condition]:
    """Conditions reduced from the delivered size to the size of generation.

    A pixel of a reduced region is True if all pixels that it covers are.

    Raises UsageError for a condition that does not fit the delivered shape.
    """
    made = working(bundle, shape)
    if made == shape:
        return list(conditions)
    small, size = [], (made.height, made.width)

    def covered(region: Tensor) -> Tensor:  # cubic filters overshoot at edges, and reach beyond them
        return resize(region[..., None].float(), *size)[..., 0] > 0.999

    for condition in conditions:
        check_fits(condition, shape)
        region = None if condition.region is None else derived(condition.region, size, covered)
        if not isinstance(region, Tensor) or region.any():
            media = derived(condition.media, size, partial(resize, height=made.height, width=made.width))
            small.append(replace(condition, media=media, region=region))
    return small


def delivered(
    bundle: Bundle, pieces: Iterable[Tensor], shape: Shape, watch: Watch, conditions: Sequence[Condition] = ()
) -> Iterator[Tensor]:
    """Generated frames at the delivered shape, with conditioning frames restored exactly.

    pieces: (n, H, W, 3) uint8, of the size of `working`
    """
    if bundle.upscaler is None or working(bundle, shape) == shape:
        yield from hold_exactly(pieces, conditions)
        return
    enlarged = (resize(piece, shape.height, shape.width) for piece in bundle.upscaler.stream(pieces))
    finished = hold_exactly(enlarged, conditions)
    while True:
        with watch.timed("upscale"):
            frames = next(finished, None)
        if frames is None:
            return
        yield frames


def delivery_bytes(bundle: Bundle, shape: Shape) -> int:
    """Approximate memory of delivery in bytes: a few enlarged frames in float32."""
    if bundle.upscaler is None:
        return 0
    made = working(bundle, shape)
    pixels = bundle.upscaler.factor**2 * made.height * made.width + shape.height * shape.width
    return 4 * 3 * 4 * 4 * pixels
