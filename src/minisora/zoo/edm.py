"""EDM: elucidating the design space of diffusion-based generative models.

Karras, Aittala, Aila and Laine 2022, arXiv:2206.00364.

What was new: the choices that earlier papers make together (ddpm.py, ddim.py, score_sde.py) are
taken apart, as the sampler need not know how its network was trained, and each is made anew. A
denoiser D(x; sigma) is all that sampling asks for; with sigma(t) = t the ODE bends little, a
second-order solver follows it in few steps, and steps spaced by sigma^(1/7) go where they are
needed. A preconditioned network has inputs and targets of unit variance at every noise level, with
a loss that weighs all levels alike and draws most samples from where there is something to learn.
Heun's method here is the house's first sampler (diffusion/samplers.py). After it: SiT (sit.py),
which asks the same questions of straight paths.

Smaller here: the network is that of ddpm.py, for 32x32 pictures, and no augmentation. To show that
sampler and training are separate (section 3), the network that DDPM trained is sampled too.

In the paper's symbols y is data, n noise, x = y + n, and F_theta the network within D_theta.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from minisora.zoo import ddpm
from minisora.zoo.ddpm import ALPHA_BAR, EpsilonNet
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import PICTURES_32, ToyBatch
from minisora.zoo.nets.unet import UNetConfig

SIGMA_DATA = 0.4  # standard deviation of the pixels; 0.5 in the paper
SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0  # Table 1
P_MEAN, P_STD = -1.2, 1.2  # of ln sigma in training, Table 1
STEPS = 10  # 19 evaluations of Heun's method
S_CHURN, S_MIN, S_MAX, S_NOISE = 2.0, 0.05, 50.0, 1.003  # Table 5, ImageNet; its churn is 40 for 256 steps
Denoise = Callable[[Tensor, Tensor], Tensor]  # x, sigma (B,) -> D(x; sigma)


class DTheta(nn.Module):
    """D_theta(x; sigma): the clean picture in x. x: (B, H, W, 3), sigma: (B,)"""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.F_theta = EpsilonNet(config)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        c_skip, c_out, c_in, c_noise = preconditioning(sigma.reshape(-1, 1, 1, 1))
        F: Tensor = self.F_theta(c_in * x, c_noise.flatten(), labels).float()
        return c_skip * x + c_out * F  # Eq. 7


def preconditioning(sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in and c_noise of Table 1, derived in appendix B.6."""
    variance = sigma**2 + SIGMA_DATA**2  # of x
    c_skip = SIGMA_DATA**2 / variance
    c_out = sigma * SIGMA_DATA / variance.sqrt()
    return c_skip, c_out, 1 / variance.sqrt(), sigma.log() / 4


def loss(D_theta: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """lambda(sigma) |D(y + n; sigma) - y|^2, Eq. 2, with ln sigma normal and lambda of Table 1."""
    sigma = (P_MEAN + P_STD * torch.randn(len(batch.x), generator=noise)).exp()
    n = sigma.reshape(-1, 1, 1, 1) * torch.randn(batch.x.shape, generator=noise)
    weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2  # 1 / c_out^2: as Eq. 8, on F_theta
    error = (D_theta(batch.x + n, sigma, batch.labels) - batch.x).square().mean((1, 2, 3))
    return {"loss": (weight * error).mean()}


def sigmas(steps: int, *, lowest: float = SIGMA_MIN) -> list[float]:
    """Noise levels that the sampler visits, Eq. 5, the last of them 0."""
    ends = SIGMA_MAX ** (1 / RHO), lowest ** (1 / RHO)
    return [(ends[0] + i / (steps - 1) * (ends[1] - ends[0])) ** RHO for i in range(steps)] + [0.0]


def sampled(D: Denoise, x: Tensor, t: Sequence[float], *, churn: float = 0.0, noise: torch.Generator) -> Tensor:
    """Algorithm 2; with churn = 0 it is Algorithm 1, Heun's method.

    x: (B, *) standard normal; t: decreasing noise levels; noise: for churn
    """

    def slope(x: Tensor, sigma: float) -> Tensor:
        return (x - D(x, torch.full((len(x),), sigma))) / sigma  # dx/dt of Eq. 4 for sigma(t) = t, s(t) = 1

    x = t[0] * x
    for now, after in pairwise(t):
        gamma = min(churn / (len(t) - 1), math.sqrt(2) - 1) if S_MIN <= now <= S_MAX else 0.0
        t_hat = now + gamma * now  # noise is added first, up to t_hat
        if gamma > 0:
            x = x + math.sqrt(t_hat**2 - now**2) * S_NOISE * torch.randn(x.shape, generator=noise)
        d = slope(x, t_hat)
        if after > 0:  # the trapezoidal rule; the last step is Euler's
            d = (d + slope(x + (after - t_hat) * d, after)) / 2
        x = x + (after - t_hat) * d
    return x


def sample(models: Models, ask: Ask, *, churn: float = 0.0) -> Tensor:
    D_theta = models[STAGE.name]
    x = ask.normal(*PICTURES_32.shape)
    return sampled(lambda x, sigma: D_theta(x, sigma, ask.labels), x, sigmas(STEPS), churn=churn, noise=ask.noise)


def of_ddpm(eps_theta: nn.Module, labels: Tensor) -> Denoise:
    """The denoiser in DDPM's network: its states are x / sqrt(1 + sigma^2).

    Table 1, iDDPM + DDIM: the network is asked at the nearest of its levels of noise.
    """
    levels = ((1 - ALPHA_BAR) / ALPHA_BAR).sqrt()  # sigma of each step

    def D(x: Tensor, sigma: Tensor) -> Tensor:
        t = (levels - sigma[0]).abs().argmin().expand(len(x))
        scale = sigma.reshape(-1, 1, 1, 1)
        eps: Tensor = eps_theta(x / (1 + scale**2).sqrt(), t, labels).float()
        return x - scale * eps

    return D


def sample_ddpm(models: Models, ask: Ask) -> Tensor:
    D = of_ddpm(models[ddpm.STAGE.name], ask.labels)
    lowest = float((1 / ALPHA_BAR[0] - 1).sqrt())  # the least noise that this network was shown
    return sampled(D, ask.normal(*PICTURES_32.shape), sigmas(STEPS, lowest=lowest), noise=ask.noise)


STAGE = Stage(name="edm", toy=PICTURES_32, build=lambda models: DTheta(UNetConfig()), loss=loss)

ENTRY = Entry(
    name="edm",
    title="EDM",
    paper=Paper(
        authors="Karras, Aittala, Aila and Laine",
        year=2022,
        title="Elucidating the Design Space of Diffusion-Based Generative Models",
        arxiv="2206.00364",
    ),
    family="diffusion",
    new="A preconditioned denoiser, and a second-order sampler that needs to know nothing of its training.",
    after=("ddpm", "ddim", "score_sde"),
    stages=(STAGE, ddpm.STAGE),
    rows=(
        Row(name="EDM, Heun, 19 evaluations", sample=sample, stages=(STAGE,), toy=PICTURES_32),
        Row(
            name=f"EDM, churn {S_CHURN:g}, 19 evaluations",
            sample=partial(sample, churn=S_CHURN),
            stages=(STAGE,),
            toy=PICTURES_32,
        ),
        Row(
            name="DDPM's network, EDM's sampler, 19 evaluations",
            sample=sample_ddpm,
            stages=(ddpm.STAGE,),
            toy=PICTURES_32,
        ),
    ),
)
