"""Denoiser from a velocity network, with some tokens as conditioning.

Two words, used alike everywhere:

    time    t in 0..1, a place on the path of path.py. The sampler has one; every token has its own
    level   c in 0..1, a token's share of it: at sampler time t the token's own time is c t.
            0: conditioning, clean throughout. 1: generated from pure noise. Between: noised in part

For a token of level c:

    x       = (1 - c t) x0 + c t eps
    x at t = 1  is  (1 - c) known + c eps
    x0      = x - c t v
    dx/dt   = c (eps - x0) = (x - x0) / t            the same for every c

so a sampler of one time serves tokens of any levels, and no step is spent on noise that a token
does not have.

Here: the rule of levels around a network. Not here: which tokens are conditioning
(generate/canvas.py), guidance (guidance.py), integration (samplers.py).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from minisora.diffusion.path import interpolate, x0_from_velocity
from minisora.errors import UsageError

Denoiser = Callable[[Tensor, Tensor], Tensor]  # x_t: (B, *), t: (B,)  ->  x0 estimate: (B, *)
VelocityFn = Callable[[Tensor, Tensor], Tensor]  # x: (B, L, C), token times: (B, L)  ->  v: (B, L, C)


def from_velocity(
    velocity_fn: VelocityFn,
    levels: Tensor,
    known: Tensor,
    context_noise: float | Tensor = 0.0,
    context_eps: Tensor | None = None,
) -> Denoiser:
    """Make a denoiser of a network that predicts velocity.

    velocity_fn:   called with the state (B, L, C) and each token's own time (B, L)
    levels:        (L,) or (B, L), c of each token
    known:         (B, L, C) latents; read where the level is 0
    context_noise: time at which the network sees tokens of level 0, in state and in time input;
                   () or (B,), one for each sample
    context_eps:   (B, L, C) noise for them, the same at every step; needed if context_noise > 0
    returns        a denoiser of (B, L, C); where the level is 0 its x0 is `known`, exactly

    Raises UsageError for a context_noise outside 0..1.
    """
    noise = torch.as_tensor(context_noise, dtype=known.dtype, device=known.device).expand(len(known))
    if not bool(((noise >= 0) & (noise <= 1)).all()):
        raise UsageError(f"context_noise={context_noise} is not a time. Use 0 (shown clean) to 1 (shown as noise).")
    given = (levels == 0).expand(known.shape[:2])
    shown = known
    if noise.any():
        assert context_eps is not None, "context_noise needs context_eps: fixed noise, drawn by the caller"
        shown = interpolate(known, context_eps, noise)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        times = levels * t[:, None]  # (B, L)
        v = velocity_fn(
            torch.where(given[..., None], shown, x),
            torch.where(given, noise[:, None], times),
        )
        return torch.where(given[..., None], known, x0_from_velocity(x, v.to(x.dtype), times))

    return denoise


def start(known: Tensor, levels: Tensor, eps: Tensor) -> Tensor:
    """The state at t = 1. known, eps: (B, L, C), levels: (L,) or (B, L) -> (B, L, C)."""
    return noised(known, levels, eps, 1.0)


def noised(x0: Tensor, levels: Tensor, eps: Tensor, t: float) -> Tensor:
    """The state at t, each token at its own time.

    x0, eps: (B, L, C), levels: (L,) or (B, L) -> (B, L, C).
    """
    return interpolate(x0, eps, (levels * t).expand(x0.shape[:2]))


def finish(x: Tensor, known: Tensor, levels: Tensor) -> Tensor:
    """Write known latents back where the level is 0: a sampler returns them within rounding only.

    x, known: (B, L, C), levels: (L,) or (B, L) -> (B, L, C)
    """
    return torch.where((levels == 0).expand(known.shape[:2])[..., None], known, x)
