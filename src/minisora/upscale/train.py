"""Training data and loss of the upscaler: pairs of small decoded frames and large true ones.

The large frames of the playroom are rendered, not enlarged: its renderer is analytic. The small
ones go through the VAE with slightly noised latents, as the transformer's are inexact too. Small
frames of footage are the large ones reduced.

The loss is the mean absolute error of pixels, of their differences in space (sharp edges) and of
their differences in time (no flicker). No adversarial and no perceptual loss: unknown detail stays
smooth.

Here: batches as a function of the step, and the loss. Not here: the network (model.py), the run
(recipes/).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from minisora.upscale.model import Upscaler, bicubic
from minisora.vae.codec import Codec, round_trip
from minisora.video import Shape, resize, to_float
from minisora.worlds.seeds import UPSCALER

LATENTS = 3  # per call of the VAE: the first frame and two groups
# seed, fps, number of frames, range of the large ones, side of the small frames, factor
# -> (frames, side, side, 3) and (large frames, factor*side, factor*side, 3) uint8
Pairs = Callable[[int, float, int, range, int, int], tuple[Tensor, Tensor]]


def playroom_pairs(
    seed: int, fps: float, num_frames: int, large: range, side: int, factor: int
) -> tuple[Tensor, Tensor]:
    """Render a scene at both sizes, starting anywhere in its first two seconds."""
    from minisora.worlds import playroom

    scenes, start = [playroom.draw(seed)], random.Random(seed).uniform(0.0, 2.0)

    def drawn(size: int, frames: range) -> Tensor:
        return playroom.render(
            scenes, height=size, width=size, fps=fps, num_frames=len(frames), start=start + frames.start / fps
        ).frames[0]

    return drawn(side, range(num_frames)), drawn(factor * side, large)


def footage_pairs(
    seed: int, fps: float, num_frames: int, large: range, side: int, factor: int
) -> tuple[Tensor, Tensor]:
    """Freely licensed footage, reduced and at full size."""
    from minisora.worlds import footage

    shape = Shape(num_frames=num_frames, height=factor * side, width=factor * side, fps=fps)
    clip = next(footage.train_clips(shape, seed=seed))
    return resize(clip.frames, side, side), clip.frames[large.start : large.stop]


@dataclass(frozen=True, eq=False)
class PairBatch:
    """small: (B, T, H, W, 3) uint8; large: (B, T, factor*H, factor*W, 3) uint8"""

    small: Tensor
    large: Tensor
    flops: float

    @property
    def tokens(self) -> int:
        return self.large[..., 0].numel()

    def to(self, device: torch.device) -> PairBatch:
        return PairBatch(self.small.to(device), self.large.to(device), self.flops)


@dataclass(frozen=True, kw_only=True)
class PairBatches:
    """step -> batch of squares of `side` pixels: clips, or with probability `still` pictures.

    vae: encodes and decodes the small frames; None leaves them as they are
    """

    vae: Codec | None
    sources: Mapping[str, tuple[float, Pairs]] = field(  # name -> weight, source
        default_factory=lambda: {"playroom": (0.85, playroom_pairs), "footage": (0.15, footage_pairs)}
    )
    batch_size: int = 4
    num_frames: int = 5
    side: int = 64
    sides: Mapping[str, tuple[int, ...]] = field(  # of whole frames, before cropping
        default_factory=lambda: {"playroom": (64, 64, 96), "footage": (64,)}
    )
    rates: tuple[float, ...] = (8.0, 8.0, 16.0)  # frames per second
    still: float = 0.125
    latent_noise: float = 0.3  # largest standard deviation of noise on a clip's latents
    factor: int = 4
    flops_per_pixel: float = 0.0  # of a small frame
    seed: int = 0

    def __call__(self, step: int) -> PairBatch:
        small, large = zip(*(self._sample(step, place) for place in range(self.batch_size)), strict=True)
        pixels = self.batch_size * self.num_frames * self.side**2
        return PairBatch(torch.stack(small), torch.stack(large), self.flops_per_pixel * pixels)

    def _sample(self, step: int, place: int) -> tuple[Tensor, Tensor]:
        rng = random.Random(f"upscale/{self.seed}/{step}/{place}")
        (name,) = rng.choices(list(self.sources), [weight for weight, _ in self.sources.values()])
        whole, fps, still = rng.choice(self.sides[name]), rng.choice(self.rates), rng.random() < self.still
        most = self.num_frames if self.vae is None else self.vae.strides.num_frames(LATENTS)
        count = 1 if still else most
        seed = UPSCALER[step * self.batch_size + place]
        first = 0 if still else rng.randint(0, count - self.num_frames)
        chosen = range(first, min(count, first + self.num_frames))
        small, large = self.sources[name][1](seed, fps, count, chosen, whole, self.factor)
        if self.vae is not None:
            noise = torch.Generator().manual_seed(rng.randrange(2**31))
            loud = rng.uniform(0.0, self.latent_noise)
            small = round_trip(self.vae, small, latent_noise=loud, generator=noise)
        top, left = (rng.randint(0, whole - self.side) for _ in range(2))
        return self._cut(small[first : chosen.stop], top, left, 1), self._cut(large, top, left, self.factor)

    def _cut(self, frames: Tensor, top: int, left: int, scale: int) -> Tensor:
        rows, columns = (slice(scale * start, scale * (start + self.side)) for start in (top, left))
        return frames[:, rows, columns].expand(self.num_frames, -1, -1, -1)


@dataclass(frozen=True, kw_only=True)
class UpscaleLoss:
    """Weights of the terms, relative to the mean absolute error of pixels in -1..1."""

    edge: float = 1.0
    change: float = 0.5

    def __call__(self, upscaler: Upscaler, batch: PairBatch, noise: torch.Generator) -> dict[str, Tensor]:
        """Return scalars: `loss`, its terms for the log, and `gain` over bicubic, dB."""
        small, large = to_float(batch.small), to_float(batch.large)
        error = upscaler(small) - large
        plain = bicubic(small.flatten(0, 1), upscaler.factor).unflatten(0, (-1, small.shape[1])) - large
        gain = 10 * torch.log10(plain.square().mean() / error.detach().square().mean())
        pixel = error.abs().mean()
        edge = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        change = error.diff(dim=1).abs().mean()
        loss = pixel + self.edge * edge + self.change * change
        return {"loss": loss, "pixel": pixel, "edge": edge, "change": change, "gain": gain}
