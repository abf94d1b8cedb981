"""Loss of the VAE: errors of pixels and of changes between frames, divergence of the latents.

Source: Kingma and Welling 2013 (arXiv:1312.6114), Eq. 10 for the divergence. The loss on changes
between frames is ours: flicker is an error of the change, to which the pixel loss is nearly blind.
No adversarial and no perceptual loss. The decoder is trained on slightly noised latents, as the
transformer's are inexact too: without it the posterior shrank to a hundredth of the latents'
deviation, and errors of the transformer decoded to torn cells (docs/log.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from minisora.data.frames import FrameBatch
from minisora.vae.model import VideoVAE, sample
from minisora.video import to_float


@dataclass(frozen=True, kw_only=True)
class VAELoss:
    """Weights of the terms, relative to the mean absolute error of pixels in -1..1."""

    change: float = 0.5
    divergence: float = 1e-4
    latent_noise: float = 0.0  # largest standard deviation of extra noise on the latents of a clip

    def __call__(self, vae: VideoVAE, batch: FrameBatch, noise: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return scalars: `loss`, and its terms for the log."""
        frames = to_float(batch.frames)
        moments = vae.moments(frames)
        decoded, _ = vae.decoder(self._disturbed(sample(moments, noise), noise), None, first_alone=True)
        error = decoded.permute(0, 1, 3, 4, 2).float() - frames
        pixel = error.abs().mean()
        # a single frame has no change between frames
        change = error.diff(dim=1).abs().mean() if frames.shape[1] > 1 else torch.zeros_like(pixel)
        divergence = kl_to_unit(moments.float()).mean()
        loss = pixel + self.change * change + self.divergence * divergence
        return {"loss": loss, "pixel": pixel, "change": change, "kl": divergence, "mse": error.square().mean()}

    def _disturbed(self, latents: Tensor, noise: torch.Generator | None) -> Tensor:
        """Add noise to each clip's latents, of a deviation drawn from 0 to `latent_noise`."""
        if self.latent_noise == 0:
            return latents
        level = torch.rand(len(latents), 1, 1, 1, 1, generator=noise, device=latents.device, dtype=latents.dtype)
        wrong = torch.randn(latents.shape, generator=noise, device=latents.device, dtype=latents.dtype)
        return latents + self.latent_noise * level * wrong


def kl_to_unit(moments: Tensor) -> Tensor:
    """KL(N(mean, var) || N(0, 1)) of each latent value, in nats.

    moments: (..., 2*Cz, Hz, Wz), channels in dimension 2

    Log variances are clamped to -20..4, so that a single value cannot outweigh all others.
    """
    mean, log_var = moments.chunk(2, 2)
    log_var = log_var.clamp(-20.0, 4.0)
    return 0.5 * (mean.square() + log_var.exp() - 1.0 - log_var)
