"""SiT: scalable interpolant transformers.

Ma, Goldstein, Albergo, Boffi, Vanden-Eijnden and Xie 2024, arXiv:2401.08740.

What was new: it took DiT (dit.py) apart along the choices that diffusion models make without
saying so, and changed one at a time with the network untouched: continuous for discrete time, the
velocity for the noise as what is predicted, a straight interpolant for the curved one of DDPM, and,
after training, an ODE or any of a family of SDEs to sample with. Each step was better than the
last. Before it: score matching in continuous time (score_sde.py) and stochastic interpolants
(Albergo and Vanden-Eijnden 2022, arXiv:2209.15571). After it: minisora itself, whose path is the
linear interpolant below (diffusion/path.py).

Smaller here: the network of dit.py on latents of 64x64 pictures, 8x8x16. The three interpolants are
compared on a share of the budget each, the linear one is trained on all of it; SDEs are given 20
and 100 steps for the paper's 250.

In the paper's symbols, which have the house's direction of time: x_t = alpha_t x_0 + sigma_t eps
(Eq. 1, where x_0 is called x_*), t = 0 is data and t = 1 noise (the authors' code runs the other
way), v is the velocity, s the score, w_t the diffusion coefficient of the SDE. All of it is in the
paper's section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import pi
from typing import NamedTuple

import torch
from torch import Tensor, nn

from minisora.diffusion import Sampler, euler, heun, schedule, x0_from_velocity
from minisora.zoo.dit import DROPPED, DiT
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import LATENT_PICTURES_64, ToyBatch

EARLIEST = 1e-3  # of the times trained on: the velocity of SBDM-VP is infinite at 0
BETA_MIN, BETA_MAX = 0.1, 20.0  # of SBDM-VP


class Coefficients(NamedTuple):
    alpha: Tensor
    sigma: Tensor
    d_alpha: Tensor  # their derivatives in t
    d_sigma: Tensor


Interpolant = Callable[[Tensor], Coefficients]  # t, of any shape
Velocity = Callable[[Tensor, Tensor], Tensor]  # x: (B, *), t: (B,) -> v: (B, *)


def linear(t: Tensor) -> Coefficients:
    """Straight lines from data to noise."""
    return Coefficients(1 - t, t, -torch.ones_like(t), torch.ones_like(t))


def gvp(t: Tensor) -> Coefficients:
    """Generalised variance-preserving: a quarter of a circle, alpha^2 + sigma^2 = 1."""
    angle = pi / 2 * t
    return Coefficients(angle.cos(), angle.sin(), -pi / 2 * angle.sin(), pi / 2 * angle.cos())


def sbdm_vp(t: Tensor) -> Coefficients:
    """Score-based diffusion: the variance-preserving SDE of score_sde.py, with its linear beta."""
    beta = BETA_MIN + (BETA_MAX - BETA_MIN) * t
    log_alpha = -BETA_MIN / 2 * t - (BETA_MAX - BETA_MIN) / 4 * t**2  # minus half the integral of beta
    alpha, sigma = log_alpha.exp(), (-torch.expm1(2 * log_alpha)).sqrt()
    return Coefficients(alpha, sigma, -beta / 2 * alpha, beta / 2 * alpha**2 / sigma)


INTERPOLANTS: dict[str, Interpolant] = {"linear": linear, "GVP": gvp, "SBDM-VP": sbdm_vp}


class SiT(nn.Module):
    """v_theta: DiT, told a time in 0..1 and taught the velocity."""

    def __init__(self) -> None:
        super().__init__()
        self.dit = DiT((8, 8, 16))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, dropped: Tensor | None = None) -> Tensor:
        v: Tensor = self.dit(x, 1000 * t, labels, dropped)  # its time embedding expects DDPM's steps
        return v


def loss(v_theta: nn.Module, batch: ToyBatch, noise: torch.Generator, *, interpolant: Interpolant) -> dict[str, Tensor]:
    """L_v, Eq. 7: |v_theta(x_t, t) - (alpha' x_0 + sigma' eps)|^2 at a uniform time."""
    t = EARLIEST + (1 - EARLIEST) * torch.rand(len(batch.x), generator=noise)
    eps = torch.randn(batch.x.shape, generator=noise)
    dropped = torch.rand(len(batch.x), generator=noise) < DROPPED  # as dit.py, so that the two compare
    c = interpolant(t.reshape(-1, *[1] * (batch.x.ndim - 1)))
    v = v_theta(c.alpha * batch.x + c.sigma * eps, t, batch.labels, dropped)
    return {"loss": (v.float() - (c.d_alpha * batch.x + c.d_sigma * eps)).square().mean()}


def score(v: Tensor, x: Tensor, c: Coefficients) -> Tensor:
    """The score, which the velocity determines, Eq. 9: no second network is needed.

    v = alpha' E[x_0 | x_t] + sigma' E[eps | x_t] and x_t = alpha E[x_0 | x_t] + sigma E[eps | x_t]
    are two equations for two means, and s = -E[eps | x_t] / sigma.
    """
    return (c.alpha * v - c.d_alpha * x) / (c.sigma * (c.d_alpha * c.sigma - c.alpha * c.d_sigma))


def ode(v: Velocity, x: Tensor, times: Sequence[float], *, sampler: Sampler) -> Tensor:
    """Probability flow, Eq. 2: dX_t = v(X_t, t) dt, from noise to data.

    The samplers of diffusion/ follow the slope (x - x0) / t. With x0 = x - t v it is v, whatever
    the interpolant; for the linear one that x0 is also the mean of the data.
    """
    return sampler(lambda x, t: x0_from_velocity(x, v(x, t), t), x, times)


def sde(
    v: Velocity, x: Tensor, times: Sequence[float], noise: torch.Generator, *, interpolant: Interpolant, w: Diffusion
) -> Tensor:
    """Reverse-time SDE, Eq. 4, by Euler-Maruyama: dX_t = (v - w_t s / 2) dt + sqrt(w_t) dW_t.

    It runs backwards. Its marginals are those of the ODE for any w_t >= 0, so w_t is chosen after
    training. The last step would add noise to the result; it is the mean of the data instead.
    """
    for t, following in pairwise(times):
        c, now = interpolant(torch.tensor(t)), torch.full((len(x),), t)
        velocity = v(x, now)
        s = score(velocity, x, c)
        if following == 0:
            x = (x + c.sigma**2 * s) / c.alpha  # Tweedie's formula, E[x_0 | x_t]
            continue
        w_t, dt = w(t, c), t - following
        x = x - (velocity - w_t * s / 2) * dt + (w_t * dt).sqrt() * torch.randn(x.shape, generator=noise)
    return x


Diffusion = Callable[[float, Coefficients], Tensor]  # w_t
DIFFUSIONS: dict[str, Diffusion] = {
    "sigma": lambda t, c: c.sigma,
    "sin^2": lambda t, c: torch.tensor(pi * t).sin() ** 2,
}


def sample_ode(models: Models, ask: Ask, *, stage: Stage, sampler: Sampler, steps: int) -> Tensor:
    return ode(_velocity(models, ask, stage), ask.normal(*stage.toy.shape), schedule(steps), sampler=sampler)


def sample_sde(models: Models, ask: Ask, *, stage: Stage, w: Diffusion, steps: int) -> Tensor:
    x = ask.normal(*stage.toy.shape)
    return sde(_velocity(models, ask, stage), x, schedule(steps), ask.noise, interpolant=linear, w=w)


def _velocity(models: Models, ask: Ask, stage: Stage) -> Velocity:
    return lambda x, t: models[stage.name](x, t, ask.labels).float()


def _stage(name: str, interpolant: Interpolant, share: float) -> Stage:
    return Stage(
        name=name,
        toy=LATENT_PICTURES_64,
        build=lambda models: SiT(),
        loss=partial(loss, interpolant=interpolant),
        share=share,
    )


def _row(name: str, stage: Stage, sample: Callable[..., Tensor], **how: object) -> Row:
    return Row(name=name, sample=partial(sample, stage=stage, **how), stages=(stage,), toy=LATENT_PICTURES_64)


SIT = _stage("sit", linear, 1.0)
COMPARED = {name: _stage(f"sit-{name.lower()}", each, 0.3) for name, each in INTERPOLANTS.items()}

ENTRY = Entry(
    name="sit",
    title="SiT",
    paper=Paper(
        authors="Ma, Goldstein, Albergo, Boffi, Vanden-Eijnden and Xie",
        year=2024,
        title="SiT: Exploring Flow and Diffusion-based Generative Models with Scalable Interpolant Transformers",
        arxiv="2401.08740",
    ),
    family="transformers",
    new="DiT taught a velocity along an interpolant of one's choice, sampled by an ODE or an SDE.",
    after=("dit", "score_sde"),
    stages=(SIT, *COMPARED.values()),
    rows=(
        _row("SiT, ODE, Heun, 10 steps", SIT, sample_ode, sampler=heun, steps=10),
        _row("SiT, ODE, Euler, 20 steps", SIT, sample_ode, sampler=euler, steps=20),
        *(_row(f"SiT, SDE, w = {name}, 20 steps", SIT, sample_sde, w=w, steps=20) for name, w in DIFFUSIONS.items()),
        _row("SiT, SDE, w = sigma, 100 steps", SIT, sample_sde, w=DIFFUSIONS["sigma"], steps=100),
        *(
            _row(f"SiT, 0.3 of the budget, {name}", stage, sample_ode, sampler=heun, steps=10)
            for name, stage in COMPARED.items()
        ),
    ),
)
