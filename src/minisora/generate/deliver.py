"""Delivery: videos are made at the model's own size, and come out at the size that was asked for.

With an upscaler in the bundle a `Shape` is the delivered one. What is given is fitted to the delivered size from the
user's own file, reduced from there for the network to see, and put back over the enlarged frames, exactly.

Here: the size a video is made at, what is given at that size, made frames at the delivered size, which upscaler.
Not here: the upscaler's network (upscale/), given frames over made ones (restore.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from minisora.bundle import Bundle
from minisora.generate.canvas import Condition, Shape, check_fits
from minisora.generate.restore import hold_exactly
from minisora.progress import Watch
from minisora.upscale.files import ABOUT, EMBEDDED, load_upscaler, upscaler_folder
from minisora.video import resize

# the largest frames that the recipes train on where the model's own are 64x64: 96x96, 112x64 and 64x112
MOST_AREA = 2.25  # times the own area
MOST_SIDE = 1.75  # times the side of a square of the own area
NEAR = 0.05  # a side that is longer or shorter by so much makes no difference to the network


@dataclass(frozen=True)
class Resampling:
    """Plain bicubic enlargement in the place of an upscaler, where a bundle has none."""

    factor: int = 4

    def stream(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """(n, H, W, 3) uint8 -> (n, factor*H, factor*W, 3) uint8"""
        for piece in pieces:
            yield resize(piece, self.factor * piece.shape[1], self.factor * piece.shape[2])


def with_upscaler(bundle: Bundle, name: str | None) -> Bundle:
    """The bundle, delivering larger than it makes.

    name: an upscaler, see `upscaler_folder`; None for the bundle's own, or plain resampling where it has none; "none"
          to deliver at the size it makes

    Raises UsageError for a name that means nothing, WeightsError for damaged files.
    """
    own, bundle = bundle.trained.get("upscaler"), replace(bundle, upscaler=None, upscale=name)
    if name is None and own is None and (EMBEDDED / ABOUT).exists():
        return replace(bundle, upscaler=Resampling())
    name = name or own or "none"
    if name == "none":
        return bundle
    device, dtype = bundle.vae.latent_mean.device, bundle.vae.dtype
    upscaler = load_upscaler(upscaler_folder(name), device=device, dtype=dtype)
    return replace(bundle, upscaler=upscaler)


def notes_on_upscaling(bundle: Bundle) -> list[str]:
    """What a user should know of how frames are enlarged; empty where an upscaler does it, or nothing does."""
    plain = isinstance(bundle.upscaler, Resampling)
    return [f"{bundle.name} has no upscaler: what it makes is enlarged by plain resampling"] if plain else []


def own_size(bundle: Bundle) -> tuple[int, int]:
    """Height and width of what the bundle delivers if nothing else is asked for."""
    height, width = bundle.sampling.size
    factor = bundle.upscaler.factor if bundle.upscaler else 1
    return factor * height, factor * width


def side_seen(bundle: Bundle) -> int:
    """Pixels of a frame's longer side that the network sees at once."""
    return bundle.sampling.tile * bundle.token_size[0]


def working(bundle: Bundle, shape: Shape) -> Shape:
    """The shape that is made for a delivered one, at its aspect.

    It is the delivered size over the upscaler's factor, so that nothing is resampled twice, where the weights know
    frames so large: from the model's own area to MOST_AREA and MOST_SIDE, and no larger than the network sees at once.
    What is delivered smaller is made at the own area, and what is larger at the most of these and enlarged further: a
    larger frame is never made smaller than a small one, and parts that know nothing of each other are not needed. More
    tokens take as much longer.
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
    """What is given, from the delivered size to the one it is made at; a pixel holds where all that it covers does.

    Raises UsageError where one does not fit the delivered shape.
    """
    made = working(bundle, shape)
    if made == shape:
        return list(conditions)
    small = []
    for condition in conditions:
        check_fits(condition, shape)
        region = condition.region
        if region is not None:
            covered = resize(region[None, :, :, None].float(), made.height, made.width)
            region = covered[0, :, :, 0] > 0.999  # cubic filters overshoot at edges, and reach beyond them
        if region is None or region.any():
            small.append(replace(condition, media=resize(condition.media, made.height, made.width), region=region))
    return small


def delivered(
    bundle: Bundle, pieces: Iterable[Tensor], shape: Shape, watch: Watch, conditions: Sequence[Condition] = ()
) -> Iterator[Tensor]:
    """Frames as they were made to frames of the delivered shape, given ones exactly.

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
    """About how much memory delivery takes beside the frames: a few of them enlarged, in float32."""
    if bundle.upscaler is None:
        return 0
    made = working(bundle, shape)
    pixels = bundle.upscaler.factor**2 * made.height * made.width + shape.height * shape.width
    return 4 * 3 * 4 * 4 * pixels
