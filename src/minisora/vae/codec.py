"""The seam between frames and latents: what the rest of the project asks of an autoencoder of video.

A video of 1 + s k frames, s the stride in time, is 1 + k latents: its first frame alone, then a group of s frames each.
A cell of a latent covers a square of pixels.

Here: the strides, the protocol, what is done through it alone. Not here: our own autoencoder (model.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from minisora.video import to_float, to_uint8


@dataclass(frozen=True)
class Strides:
    """How latents lie over a video."""

    frames: int  # in a group: in every latent but the first, which is of one frame
    pixels: int  # on a side of a latent cell

    def num_latents(self, num_frames: int) -> int:
        """Latents that cover so many frames; the last may cover more."""
        return 1 + -(-(num_frames - 1) // self.frames)

    def num_frames(self, num_latents: int) -> int:
        """Frames of so many whole latents, the first of them of one frame."""
        return 1 + self.frames * (num_latents - 1)

    def latent_of(self, frame: int) -> int:
        """The latent that covers a frame, both counted from 0."""
        return -(-frame // self.frames)

    def span(self, latent: int) -> range:
        """The frames that a latent covers, counted from 0."""
        last = self.frames * latent
        return range(max(0, last - self.frames + 1), last + 1)

    def missing(self, num_frames: int) -> int:
        """Frames that fill up the last latent of a video of so many frames."""
        return (1 - num_frames) % self.frames


class Codec(Protocol):
    """Clips to latents of about unit variance, and back."""

    @property
    def strides(self) -> Strides: ...

    @property
    def channels(self) -> int:
        """Cz, of a latent cell."""

    @property
    def groups_alone(self) -> bool:
        """True if a group's latent depends on that group's frames alone, wherever it stands.

        False for causal autoencoders, whose latents depend on all frames before: a group out of a clip is then encoded
        after its own first frame, which is approximate.
        """

    @property
    def dtype(self) -> torch.dtype:
        """Precision that `encode` and `decode_next` are given."""

    def state_dict(self) -> dict[str, Any]:
        """All numbers that change the latents, by name."""

    @property
    def latent_mean(self) -> Tensor:
        """(Cz,) subtracted by `encode`, on the codec's device."""

    @property
    def latent_std(self) -> Tensor:
        """(Cz,) divided by."""

    def encode(self, frames: Tensor, *, first_alone: bool = True) -> Tensor:
        """Frames to normalised latents.

        frames:      (B, T, H, W, 3) in -1..1; H and W multiples of strides.pixels
        first_alone: T = 1 + s k, the first frame a latent of its own; otherwise T = s k, groups only
        returns      (B, 1 + k, Hz, Wz, Cz), or (B, k, Hz, Wz, Cz) without the first
        """

    def decode_next(self, z: Tensor, past: Any, *, first_alone: bool = True) -> tuple[Tensor, Any]:
        """Decode as a stream: the frames of the next latents, and the past for those that follow.

        z:           (B, n, Hz, Wz, Cz)
        past:        what the call before returned; None for the first latents of a video
        first_alone: without a past, the first latent is of one frame
        """


def encode_latent(codec: Codec, frames: Tensor) -> Tensor:
    """The latent of one frame, or of one group out of a clip.

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
    """A clip encoded and decoded.

    frames:       (T, H, W, 3) uint8, T = 1 + s k, sides multiples of the stride
    latent_noise: deviation of normal noise added to the latents, drawn on the CPU by `generator`
    returns       (T, H, W, 3) uint8 on the CPU
    """
    latents = codec.encode(to_float(frames[None]).to(codec.latent_mean.device, codec.dtype))
    if latent_noise:
        latents = latents + latent_noise * torch.randn(latents.shape, generator=generator).to(latents)
    return to_uint8(codec.decode_next(latents, None)[0][0].cpu())
