"""U-ViT: all are worth words, a ViT backbone for diffusion models.

Bao, Nie, Xue, Cao, Li, Su and Zhu 2022, arXiv:2209.12152.

What was new: a plain vision transformer can be the network of a diffusion model, if it keeps one
thing of the U-Net (ddpm.py), the long skip connections from shallow to deep blocks; downsampling
and upsampling are not needed. Everything it is told, time, class and noisy patches alike, is a
token. After it: DiT (dit.py, three months later), which dropped the skips too and brought the time
back into the norms, where it has stayed.

Smaller here: latents of 64x64 pictures, 8x8x16, of the house's VAE, at the width of dit.py, so that
the two compare. The paper's choices (section 3.1) are each undone on a share of the budget; the
network as published is trained on all of it, but for its last convolution, which begins as the
identity: at random it costs a hundred steps, nothing to the paper's hundreds of thousands.

    skips   the skip is concatenated and projected; or added; or there is none
    time    a token; or scale and shift of the norms (adaLN)
    conv    a 3x3 convolution after the last projection, against seams between patches; or none
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from minisora.zoo import dit
from minisora.zoo.ddpm import loss
from minisora.zoo.dit import AdaLNBlock, PlainBlock
from minisora.zoo.frame.entry import Entry, Paper, Row, Stage
from minisora.zoo.frame.sets import LATENT_PICTURES_64
from minisora.zoo.nets.embed import ClassEmbedding, TimeEmbedding
from minisora.zoo.nets.transformer import patches, pictures

WIDTH, HEADS = dit.WIDTH, dit.HEADS
DEPTH = 7  # odd: three blocks, a middle one, three that read the skips of the first


@dataclass(frozen=True, kw_only=True)
class Choices:
    skips: Literal["concatenated", "added", "none"] = "concatenated"
    time: Literal["token", "adaLN"] = "token"
    conv: bool = True


class UViT(nn.Module):
    """eps_theta: latents (B, H, W, C) at steps (B,) with labels to the noise in them."""

    def __init__(self, shape: tuple[int, int, int], choices: Choices, *, patch: int = 1) -> None:
        super().__init__()
        height, width, channels = shape
        self.shape, self.patch, self.choices = shape, patch, choices
        self.enter = nn.Linear(patch * patch * channels, WIDTH)
        self.time, self.label = TimeEmbedding(WIDTH), ClassEmbedding(WIDTH)
        self.told = 2 if choices.time == "token" else 1  # tokens before those of the picture
        places = self.told + height * width // patch**2
        self.places = nn.Parameter(0.02 * torch.randn(places, WIDTH))  # learnt, one for every token
        self.shallow, self.deep = (nn.ModuleList([self._block() for _ in range(DEPTH // 2)]) for _ in range(2))
        self.middle = self._block()
        joins = DEPTH // 2 if choices.skips == "concatenated" else 0
        self.join = nn.ModuleList([nn.Linear(2 * WIDTH, WIDTH) for _ in range(joins)])
        self.norm, self.leave = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, patch * patch * channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if choices.conv else nn.Identity()
        if isinstance(self.conv, nn.Conv2d):
            nn.init.dirac_(self.conv.weight)

    def _block(self) -> nn.Module:
        return PlainBlock(crosses=False) if self.choices.time == "token" else AdaLNBlock(WIDTH, HEADS)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, dropped: Tensor | None = None) -> Tensor:
        time, label = self.time(t), self.label(labels, dropped)
        told = [time, label] if self.choices.time == "token" else [label]
        h = torch.cat([torch.stack(told, 1), self.enter(patches(x, self.patch))], 1) + self.places
        skips = []
        for block in self.shallow:
            h = block(h, time)
            skips.append(h)
        h = self.middle(h, time)
        for n, block in enumerate(self.deep):
            h = block(self._joined(h, skips.pop(), n), time)
        x = pictures(self.leave(self.norm(h[:, self.told :])), self.patch, self.shape)
        return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def _joined(self, h: Tensor, skip: Tensor, n: int) -> Tensor:
        """Linear(Concat(h_m, h_s)) of the main and the long skip branch, section 3.1."""
        if self.choices.skips == "concatenated":
            joined: Tensor = self.join[n](torch.cat([h, skip], -1))
            return joined
        return h + skip if self.choices.skips == "added" else h


def _stage(name: str, choices: Choices, share: float) -> Stage:
    return Stage(
        name=name,
        toy=LATENT_PICTURES_64,
        build=lambda models: UViT((8, 8, 16), choices),
        loss=partial(loss, dropped=dit.DROPPED),
        share=share,
    )


PUBLISHED = Choices()
UVIT = _stage("uvit", PUBLISHED, 1.0)
COMPARED = {
    "as published": _stage("uvit-published", PUBLISHED, 0.2),
    "skips added": _stage("uvit-added", replace(PUBLISHED, skips="added"), 0.2),
    "no skips": _stage("uvit-no-skips", replace(PUBLISHED, skips="none"), 0.2),
    "time by adaLN": _stage("uvit-adaln", replace(PUBLISHED, time="adaLN"), 0.2),
    "no convolution": _stage("uvit-no-conv", replace(PUBLISHED, conv=False), 0.2),
}

ENTRY = Entry(
    name="uvit",
    title="U-ViT",
    paper=Paper(
        authors="Bao, Nie, Xue, Cao, Li, Su and Zhu",
        year=2022,
        title="All are Worth Words: A ViT Backbone for Diffusion Models",
        arxiv="2209.12152",
    ),
    family="transformers",
    new="A plain transformer with long skip connections denoises; time, class and patches are all tokens.",
    after=("ddpm", "latent_diffusion"),
    stages=(UVIT, *COMPARED.values()),
    rows=(
        Row(name="U-ViT", sample=partial(dit.sample, stage=UVIT), stages=(UVIT,), toy=LATENT_PICTURES_64),
        *(
            Row(
                name=f"U-ViT, 0.2 of the budget, {choice}",
                sample=partial(dit.sample, stage=stage),
                stages=(stage,),
                toy=LATENT_PICTURES_64,
            )
            for choice, stage in COMPARED.items()
        ),
    ),
)
