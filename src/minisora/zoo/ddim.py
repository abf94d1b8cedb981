"""DDIM: denoising diffusion implicit models.

Song, Meng and Ermon 2020, arXiv:2010.02502.

What was new: the loss of DDPM (ddpm.py) depends on the marginals q(x_t | x_0) alone, and many
processes share them. One family of them, with a free sigma, has the same trained network and
another sampler; at sigma = 0 it draws no noise at all, so that a tenth or a fiftieth of the steps
will do, a latent x_T determines its picture, and the steps can be walked backwards (inversion).
Section 4.3 already reads the steps as those of an ODE; on that view build score_sde.py, edm.py and
the fast solvers, which every sampler of minisora is.

Smaller here: the network is that of ddpm.py, trained once for both.

In the paper's symbols: tau is the sequence of visited steps, eta scales sigma from 0 (DDIM) to
1 (DDPM's variances on the same steps).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from minisora.zoo import ddpm
from minisora.zoo.ddpm import ALPHA_BAR, STAGE, T, spaced
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row
from minisora.zoo.frame.sets import PICTURES_32, batch_of

STEPS = 20


def sample(models: Models, ask: Ask, *, steps: int, eta: float) -> Tensor:
    x_T = ask.normal(*PICTURES_32.shape)
    return denoised(models[STAGE.name], x_T, ask, steps=steps, spacing=quadratic, eta=eta, bound=1)


def quadratic(steps: int) -> Tensor:
    """tau_i = c i^2, dense where there is little noise: the paper's for CIFAR10, appendix D.2."""
    return (torch.linspace(0, (T - 1) ** 0.5, steps + 1)[1:] ** 2).round().long()


def denoised(
    eps_theta: ddpm.Epsilon,
    x: Tensor,
    ask: Ask,
    *,
    steps: int,
    spacing: Callable[[int], Tensor] = spaced,
    eta: float = 0.0,
    bound: float = math.inf,
) -> Tensor:
    """From x_T along tau to x_0, Eq. 12.

    eps_theta: called with x, t and the labels
    spacing:   tau for a number of steps
    bound:     of the estimates of x_0; 1 for pixels
    """
    tau = spacing(steps)
    for n in reversed(range(steps)):
        alpha = ALPHA_BAR[tau[n]]  # the paper's alpha is DDPM's alpha bar
        before = ALPHA_BAR[tau[n - 1]] if n else torch.tensor(1.0)
        sigma = eta * ((1 - before) / (1 - alpha)).sqrt() * (1 - alpha / before).sqrt()  # Eq. 16
        eps = eps_theta(x, tau[n].expand(len(x)), ask.labels).float()
        x_0 = ((x - (1 - alpha).sqrt() * eps) / alpha.sqrt()).clamp(-bound, bound)  # Eq. 9, "predicted x_0"
        x = before.sqrt() * x_0 + (1 - before - sigma**2).sqrt() * eps  # "direction pointing to x_t"
        if sigma > 0:
            x = x + sigma * torch.randn(x.shape, generator=ask.noise)
    return x


def inverted(eps_theta: ddpm.Epsilon, x_0: Tensor, labels: Tensor, *, steps: int) -> Tensor:
    """From x_0 to the x_T whose trajectory ends there: Eq. 12 with sigma = 0, backwards.

    The network is asked at the state and the step before the one it is needed at, which is exact
    only for many steps (section 5.4).
    """
    tau, x = spaced(steps), x_0
    for n in range(steps):
        now = ALPHA_BAR[tau[n - 1]] if n else torch.tensor(1.0)
        alpha = ALPHA_BAR[tau[n]]
        eps = eps_theta(x, tau[n].expand(len(x)), labels).float()
        x = alpha.sqrt() * (x - (1 - now).sqrt() * eps) / now.sqrt() + (1 - alpha).sqrt() * eps
    return x


def figures(models: Models, seed: int) -> dict[str, float]:
    """Mean squared error per pixel, in 0..1, of pictures that were inverted and denoised again."""
    batch = batch_of(PICTURES_32, range(32), split="held_out")
    ask = Ask(batch.labels, torch.Generator().manual_seed(seed))
    errors = {}
    for steps in (10, 50):
        with torch.inference_mode():
            x_T = inverted(models[STAGE.name], batch.x, batch.labels, steps=steps)
            again = denoised(models[STAGE.name], x_T, ask, steps=steps)
        errors[f"error of inversion, {steps} steps"] = float(((again - batch.x) / 2).square().mean())
    return errors


ENTRY = Entry(
    name="ddim",
    title="DDIM",
    paper=Paper(
        authors="Song, Meng and Ermon", year=2020, title="Denoising Diffusion Implicit Models", arxiv="2010.02502"
    ),
    family="diffusion",
    new="The same network, sampled without noise along few steps, forwards and backwards.",
    after=("ddpm",),
    stages=(STAGE,),
    rows=tuple(
        Row(
            name=f"DDIM, eta {eta:g}, {STEPS} steps",
            sample=partial(sample, steps=STEPS, eta=eta),
            stages=(STAGE,),
            toy=PICTURES_32,
        )
        for eta in (0.0, 0.5, 1.0)
    ),
    figures=figures,
)
