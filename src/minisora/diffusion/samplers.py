"""Samplers: integrate a denoiser from noise to data.

    dx/dt = (x - x0(x, t)) / t

This is the slope on the straight path for a token of any level (denoiser.py), and on the
variance-exploding path too. In u = -log t it reads dx/du = x0 - x, whose linear part is solved
exactly:

    x_s = (s/t) x_t + (integral from u_t to u_s of exp(u - u_s) x0(u) du)

The multistep samplers replace x0(u) by a polynomial through the last estimates, so they use log t
alone and need no signal-to-noise ratio, which would differ from token to token. (The papers use
half the log-SNR for u; the two agree where the signal coefficient is 1.)

In every sampler the last step, to t = 0, is of first order: it returns the x0 estimate at the time
before. Its error is h^2 once, which leaves a second-order sampler of second order.

Here: samplers, functions of a denoiser and times. Not here: which times (times.py), guidance
(guidance.py).
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from minisora.diffusion.denoiser import Denoiser
from minisora.errors import UsageError

Sampler = Callable[[Denoiser, Tensor, Sequence[float]], Tensor]
Noised = Callable[[Tensor, float], Tensor]  # x0: (B, *), t  ->  a state at t with fresh noise: (B, *)


def euler(denoise: Denoiser, x: Tensor, times: Sequence[float]) -> Tensor:
    """First order: one network call a step. Shapes as in `heun`."""
    for t, s in pairwise(times):
        x = x + (s - t) * _slope(denoise, x, t)
    return x


def heun(denoise: Denoiser, x: Tensor, times: Sequence[float]) -> Tensor:
    """Second order: two network calls a step, one in the last.

    Karras et al. 2022 (arXiv:2206.00364), Algorithm 1. On both the straight path and
    the variance-exploding path the slope dx/dt is (x - x0) / t, so one sampler serves both.

    denoise: includes guidance, text and precision
    x:       (B, *)  a sample at times[0]; standard normal where times[0] is 1
    times:   decreasing, from the noisiest to 0
    returns  (B, *)  a sample at times[-1]
    """
    for t, s in pairwise(times):
        slope = _slope(denoise, x, t)
        if s > 0:
            slope = (slope + _slope(denoise, x + (s - t) * slope, s)) / 2
        x = x + (s - t) * slope
    return x


def dpmpp_2m(denoise: Denoiser, x: Tensor, times: Sequence[float]) -> Tensor:
    """Second order with one network call a step: DPM-Solver++(2M). Shapes as in `heun`.

    Lu et al. 2022 (arXiv:2211.01095), Algorithm 2, with u = -log t as its lambda. The first step is
    of first order. With n times even in t the log-steps grow towards 0 and the error falls as
    log(n) / n^2; times denser towards 0, such as the squares of even ones, give the full order.
    """
    previous: tuple[float, Tensor] | None = None
    for t, s in pairwise(times):
        x0 = _x0(denoise, x, t)
        x = _step_2m(x, x0, previous, t, s)
        previous = (t, x0)
    return x


def unipc(denoise: Denoiser, x: Tensor, times: Sequence[float]) -> Tensor:
    """Predict as `dpmpp_2m`, then correct with the new estimate: one network call a step.

    Zhao et al. 2023 (arXiv:2302.04867), UniPC-2 with B2(h) for data prediction, with u = -log t as
    its lambda. The estimate at the predicted state corrects that state and serves the next step
    too. Corrected steps are of third order; the first-order last step limits the whole to second
    order for times even in t, and leaves third order for times denser towards 0. Shapes as in
    `heun`.
    """
    previous: tuple[float, Tensor] | None = None
    x0 = _x0(denoise, x, times[0])
    for t, s in pairwise(times):
        predicted = _step_2m(x, x0, previous, t, s)
        if s == 0:
            return predicted
        new = _x0(denoise, predicted, s)
        x = _corrected(x, x0, previous, t, new, s)
        previous, x0 = (t, x0), new
    return x


def consistency(noised: Noised) -> Sampler:
    """Multistep consistency sampling: one call to the data, noised again to the next time, ...

    For a consistency function: a denoiser that returns the end of the trajectory through a state,
    not the mean of x0. Song et al. 2023 (arXiv:2303.01469), Algorithm 1. Shapes as in `heun`.

    noised: includes the levels of the tokens and the generator
    """

    def sample(denoise: Denoiser, x: Tensor, times: Sequence[float]) -> Tensor:
        for t, s in pairwise(times):
            x0 = _x0(denoise, x, t)
            x = noised(x0, s) if s > 0 else x0
        return x

    return sample


SAMPLERS: dict[str, Sampler] = {"euler": euler, "heun": heun, "dpmpp_2m": dpmpp_2m, "unipc": unipc}


def sampler_named(name: str) -> Sampler:
    """Look up a sampler by the name a user gave; code passes the function itself.

    Raises UsageError for an unknown name.
    """
    if name not in SAMPLERS:
        raise UsageError(f"there is no sampler {name!r}. Choose one of: {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]


def _x0(denoise: Denoiser, x: Tensor, t: float) -> Tensor:
    return denoise(x, torch.full((len(x),), t, dtype=x.dtype, device=x.device))


def _slope(denoise: Denoiser, x: Tensor, t: float) -> Tensor:
    return (x - _x0(denoise, x, t)) / t


def _step_2m(x: Tensor, x0: Tensor, previous: tuple[float, Tensor] | None, t: float, s: float) -> Tensor:
    """Step from t to s with constant x0(u), extrapolated from two estimates to mid-step."""
    if s == 0:
        return x0
    if previous is not None:
        t_before, x0_before = previous
        x0 = x0 + math.log(t / s) / math.log(t_before / t) / 2 * (x0 - x0_before)
    return x0 + s / t * (x - x0)


def _corrected(x: Tensor, x0: Tensor, previous: tuple[float, Tensor] | None, t: float, new: Tensor, s: float) -> Tensor:
    """Step from t to s > 0; x0(u): polynomial through estimates before t, at t and at s (`new`).

    With w = u - u_t and h = u_s - u_t the polynomial is x0 + a w + b w^2, and the weights of its
    terms are the integrals from 0 to h of exp(w - h) w^n dw.
    """
    h = math.log(t / s)
    weight0 = -math.expm1(-h)
    change = new - x0
    if previous is None:
        return x + weight0 * (x0 + change / 2 - x)
    t_before, x0_before = previous
    before = -math.log(t_before / t)
    weight1 = h - weight0
    weight2 = h * h - 2 * weight1
    b = (change / h - (x0_before - x0) / before) / (h - before)
    a = change / h - b * h
    return x + weight0 * (x0 - x) + weight1 * a + weight2 * b
