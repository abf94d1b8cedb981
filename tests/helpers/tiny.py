"""The smallest networks there are, a bundle of them with random weights, and fitting clips."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor

from minisora.bundle import Bundle, Sampling
from minisora.dit.model import DiT, DiTConfig
from minisora.errors import UsageError
from minisora.generate.canvas import Shape
from minisora.generate.window import Settings
from minisora.progress import Watch
from minisora.text.encoder import TextTokens
from minisora.upscale.model import UpscalerConfig
from minisora.vae.model import VAEConfig, VideoVAE

VAE = VAEConfig(latent_channels=4, widths=(4, 4, 8), latent_width=8, latent_blocks=1)
DIT = DiTConfig(width=24, depth=2, num_heads=2, mlp_width=32, text_width=6, latent_channels=4, time_width=8)
DEEPER_VAE = VAEConfig(
    latent_channels=4,
    widths=(8, 12, 16),
    latent_width=24,
    encoder_blocks=(1, 1, 1),
    decoder_blocks=(1, 1, 2),
    latent_blocks=2,
)
UPSCALER = UpscalerConfig(width=8, blocks=2, neighbours=1)
SHAPE = Shape(num_frames=13, height=32, width=48, fps=8.0)


class Words:
    """A text encoder: a random state for each word, always the same for the same word."""

    width, fingerprint = 6, "words"

    def encode(self, texts: Sequence[str]) -> TextTokens:
        rows = [
            [
                torch.randn(6, generator=torch.Generator().manual_seed(zlib.crc32(word.encode())))
                for word in ["[CLS]", *t.split()]
            ]
            for t in texts
        ]
        return TextTokens(torch.stack([word for row in rows for word in row]), [len(row) for row in rows])

    def check(self, text: str) -> None:
        if len(text.split()) > 500:
            raise UsageError("this prompt is too long")

    def unreadable(self, text: str) -> bool:
        return False


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Random everywhere: branches that start closed would hide what flows through them."""
    torch.manual_seed(0)
    vae, dit = VideoVAE(VAE).eval().requires_grad_(False), DiT(DIT).eval().requires_grad_(False)
    for parameter in (*vae.parameters(), *dit.parameters()):
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return Bundle(name="tiny", vae=vae, dit=dit, text=Words(), sampling=Sampling(fps=8.0, time_rate=2.0, shift=1.5))


def picture(num_frames: int, height: int, width: int, seed: int = 1) -> Tensor:
    """(num_frames, height, width, 3) uint8 of noise"""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_frames, height, width, 3), dtype=torch.uint8, generator=generator)


def settings(**changes: object) -> Settings:
    return Settings(**{"steps": 3, "guidance": 3.0, "seed": 5, **changes})  # type: ignore[arg-type]


def sampled(frames: Callable[[Watch], Iterator[Tensor]], watch: Watch | None = None) -> Tensor:
    """(T, H, W, 3) uint8: all that a plan's frames are."""
    return torch.cat(list(frames(watch or Watch())))
