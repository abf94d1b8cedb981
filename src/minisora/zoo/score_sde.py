"""Score SDE: score-based generative modeling through stochastic differential equations.

Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole 2020, arXiv:2011.13456.

What was new: one view of what stood apart. Noise is added by a stochastic differential equation;
score matching with Langevin dynamics (Song and Ermon 2019) is the one whose variance explodes (VE),
DDPM (ddpm.py) the one that preserves it (VP). Its reverse in time needs the score alone, so each
solver is a sampler: a predictor takes the step, a corrector pulls the state back to its marginal.
And an ODE has the same marginals: it samples without noise (DDIM, ddim.py, is a solver of it) and
gives exact likelihoods. After it: guidance by a classifier (guided_diffusion.py), better noise
levels and solvers (edm.py), straight paths (sit.py).

Smaller here: one network is trained, for VE. That of VP is DDPM's own, whose 1000 steps are the
SDE at steps of 1/1000, as section 3.4 shows. Some tens of steps for 1000 to 2000, evenly spaced
for VE, denser towards the data for VP; Heun's method for an adaptive solver of order five.

In the paper's symbols dx = f(x, t) dt + g(t) dw, t runs from 0 (data) to 1 (noise), and s_theta is
the score; the network predicts the noise, z = -sigma(t) s_theta.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from minisora.zoo import ddpm
from minisora.zoo.ddpm import EpsilonNet
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import PICTURES_32, ToyBatch, batch_of
from minisora.zoo.nets.unet import UNetConfig

SIGMA_MIN, SIGMA_MAX = 0.01, 50.0  # VE: appendix C, and the authors' code for CIFAR-10
BETA_MIN, BETA_MAX = 0.1, 20.0  # VP, appendix C: DDPM's, times its 1000 steps
SNR = 0.16  # r of the corrector, appendix G; Table 5: 0.16 or 0.17 for VE, 0.01 for VP
Score = Callable[[Tensor, Tensor], Tensor]  # x, t () -> grad_x log p_t(x)
Moment = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class SDE:
    """dx = f(t) x dt + g(t) dw, Eq. 5; x(t) given x(0) is N(alpha x(0), sigma^2), Eq. 29.

    start: the least time that is visited; bend: how much denser times are towards it
    """

    f: Moment
    g2: Moment
    alpha: Moment
    sigma: Moment
    start: float
    bend: float

    def times(self, steps: int) -> Tensor:
        """steps + 1 times, from `start` to 1."""
        return self.start + (1 - self.start) * torch.linspace(0, 1, steps + 1, dtype=torch.float64) ** self.bend

    @property
    def prior(self) -> float:
        """Standard deviation at t = 1, where the mean is forgotten."""
        return float(self.sigma(torch.tensor(1.0)))

    def velocity(self, score: Score, x: Tensor, t: Tensor) -> Tensor:
        """dx/dt of the probability flow ODE, Eq. 13."""
        return (self.f(t) * x - self.g2(t) / 2 * score(x, t)).to(x.dtype)


def _ve_sigma(t: Tensor) -> Tensor:
    return SIGMA_MIN * (SIGMA_MAX / SIGMA_MIN) ** t


def _vp_alpha(t: Tensor) -> Tensor:
    return torch.exp(-(t**2) * (BETA_MAX - BETA_MIN) / 4 - t * BETA_MIN / 2)


def _beta(t: Tensor) -> Tensor:
    return BETA_MIN + t * (BETA_MAX - BETA_MIN)


VE = SDE(
    f=torch.zeros_like,
    g2=lambda t: 2 * math.log(SIGMA_MAX / SIGMA_MIN) * _ve_sigma(t) ** 2,  # Eq. 9: d sigma^2 / dt
    alpha=torch.ones_like,
    sigma=_ve_sigma,
    start=0.0,
    bend=1.0,
)
VP = SDE(
    f=lambda t: -_beta(t) / 2,  # Eq. 11
    g2=_beta,
    alpha=_vp_alpha,
    sigma=lambda t: (1 - _vp_alpha(t) ** 2).sqrt(),
    start=1e-3,
    bend=2.0,
)


def loss(z_theta: nn.Module, batch: ToyBatch, noise: torch.Generator, *, sde: SDE) -> dict[str, Tensor]:
    """Denoising score matching, Eq. 7, weighted by sigma^2: the squared error of z = -sigma s."""
    t = torch.rand(len(batch.x), generator=noise)
    z = torch.randn(batch.x.shape, generator=noise)
    wide = t.reshape(-1, 1, 1, 1)
    x_t = sde.alpha(wide) * batch.x + sde.sigma(wide) * z
    return {"loss": (z_theta(x_t, _step(t), batch.labels).float() - z).square().mean()}


def _step(t: Tensor) -> Tensor:
    """Times as the network reads them: steps of DDPM, 0..T-1."""
    return ddpm.T * t - 1


def score_of(z_theta: nn.Module, sde: SDE, labels: Tensor) -> Score:
    def s_theta(x: Tensor, t: Tensor) -> Tensor:
        z: Tensor = z_theta(x, _step(t).float().expand(len(x)), labels).float()
        return -z / sde.sigma(t)

    return s_theta


def reverse(sde: SDE, score: Score, x: Tensor, t: Tensor, s: Tensor, noise: torch.Generator) -> Tensor:
    """Predictor: the reverse-time SDE, Eq. 6, from t to s < t, as ancestral sampling (appendix F).

    x(s) is drawn given x(t) and the estimate of x(0) that the score makes.
    """
    ratio = sde.alpha(t) / sde.alpha(s)
    added = sde.sigma(t) ** 2 - ratio**2 * sde.sigma(s) ** 2  # variance of x(t) given x(s)
    mean = (x + added * score(x, t)) / ratio
    spread = sde.sigma(s) * added.sqrt() / sde.sigma(t)
    return (mean + spread * torch.randn(x.shape, generator=noise)).to(x.dtype)


def corrected(score: Score, x: Tensor, t: Tensor, noise: torch.Generator) -> Tensor:
    """Corrector: a step of Langevin dynamics, Algorithms 4 (VE) and 5 (VP).

    The latter's factor alpha_i is that of one step of 1000, here 1.
    """
    g, z = score(x, t), torch.randn(x.shape, generator=noise)
    ratio = z.flatten(1).norm(dim=1).mean() / g.flatten(1).norm(dim=1).mean()
    step = 2 * (SNR * ratio) ** 2
    return (x + step * g + (2 * step).sqrt() * z).to(x.dtype)


def solved(sde: SDE, score: Score, x: Tensor, *, steps: int, noise: torch.Generator, corrects: bool) -> Tensor:
    """Algorithm 1, with the corrector before the predictor, as in the authors' code, or without."""
    times = sde.times(steps).flip(0)
    for t, s in pairwise(times):
        if corrects:
            x = corrected(score, x, t, noise)
        x = reverse(sde, score, x, t, s, noise)
    return denoised(sde, score, x, times[-1])


def flowed(sde: SDE, score: Score, x: Tensor, times: Tensor) -> Tensor:
    """The probability flow ODE along times in either direction, by Heun's method."""
    for t, s in pairwise(times):
        v = sde.velocity(score, x, t)
        x = x + (s - t).to(x.dtype) * (v + sde.velocity(score, x + (s - t).to(x.dtype) * v, s)) / 2
    return x


def denoised(sde: SDE, score: Score, x: Tensor, t: Tensor) -> Tensor:
    """The mean of x(0) given x(t), by Tweedie's formula: it removes the last noise, appendix G."""
    return ((x + sde.sigma(t) ** 2 * score(x, t)) / sde.alpha(t)).to(x.dtype)


def log_likelihood(sde: SDE, score: Score, x: Tensor, *, steps: int, noise: torch.Generator) -> Tensor:
    """log p(x) of each sample, in nats: the ODE's end under the prior, and its volume change.

    Eq. 39; the divergence is estimated by epsilon^T (dv/dx) epsilon with one random vector of
    signs (Eq. 40, Skilling and Hutchinson).
    """
    epsilon = torch.randint(0, 2, x.shape, generator=noise).to(x.dtype) * 2 - 1

    def slope(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            v = sde.velocity(score, x, t)
            product = torch.autograd.grad((v * epsilon).sum(), x)[0]
        return v.detach(), (product * epsilon).flatten(1).sum(1)

    change = torch.zeros(len(x), dtype=x.dtype)
    for t, s in pairwise(sde.times(steps)):
        h = (s - t).to(x.dtype)
        v, div = slope(x, t)
        v_end, div_end = slope(x + h * v, s)
        x, change = x + h * (v + v_end) / 2, change + h * (div + div_end) / 2
    prior = torch.distributions.Normal(0.0, sde.prior).log_prob(x).flatten(1).sum(1)
    return prior + change


def figures(models: Models, seed: int) -> dict[str, float]:
    """Bits per dimension of held-out pictures given their class, with uniform dequantisation.

    Of the marginal at `start`, the least noise that is modelled, as in appendix D.2.
    """
    batch, rng = batch_of(PICTURES_32, range(16), split="held_out"), torch.Generator().manual_seed(seed)
    x = batch.x + (torch.rand(batch.x.shape, generator=rng) - 0.5) / 127.5
    bits = {}
    for name, sde, stage in (("VE", VE, STAGE), ("VP", VP, ddpm.STAGE)):
        nats = log_likelihood(sde, score_of(models[stage.name], sde, batch.labels), x, steps=40, noise=rng)
        bits[f"bits per dimension, {name}"] = math.log2(127.5) - float(nats.mean()) / x[0].numel() / math.log(2)
    return bits


def sample(models: Models, ask: Ask, *, sde: SDE, stage: Stage, steps: int, how: str) -> Tensor:
    score = score_of(models[stage.name], sde, ask.labels)
    x = sde.prior * ask.normal(*PICTURES_32.shape)
    if how == "probability flow":
        return flowed(sde, score, x, sde.times(steps).flip(0))
    return solved(sde, score, x, steps=steps, noise=ask.noise, corrects=how == "predictor-corrector")


STAGE = Stage(name="ve-sde", toy=PICTURES_32, build=lambda models: EpsilonNet(UNetConfig()), loss=partial(loss, sde=VE))

ENTRY = Entry(
    name="score_sde",
    title="Score SDE",
    paper=Paper(
        authors="Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole",
        year=2020,
        title="Score-Based Generative Modeling through Stochastic Differential Equations",
        arxiv="2011.13456",
    ),
    family="diffusion",
    new="Noise is an SDE; its reverse samples, and an ODE of the same marginals gives likelihoods.",
    after=("ddpm", "ddim"),
    stages=(STAGE, ddpm.STAGE),
    rows=tuple(
        Row(
            name=f"{name}, {how}, {evaluations} evaluations",
            sample=partial(sample, sde=sde, stage=stage, steps=steps, how=how),
            stages=(stage,),
            toy=PICTURES_32,
        )
        for name, sde, stage, how, steps, evaluations in (
            ("VE", VE, STAGE, "predictor", 60, 61),
            ("VE", VE, STAGE, "predictor-corrector", 30, 61),
            ("VE", VE, STAGE, "probability flow", 10, 20),
            ("VP", VP, ddpm.STAGE, "predictor-corrector", 30, 61),
            ("VP", VP, ddpm.STAGE, "probability flow", 10, 20),
        )
    ),
    figures=figures,
)
