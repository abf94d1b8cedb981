"""DDPM: denoising diffusion probabilistic models.

Ho, Jain and Abbeel 2020, arXiv:2006.11239.

What was new: a latent-variable model whose encoder only adds noise, in T small steps, and whose
decoder learns one thing, the noise in x_t, by the plain squared error L_simple (Eq. 14). It was the
first diffusion model whose pictures were as good as a GAN's. Before it came score matching with
Langevin dynamics (Song and Ermon 2019) and the bound of Sohl-Dickstein et al. 2015. After it:
fewer steps (ddim.py), the view in continuous time (score_sde.py), guidance
(guided_diffusion.py), better preconditioning (edm.py).

Smaller here: 32x32 pictures of one thing, a U-Net of 2.7 million parameters for 35.7, minutes for
the 10.6 hours of eight TPU cores; the class is given, so that a score can be read. The 1000 steps
of training stay; sampling them all would take an hour, so it visits every tenth or fiftieth, with
the variances of the shorter chain (Nichol and Dhariwal 2021, arXiv:2102.09672, section 4).

In the paper's symbols x_0 is data, x_T noise and t a step in 1..T; here it counts from 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import PICTURES_32, ToyBatch
from minisora.zoo.nets.embed import ClassEmbedding, TimeEmbedding
from minisora.zoo.nets.unet import UNet, UNetConfig

T = 1000
BETA = torch.linspace(1e-4, 0.02, T)  # section 4
Epsilon = Callable[[Tensor, Tensor, Tensor], Tensor]  # x_t, t (B,), labels -> the noise in x_t
ALPHA_BAR = (1 - BETA).cumprod(0)  # Eq. 4: q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, 1 - alpha_bar_t)


class EpsilonNet(nn.Module):
    """eps_theta(x_t, t): the noise in x_t. x: (B, H, W, 3), t: (B,) in 0..T-1"""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.time, self.label = TimeEmbedding(config.embedding), ClassEmbedding(config.embedding)
        self.unet = UNet(config)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, dropped: Tensor | None = None) -> Tensor:
        eps: Tensor = self.unet(x, self.time(t) + self.label(labels, dropped))
        return eps


def noised(x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """Eq. 4: x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps. t: (B,)"""
    alpha_bar = ALPHA_BAR[t].reshape(-1, *[1] * (x_0.ndim - 1))
    return alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps


def loss(eps_theta: nn.Module, batch: ToyBatch, noise: torch.Generator, *, dropped: float = 0.0) -> dict[str, Tensor]:
    """L_simple, Eq. 14 and Algorithm 1: |eps - eps_theta(x_t, t)|^2 at a uniform step.

    dropped: share of the samples that are shown no class, for classifier-free guidance
    """
    t = torch.randint(T, (len(batch.x),), generator=noise)
    eps = torch.randn(batch.x.shape, generator=noise)
    without = torch.rand(len(batch.x), generator=noise) < dropped
    predicted = eps_theta(noised(batch.x, eps, t), t, batch.labels, without)
    return {"loss": (predicted.float() - eps).square().mean()}


def sample(models: Models, ask: Ask, *, steps: int) -> Tensor:
    """Ancestral sampling, Algorithm 2, on `steps` evenly spaced of the T steps.

    The estimate of x_0 is clipped to the range of pixels, as the authors' code does.
    """
    eps_theta = models[STAGE.name]
    x = ask.normal(*PICTURES_32.shape)
    visited = spaced(steps)
    for n in reversed(range(steps)):
        alpha_bar = ALPHA_BAR[visited[n]]
        before = ALPHA_BAR[visited[n - 1]] if n else torch.tensor(1.0)
        beta = 1 - alpha_bar / before  # of the shorter chain
        eps = eps_theta(x, visited[n].expand(len(x)), ask.labels).float()
        x_0 = ((x - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()).clamp(-1, 1)  # Eq. 15
        # Eq. 7: q(x_{t-1} | x_t, x_0), its mean and its variance beta tilde
        x = (before.sqrt() * beta * x_0 + (1 - beta).sqrt() * (1 - before) * x) / (1 - alpha_bar)
        if n:
            x = x + (beta * (1 - before) / (1 - alpha_bar)).sqrt() * ask.normal(*PICTURES_32.shape)
    return x


def spaced(steps: int) -> Tensor:
    """`steps` steps evenly spaced in 0..T-1, the last among them."""
    return torch.linspace(T - 1, 0, steps + 1)[:-1].round().long().flip(0) if steps < T else torch.arange(T)


STAGE = Stage(name="ddpm", toy=PICTURES_32, build=lambda models: EpsilonNet(UNetConfig()), loss=loss)

ENTRY = Entry(
    name="ddpm",
    title="DDPM",
    paper=Paper(
        authors="Ho, Jain and Abbeel",
        year=2020,
        title="Denoising Diffusion Probabilistic Models",
        arxiv="2006.11239",
    ),
    family="diffusion",
    new="A network that predicts the noise in a picture, trained by its squared error, generates.",
    stages=(STAGE,),
    rows=tuple(
        Row(name=f"DDPM, {steps} steps", sample=partial(sample, steps=steps), stages=(STAGE,), toy=PICTURES_32)
        for steps in (20, 100)
    ),
)
