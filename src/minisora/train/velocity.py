"""What the transformer is trained on: velocities of the tokens to be made, in a pack where every token has its time.

Here: from a clean batch to a loss. Not here: the formulas (diffusion/), which tokens are given (data/windows.py).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from minisora.data.latents import LatentBatch
from minisora.diffusion.loss import loss_by_bin, velocity_error
from minisora.diffusion.path import interpolate
from minisora.dit.model import DiT

BINS = 4  # noise levels that the log tells apart


def dit_loss(dit: DiT, batch: LatentBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """`loss`, the mean over tokens to be made, and `t0`, `t1` ...: the same for each quarter of the noise times."""
    pack, made = batch.clean, batch.made
    eps = torch.randn(pack.tokens.shape, generator=noise, device=pack.tokens.device)
    times = pack.times[pack.time_index]
    noised = replace(pack, tokens=interpolate(pack.tokens, eps, times))
    error = velocity_error(dit(noised), pack.tokens, eps)[made]
    bins = loss_by_bin(error, times[made], bins=BINS)
    return {"loss": error.mean(), **{f"t{n}": value for n, value in enumerate(bins)}}
