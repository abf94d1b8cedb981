"""The video VAE: 1 + 4k frames to 1 + k latents, 8x8 pixels to a cell, and back.

Parallel to the deep network, in encoder and decoder, runs one linear map of each 8x8 block, which
starts as the lowest frequencies of a cosine transform (layers.py: `cosines`). So training starts
from a picture like a strong JPEG, and the network learns the rest; without it the first thousand
steps went into learning brightness (docs/log.md).

The first frame is a latent of its own, then every four frames are one. The encoder sees the frames
of one latent and no others, so a group's latent does not depend on its place: it can be kept
exactly, cut anywhere, and nothing of a hidden frame leaks into a conditioning one. The decoder is
causal in time, with a cache for its convolutions, so decoding streams with memory that does not
grow with the length.

Source: causal video VAEs of the 1 + 4k kind, Yu et al. 2023 (MAGVIT-v2, arXiv:2310.05737) and Wan
(arXiv:2503.20314); the group-wise encoder is ours. Variational part: Kingma and Welling 2013
(arXiv:1312.6114).

Not here: its training loss (loss.py), the layers (layers.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.errors import UsageError
from minisora.vae.codec import Strides
from minisora.vae.layers import (
    PatchConv,
    PatchConvTranspose,
    SpaceBlock,
    TimeBlock,
    cosines,
    fold_time,
    unfold_time,
    zeroed,
)

GROUP = 4  # frames in a latent, the first latent apart
STRIDE = 8  # pixels on a side of a latent cell

Past = list[Tensor | None]  # cache: one entry for each TimeBlock of the decoder, in the order they run


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """Shape of the VAE: every field changes the weights."""

    latent_channels: int = 16
    widths: tuple[int, int, int] = (48, 96, 192)  # channels at 1/2, 1/4 and 1/8 of the picture's side
    latent_width: int = 256  # channels where one position stands for a whole group of frames
    encoder_blocks: tuple[int, int, int] = (1, 2, 1)  # at 1/2, 1/4, 1/8, for each frame
    decoder_blocks: tuple[int, int, int] = (1, 2, 2)
    latent_blocks: int = 2  # on each side, for each latent


class Encoder(nn.Module):
    """Frames of one latent to that latent's mean and log variance."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        half, quarter, eighth = config.widths
        blocks = config.encoder_blocks
        self.frame = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, half, 3, padding=1),
            *(SpaceBlock(half) for _ in range(blocks[0])),
            nn.Conv2d(half, quarter, 2, stride=2),
            *(SpaceBlock(quarter) for _ in range(blocks[1])),
            nn.Conv2d(quarter, eighth, 2, stride=2),
            *(SpaceBlock(eighth) for _ in range(blocks[2])),
        )
        self.merge_one = nn.Conv2d(eighth, config.latent_width, 1)
        self.merge_group = nn.Conv2d(GROUP * eighth, config.latent_width, 1)
        self.latent = nn.Sequential(
            *(SpaceBlock(config.latent_width) for _ in range(config.latent_blocks)),
            zeroed(nn.Conv2d(config.latent_width, 2 * config.latent_channels, 1)),
        )
        self.direct_one = PatchConv(3, config.latent_channels, STRIDE)
        self.direct_group = PatchConv(GROUP * 3, config.latent_channels, STRIDE)
        with torch.no_grad():
            # noise as large as the signal would hide it from the decoder for thousands of steps
            self.latent[-1].bias[config.latent_channels :] = -6.0  # type: ignore[operator]
        for direct, time in ((self.direct_one, 1), (self.direct_group, GROUP)):
            direct.weight.data.copy_(cosines(config.latent_channels, time, STRIDE)[0].flatten(1, 2))
            nn.init.zeros_(direct.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, frames: Tensor) -> Tensor:
        """(N, n, 3, H, W), n = 1 or GROUP -> mean and log variance (N, 2*Cz, H/8, W/8)"""
        n = frames.shape[1]
        features = self.frame(fold_time(frames).contiguous(memory_format=torch.channels_last))
        features = unfold_time(features, len(frames)).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        merged = self.merge_one(features) if n == 1 else self.merge_group(features)
        pixels = frames.flatten(1, 2).contiguous(memory_format=torch.channels_last)
        direct = self.direct_one(pixels) if n == 1 else self.direct_group(pixels)
        mean, log_var = self.latent(merged).chunk(2, 1)
        # the mean over a block, not the sum: weights are about 1 and learn as fast as the others
        return torch.cat([mean + direct / (pixels.shape[1] * STRIDE**2), log_var], 1)


class Decoder(nn.Module):
    """Latents, in order, to frames, in order."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        half, quarter, eighth = config.widths
        blocks = config.decoder_blocks
        self.enter = nn.Conv2d(config.latent_channels, config.latent_width, 3, padding=1)
        self.latent_space = nn.ModuleList(SpaceBlock(config.latent_width) for _ in range(config.latent_blocks))
        self.latent_time = nn.ModuleList(TimeBlock(config.latent_width) for _ in range(config.latent_blocks))
        self.split_one = nn.Conv2d(config.latent_width, eighth, 1)
        self.split_group = nn.Conv2d(config.latent_width, GROUP * eighth, 1)
        self.frame_space = nn.ModuleList(SpaceBlock(eighth) for _ in range(blocks[2]))
        self.frame_time = nn.ModuleList(TimeBlock(eighth) for _ in range(blocks[2]))
        self.frame = nn.Sequential(
            nn.Conv2d(eighth, 4 * quarter, 1),
            nn.PixelShuffle(2),
            *(SpaceBlock(quarter) for _ in range(blocks[1])),
            nn.Conv2d(quarter, 4 * half, 1),
            nn.PixelShuffle(2),
            *(SpaceBlock(half) for _ in range(blocks[0])),
            zeroed(nn.Conv2d(half, 12, 3, padding=1)),
            nn.PixelShuffle(2),
        )
        self.direct_one = PatchConvTranspose(config.latent_channels, 3, STRIDE)
        self.direct_group = PatchConvTranspose(config.latent_channels, GROUP * 3, STRIDE)
        for direct, time in ((self.direct_one, 1), (self.direct_group, GROUP)):
            direct.weight.data.copy_(cosines(config.latent_channels, time, STRIDE)[1].flatten(1, 2))
            nn.init.zeros_(direct.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, z: Tensor, past: Past | None, *, first_alone: bool) -> tuple[Tensor, Past]:
        """(B, Tz, Cz, Hz, Wz) -> frames (B, T, 3, H, W), and the cache for the next latents"""
        batch = len(z)
        before: Past = list(past) if past is not None else [None] * (len(self.latent_time) + len(self.frame_time))
        after: Past = []
        x = unfold_time(self.enter(fold_time(z).contiguous(memory_format=torch.channels_last)), batch)
        for space, time in zip(self.latent_space, self.latent_time, strict=True):
            x, kept = time(unfold_time(space(fold_time(x)), batch), before[len(after)])
            after.append(kept)
        x = _each_frame(x, first_alone, self.split_one, self.split_group)
        for space, time in zip(self.frame_space, self.frame_time, strict=True):
            x, kept = time(unfold_time(space(fold_time(x)), batch), before[len(after)])
            after.append(kept)
        direct = _each_frame(z, first_alone, self.direct_one, self.direct_group)
        return unfold_time(self.frame(fold_time(x)), batch) + direct, after


def _each_frame(x: Tensor, first_alone: bool, one: nn.Module, group: nn.Module) -> Tensor:
    """Expand latents to frames: (B, Tz, C, H, W) -> (B, T, C', H', W')"""
    parts = []
    if first_alone:
        parts.append(one(x[:, 0].contiguous(memory_format=torch.channels_last)).unsqueeze(1))
        x = x[:, 1:]
    if x.shape[1]:
        groups = unfold_time(group(fold_time(x).contiguous(memory_format=torch.channels_last)), len(x))
        parts.append(groups.unflatten(2, (GROUP, -1)).flatten(1, 2))
    return torch.cat(parts, 1)


class VideoVAE(nn.Module):
    """A `Codec`: frames (B, T, H, W, 3) in -1..1 to latents (B, Tz, Hz, Wz, Cz), and back."""

    strides = Strides(frames=GROUP, pixels=STRIDE)
    groups_alone = True
    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels))
        self.register_buffer("latent_std", torch.ones(config.latent_channels))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form

    @property
    def channels(self) -> int:
        return self.config.latent_channels

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def moments(self, frames: Tensor, *, first_alone: bool = True) -> Tensor:
        """Mean and log variance, not normalised: (B, T, H, W, 3) -> (B, Tz, 2*Cz, Hz, Wz)"""
        self._check(frames, first_alone)
        x = frames.permute(0, 1, 4, 2, 3)
        parts = []
        if first_alone:
            parts.append(self.encoder(x[:, :1]).unsqueeze(1))
            x = x[:, 1:]
        if x.shape[1]:
            groups = x.unflatten(1, (-1, GROUP)).flatten(0, 1)
            parts.append(unfold_time(self.encoder(groups), len(frames)))
        return torch.cat(parts, 1)

    def encode(self, frames: Tensor, *, first_alone: bool = True) -> Tensor:
        """Encode frames to the posterior's mean, normalised.

        frames:      (B, T, H, W, 3) in -1..1; H and W multiples of STRIDE
        first_alone: T = 1 + 4k, the first frame a latent of its own; otherwise T = 4k, groups only
        returns      (B, 1 + k, H/8, W/8, Cz), or (B, k, ...) without the first
        """
        mean = self.moments(frames, first_alone=first_alone).chunk(2, 2)[0].permute(0, 1, 3, 4, 2)
        normalised: Tensor = (mean - self.latent_mean.to(mean.dtype)) / self.latent_std.to(mean.dtype)
        return normalised

    def decode(self, z: Tensor, *, first_alone: bool = True) -> Tensor:
        """Decode latents to frames, all at once.

        Shapes as in `encode`, reversed; values about -1..1.
        """
        return self.decode_next(z, None, first_alone=first_alone)[0]

    def decode_next(self, z: Tensor, past: Past | None, *, first_alone: bool = True) -> tuple[Tensor, Past]:
        """Decode the next latents of a video: frames, and the cache for the following call."""
        frames, after = self.decoder(self._unnormalised(z), past, first_alone=first_alone and past is None)
        return frames.permute(0, 1, 3, 4, 2), after

    def calibrate(self, mean: Tensor, std: Tensor) -> None:
        """Set the mean and deviation that normalise latents, (Cz,) each."""
        self.latent_mean.copy_(mean)
        self.latent_std.copy_(std)

    @staticmethod
    def flops_per_pixel(config: VAEConfig) -> float:
        """FLOPs per pixel of encoding and decoding (multiply-add: 2), convolutions only."""
        cells = (1 / 4, 1 / 16, 1 / 64)  # positions per pixel at 1/2, 1/4, 1/8
        macs = 0.0
        for width, cell, down, up in zip(
            config.widths, cells, config.encoder_blocks, config.decoder_blocks, strict=True
        ):
            macs += cell * (down + up) * 2 * 9 * width**2
        half, quarter, eighth = config.widths
        macs += cells[0] * 2 * 9 * 12 * half  # to and from pixels
        macs += 2 * (cells[1] * 4 * half * quarter + cells[2] * 4 * quarter * eighth)  # down and up
        macs += cells[2] * config.decoder_blocks[2] * 3 * eighth**2  # time, for each frame
        wide = config.latent_width
        macs += 2 * cells[2] * eighth * wide  # merging and splitting a group
        latent = cells[2] / GROUP
        macs += latent * config.latent_blocks * (2 * 2 * 9 + 3) * wide**2
        macs += latent * config.latent_channels * wide * (9 + 2)
        return 2 * macs

    def muon_params(self) -> list[nn.Parameter]:
        """Weights for Muon: convolutions between features, without the first and last layers."""
        doors = (self.encoder.frame[1], self.encoder.latent[-1], self.decoder.enter, self.decoder.frame[-2])
        direct = (
            self.encoder.direct_one,
            self.encoder.direct_group,
            self.decoder.direct_one,
            self.decoder.direct_group,
        )
        kept = {id(p) for layer in (*doors, *direct) for p in layer.parameters()}
        return [p for p in self.parameters() if p.ndim == 4 and id(p) not in kept]

    def fsdp_units(self) -> list[nn.Module]:
        """Modules that are sharded (FSDP), checkpointed and compiled one by one."""
        return [self.encoder, self.decoder]

    def compile_parts(self) -> None:
        """Compile the units; training only.

        Each size of clip compiles once. Needs a C++ compiler on a CPU.
        """
        for part in self.fsdp_units():
            part.forward = torch.compile(part.forward, dynamic=False)

    def _unnormalised(self, z: Tensor) -> Tensor:
        return (z * self.latent_std.to(z.dtype) + self.latent_mean.to(z.dtype)).permute(0, 1, 4, 2, 3)

    def _check(self, frames: Tensor, first_alone: bool) -> None:
        num_frames, height, width = frames.shape[1:4]
        if height % STRIDE or width % STRIDE:
            raise UsageError(f"frames of {width}x{height} do not fit the VAE: use multiples of {STRIDE} pixels.")
        over = (num_frames - first_alone) % GROUP
        if over:
            raise UsageError(
                f"{num_frames} frames do not fit the VAE's groups of {GROUP}. "
                f"Use {num_frames - over} or {num_frames - over + GROUP} frames."
            )


def sample(moments: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Sample the posterior: (..., 2*Cz, Hz, Wz), dimension 2, -> (..., Cz, Hz, Wz).

    Training only.
    """
    mean, log_var = moments.chunk(2, 2)
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return mean + noise * torch.exp(0.5 * F.hardtanh(log_var, -20.0, 4.0))
