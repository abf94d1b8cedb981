"""`Codec`, the interface to a video autoencoder: frames to latents and back.

A video of 1 + s k frames, s the stride in time, has 1 + k latents: one for its first frame alone,
then one for each group of s frames. A cell of a latent covers a square of pixels.

Here: the strides, the protocol, functions on it. Not here: our own autoencoder (model.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from minisora.video import to_float, to_uint8


@dataclass(frozen=True)
class Strides:
    """Frames and pixels that a latent and its cells cover."""

    frames: int  # in a group: in every latent but the first, which is of one frame
    pixels: int  # on a side of a latent cell

    def num_latents(self, num_frames: int) -> int:
        """Number of latents that cover `num_frames`; the last may cover more."""
        return 1 + -(-(num_frames - 1) // self.frames)

    def num_frames(self, num_latents: int) -> int:
        """Number of frames in `num_latents` whole latents, the first of one frame."""
        return 1 + self.frames * (num_latents - 1)

    def latent_of(self, frame: int) -> int:
        """Index of the latent that covers a frame, both counted from 0."""
        return -(-frame // self.frames)

    def span(self, latent: int) -> range:
        """Frames that a latent covers, counted from 0."""
        last = self.frames * latent
        return range(max(0, last - self.frames + 1), last + 1)

    def missing(self, num_frames: int) -> int:
        """Number of frames missing to fill the last latent of `num_frames`."""
        return (1 - num_frames) % self.frames


class Codec(Protocol):
    """Clips to latents of about unit variance, and back."""

    @property
    def strides(self) -> Strides: ...

    @property
    def channels(self) -> int:
        """Cz, channels of a latent cell."""

    @property
    def groups_alone(self) -> bool:
        """True if a group's latent depends on that group's frames alone.

        False for causal autoencoders, whose latents depend on all frames before: a group out of a
        clip is then encoded after its own first frame, which is approximate.
        """

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the inputs of `encode` and `decode_next`."""

    def state_dict(self) -> dict[str, Any]:
        """All tensors that change the latents, by name."""

    @property
    def latent_mean(self) -> Tensor:
        """Mean that `encode` subtracts, (Cz,), on the codec's device."""

    @property
    def latent_std(self) -> Tensor:
        """Standard deviation that `encode` divides by, (Cz,)."""

    def encode(self, frames: Tensor, *, first_alone: bool = True) -> Tensor:
        """Frames to normalised latents.

        frames:      (B, T, H, W, 3) in -1..1; H and W multiples of strides.pixels
        first_alone: T = 1 + s k, the first frame a latent of its own; otherwise T = s k, groups
                     only
        returns      (B, 1 + k, Hz, Wz, Cz), or (B, k, Hz, Wz, Cz) without the first
        """

    def decode_next(self, z: Tensor, past: Any, *, first_alone: bool = True) -> tuple[Tensor, Any]:
        """Decode as a stream: the frames of the next latents, and the cache for those that follow.

        z:           (B, n, Hz, Wz, Cz)
        past:        cache that the call before returned; None for the first latents of a video
        first_alone: without a past, the first latent is of one frame
        """


def encode_latent(codec: Codec, frames: Tensor) -> Tensor:
    """Encode one frame, or one group out of a clip.

    frames:  (n, H, W, 3) in -1..1, n = 1 or strides.frames
    returns  (1, Hz, Wz, Cz) float32
    """
    alone = len(frames) == 1
    if alone or codec.groups_alone:
        return codec.encode(frames[None], first_alone=alone)[:, 0].float()
    return codec.encode(torch.cat([frames[:1], frames])[None])[:, 1].float()


@torch.no_grad()
def round_trip(
    codec: Codec, frames: Tensor, *, latent_noise: float = 0.0, generator: torch.Generator | None = None
) -> Tensor:
    """Encode and decode a clip.

    frames:       (T, H, W, 3) uint8, T = 1 + s k, sides multiples of the stride
    latent_noise: standard deviation of noise added to the latents, drawn on the CPU by `generator`
    returns       (T, H, W, 3) uint8 on the CPU
    """
    latents = codec.encode(to_float(frames[None]).to(codec.latent_mean.device, codec.dtype))
    if latent_noise:
        latents = latents + latent_noise * torch.randn(latents.shape, generator=generator).to(latents)
    return to_uint8(codec.decode_next(latents, None)[0][0].cpu())
