"""Training loss of the transformer: flow matching on generated tokens, every token with its own t.

Here: from a clean batch to a loss; a dummy batch without data, for planning.
Not here: the formulas (diffusion/), which tokens are conditioning (data/windows.py).
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from minisora.data.latents import LatentBatch
from minisora.data.pack import Pack
from minisora.data.patch import grid_positions
from minisora.diffusion.loss import flow_matching_loss
from minisora.diffusion.path import interpolate
from minisora.dit.model import DiT, DiTConfig


def dit_loss(dit: DiT, batch: LatentBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """Flow-matching loss of a batch, with its breakdown by t.

    noise: the generator that eps is drawn from
    """
    pack = batch.clean
    eps = torch.randn(pack.tokens.shape, generator=noise, device=pack.tokens.device)
    times = pack.times[pack.time_index]
    noised = replace(pack, tokens=interpolate(pack.tokens, eps, times))
    return flow_matching_loss(dit(noised), pack.tokens, eps, times, batch.loss_mask)


def dummy_batch(config: DiTConfig, grid: tuple[int, int, int], *, tokens: int, words: int) -> LatentBatch:
    """A pack of equal clips, all zero, for planning a run before its data exists.

    grid:    tokens of a clip along time, rows and columns
    tokens:  largest number of tokens in the pack; one clip is always there
    words:   text tokens of each clip
    """
    length = prod(grid)
    clips = max(1, tokens // length)
    lengths, text_lengths = (length,) * clips, (words,) * clips
    pack = Pack(
        tokens=torch.zeros(clips * length, config.token_channels),
        times=torch.zeros(clips),
        time_index=torch.arange(clips).repeat_interleave(length),
        positions=grid_positions(torch.arange(grid[0]), *grid[1:]).repeat(clips, 1),
        single=torch.zeros(clips * length, dtype=torch.bool),
        lengths=lengths,
        text=torch.zeros(clips * words, config.text_width),
        text_lengths=text_lengths,
    )
    loss_mask = torch.ones(clips * length, dtype=torch.bool)
    return LatentBatch(pack, loss_mask, 3 * config.flops(lengths, text_lengths))
