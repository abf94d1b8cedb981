"""Latents to tokens and back, and the position of each token in time and space."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor


def patchify(z: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """Cut latents into tokens, ordered by time, then row, then column.

    z:       (B, Tz, Hz, Wz, Cz)
    patch:   (pt, ph, pw), latent cells a token covers
    returns  (B, L, pt*ph*pw*Cz) with L = Tz/pt * Hz/ph * Wz/pw
    """
    pt, ph, pw = patch
    return rearrange(z, "b (t pt) (h ph) (w pw) c -> b (t h w) (pt ph pw c)", pt=pt, ph=ph, pw=pw)


def unpatchify(tokens: Tensor, patch: tuple[int, int, int], grid: tuple[int, int, int]) -> Tensor:
    """Inverse of `patchify`.

    tokens:  (B, L, pt*ph*pw*Cz)
    grid:    (Tz/pt, Hz/ph, Wz/pw), tokens along each axis
    returns  (B, Tz, Hz, Wz, Cz)
    """
    (pt, ph, pw), (t, h, w) = patch, grid
    return rearrange(tokens, "b (t h w) (pt ph pw c) -> b (t pt) (h ph) (w pw) c", t=t, h=h, w=w, pt=pt, ph=ph, pw=pw)


def grid_positions(times: Tensor, rows: int, columns: int) -> Tensor:
    """RoPE positions of a block of latents.

    times:   (n,) float32, the position in time of each latent
    rows, columns: tokens on a side
    returns  (n * rows * columns, 3) float32: time, row, column, in the order of `patchify`
    """
    grid = torch.meshgrid(times.float(), torch.arange(rows).float(), torch.arange(columns).float(), indexing="ij")
    return torch.stack(grid, -1).reshape(-1, 3)
