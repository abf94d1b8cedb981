"""DiT: scalable diffusion models with transformers.

Peebles and Xie 2022, arXiv:2212.09748.

What was new: the U-Net is not needed. A plain transformer on patches of a latent picture denoises
better the more FLOPs it has, and what it is told (step and class) enters best as the scale and
shift of its norms, with gates that begin at zero (adaLN-Zero). It is the network of Sora; the
house's own (dit/) is its grandchild. Before it: latent diffusion (latent_diffusion.py), and U-ViT
(uvit.py), which kept skip connections. After it: SiT (sit.py), FiT (fit.py), Latte (latte.py).

Smaller here: latents of 64x64 pictures, 8x8x16, of the house's VAE, and 1.9 million parameters for
the 33 to 675 of the paper. The four ways to tell the network (section 3.2, Figure 5) are trained on
a share of the budget each, the best on all of it.

    in-context       step and class are two more tokens, removed after the last block
    cross-attention  the two are the context of a cross-attention after each self-attention
    adaLN            they give scale and shift of the norms
    adaLN-Zero       and gates, which begin at zero, so that every block begins as the identity

The paper also learns the variances; here they are fixed, and the samples are DDIM's (ddim.py).
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from minisora.zoo.ddim import denoised
from minisora.zoo.ddpm import loss
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import LATENT_PICTURES_64
from minisora.zoo.nets.attention import Attention
from minisora.zoo.nets.embed import ClassEmbedding, TimeEmbedding
from minisora.zoo.nets.guidance import guided
from minisora.zoo.nets.transformer import Block, Head, mlp, patches, pictures, positions

Conditioning = Literal["in-context", "cross-attention", "adaLN", "adaLN-Zero"]
WIDTH, DEPTH, HEADS = 128, 6, 4
STEPS = 20
GUIDANCE = 2.0
DROPPED = 0.1  # share of the samples that are shown no class, for guidance


class DiT(nn.Module):
    """eps_theta: latents (B, H, W, C) at steps (B,) with labels to the noise in them."""

    def __init__(self, shape: tuple[int, int, int], how: Conditioning = "adaLN-Zero", *, patch: int = 1) -> None:
        super().__init__()
        height, width, channels = shape
        self.shape, self.patch, self.how = shape, patch, how
        self.enter = nn.Linear(patch * patch * channels, WIDTH)
        self.register_buffer("places", positions(height // patch, width // patch, WIDTH))
        self.time, self.label = TimeEmbedding(WIDTH), ClassEmbedding(WIDTH)
        self.blocks = nn.ModuleList([_block(how) for _ in range(DEPTH)])
        self.head = Head(WIDTH, patch * patch * channels)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, dropped: Tensor | None = None) -> Tensor:
        time, label = self.time(t), self.label(labels, dropped)
        h = self.enter(patches(x, self.patch)) + self.places
        if self.how == "in-context":
            h = torch.cat([time[:, None], label[:, None], h], 1)
        told = torch.stack([time, label], 1) if self.how == "cross-attention" else time + label
        for block in self.blocks:
            h = block(h, told)
        if self.how == "in-context":
            h = h[:, 2:]
        return pictures(self.head(h, time + label), self.patch, self.shape)


class PlainBlock(nn.Module):
    """A block of ViT; with cross-attention to what the network is told, or without."""

    def __init__(self, *, crosses: bool) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.attention = Attention(WIDTH, WIDTH, WIDTH // HEADS, zero=False)
        self.cross = Attention(WIDTH, WIDTH, WIDTH // HEADS, zero=False) if crosses else None
        self.mlp = mlp(WIDTH)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.attention(h, h)
        if self.cross is not None:
            x = x + self.cross(self.norm2(x), told)
        forwarded: Tensor = x + self.mlp(self.norm3(x))
        return forwarded


class AdaLNBlock(Block):
    """adaLN: as adaLN-Zero with all gates at one."""

    def forward(self, x: Tensor, embedding: Tensor, mask: Tensor | None = None) -> Tensor:
        shift1, scale1, _, shift2, scale2, _ = self.modulation(embedding)[:, None].chunk(6, -1)
        h = self.norm1(x) * (1 + scale1) + shift1
        x = x + self.attention(h, h, mask)
        forwarded: Tensor = x + self.mlp(self.norm2(x) * (1 + scale2) + shift2)
        return forwarded


def _block(how: Conditioning) -> nn.Module:
    if how == "adaLN-Zero":
        return Block(WIDTH, HEADS)
    return AdaLNBlock(WIDTH, HEADS) if how == "adaLN" else PlainBlock(crosses=how == "cross-attention")


def sample(models: Models, ask: Ask, *, stage: Stage, guidance: float = 1.0) -> Tensor:
    """DDIM, with classifier-free guidance."""
    return denoised(guided(models[stage.name], guidance), ask.normal(*LATENT_PICTURES_64.shape), ask, steps=STEPS)


def _stage(name: str, how: Conditioning, share: float) -> Stage:
    return Stage(
        name=name,
        toy=LATENT_PICTURES_64,
        build=lambda models: DiT((8, 8, 16), how),
        loss=partial(loss, dropped=DROPPED),
        share=share,
    )


WAYS: tuple[Conditioning, ...] = ("in-context", "cross-attention", "adaLN", "adaLN-Zero")
DIT = _stage("dit", "adaLN-Zero", 1.0)
COMPARED = {how: _stage(f"dit-{how.lower()}", how, 0.3) for how in WAYS}

ENTRY = Entry(
    name="dit",
    title="DiT",
    paper=Paper(
        authors="Peebles and Xie", year=2022, title="Scalable Diffusion Models with Transformers", arxiv="2212.09748"
    ),
    family="transformers",
    new="A plain transformer denoises latents; step and class enter as scale, shift and gate of its norms.",
    after=("latent_diffusion",),
    stages=(DIT, *COMPARED.values()),
    rows=(
        Row(name="DiT", sample=partial(sample, stage=DIT), stages=(DIT,), toy=LATENT_PICTURES_64),
        Row(
            name=f"DiT, guidance {GUIDANCE:g}",
            sample=partial(sample, stage=DIT, guidance=GUIDANCE),
            stages=(DIT,),
            toy=LATENT_PICTURES_64,
        ),
        *(
            Row(
                name=f"DiT, 0.3 of the budget, {how}",
                sample=partial(sample, stage=stage),
                stages=(stage,),
                toy=LATENT_PICTURES_64,
            )
            for how, stage in COMPARED.items()
        ),
    ),
)
