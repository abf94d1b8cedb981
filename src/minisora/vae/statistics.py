"""Mean and deviation of each latent channel, which normalise latents for the transformer."""

from __future__ import annotations

import torch

from minisora.data.frames import FrameBatches
from minisora.vae.model import VideoVAE
from minisora.video import to_float


@torch.no_grad()
def calibrate(vae: VideoVAE, batches: FrameBatches, *, num_batches: int) -> None:
    """Measure and set mean and deviation of each latent channel, on batches outside of training."""
    total = square = torch.zeros(vae.config.latent_channels, dtype=torch.float64)
    count = 0
    for step in range(num_batches):
        frames = to_float(batches(10_000_000 + step).frames.to(vae.latent_mean.device))
        mean = vae.moments(frames).chunk(2, 2)[0].double().cpu().movedim(2, -1).flatten(0, -2)
        total, square, count = total + mean.sum(0), square + mean.square().sum(0), count + len(mean)
    average = total / count
    vae.calibrate(average.float(), (square / count - average.square()).sqrt().float())
