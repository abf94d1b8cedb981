"""A model that shows what each prompt asks for: real clips of the prompts' own scenes, in order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from minisora.bundle import Bundle, Sampling
from minisora.dit.model import DiT, DiTConfig
from minisora.vae.model import VAEConfig, VideoVAE
from minisora.video import Video
from tests.helpers.tiny import Words


class Faithful:
    """clips: (T, H, W, 3) uint8 each at 8 fps, by seed.

    What else a report looks at is random.
    """

    def __init__(self, clips: Sequence[Tensor], *, seconds: float) -> None:
        torch.manual_seed(0)
        vae = VideoVAE(VAEConfig(widths=(8, 8, 8), latent_width=8, latent_channels=4)).eval()
        dit = DiT(DiTConfig(width=16, depth=1, num_heads=2, mlp_width=16, text_width=6, latent_channels=4)).eval()
        sampling = Sampling(size=tuple(clips[0].shape[1:3]))
        self.bundle = Bundle(name="faithful", vae=vae, dit=dit, text=Words(), sampling=sampling)
        self.clips, self.seconds = clips, seconds
        self.asked: list[str] = []

    def generate(self, prompt: str, *, seconds: float, seed: int) -> Video:
        assert seconds == self.seconds
        self.asked.append(prompt)
        return Video(self.clips[seed], 8.0)
