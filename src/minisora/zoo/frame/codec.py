"""The embedded model's VAE, for the sets of latents: frames to normalised latents and back."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from minisora.bundle import find, load_part
from minisora.device import working_dtype
from minisora.train.latents import fingerprint as fingerprint_of
from minisora.vae.model import VAEConfig, VideoVAE
from minisora.video import to_float

_AT_ONCE = 256  # frames that are decoded at once


@cache
def codec() -> VideoVAE:
    """The VAE that comes with the package, on the CPU, in bf16 where that is fast."""
    vae = VideoVAE(VAEConfig())
    load_part(vae, find("toybox") / "vae.safetensors")
    return vae.to(working_dtype(torch.device("cpu"))).eval().requires_grad_(False)


@cache
def fingerprint() -> str:
    return fingerprint_of(codec())


@torch.inference_mode()
def encoded(frames: Tensor) -> Tensor:
    """Latents of pictures (N, H, W, 3) or clips (N, T, H, W, 3) uint8, float32 as in `decoded`."""
    clips = frames if frames.ndim == 5 else frames[:, None]
    z = codec().encode(to_float(clips).to(codec().dtype)).float()
    return z if frames.ndim == 5 else z[:, 0]


@torch.inference_mode()
def decoded(z: Tensor) -> Tensor:
    """Pictures (N, H, W, 3) of latents (N, Hz, Wz, Cz), clips of (N, Tz, Hz, Wz, Cz); in -1..1."""
    clips = z if z.ndim == 5 else z[:, None]
    size = max(1, _AT_ONCE // codec().strides.num_frames(clips.shape[1]))
    frames = torch.cat([codec().decode_next(part.to(codec().dtype), None)[0].float() for part in clips.split(size)])
    return frames if z.ndim == 5 else frames[:, 0]
