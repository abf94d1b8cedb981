"""FiT: flexible vision transformer for diffusion models.

Lu, Wang, Huang, Wu, Liu, Ouyang and Bai 2024, arXiv:2402.12376.

What was new: a picture is not a grid of a fixed size but a sequence of tokens, of any length up to
a longest one, each with its row and column. Pictures are not cropped to one square in training,
and sampling may ask for sizes that training never had. For that DiT (dit.py) was given rotary
positions in two axes, attention with a mask over padding, and SwiGLU. Before it: NaViT (navit.py),
the same for classifiers. After it: FiTv2, Lumina and minisora's packs, in all of which every
sample has a size of its own.

Smaller here: latents of 64x64 pictures, 8x8x16. The set has one size, so the network is trained on
windows of them, 4x4 to 6x8 and at most LONGEST tokens, where the paper shrinks whole pictures; a
window need not hold the thing that its class names. The whole 8x8 is already an extrapolation,
which the rows measure; the figures go to 12x12. A second network has absolute positions instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.zoo.ddim import denoised
from minisora.zoo.ddpm import T, noised
from minisora.zoo.dit import DEPTH, DROPPED, HEADS, STEPS, WIDTH
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.measure import frames_of, scores
from minisora.zoo.frame.sets import COLOUR, LATENT_PICTURES_64, SHAPE, ToyBatch, batch_of
from minisora.zoo.nets.attention import attend
from minisora.zoo.nets.embed import ClassEmbedding, TimeEmbedding, sinusoids, zeroed
from minisora.zoo.nets.rotary import grid, rotated
from minisora.zoo.nets.transformer import Head, modulations

LONGEST = 48  # tokens of a sequence in training, L_max of the paper
SIZES = [(h, w) for h, w in product(range(4, 9), repeat=2) if h * w <= LONGEST]
CHANNELS = 16
BASE = 10_000.0


@dataclass(frozen=True)
class Layout:
    """Where the tokens of sequences stand.

    places: (B, L, 2) row and column; mask: (B, L) bool, False for padding
    """

    places: Tensor
    mask: Tensor


class FiT(nn.Module):
    """eps_theta: sequences of latents (B, L, C) at steps (B,) with labels to the noise in them.

    rotary: positions turn queries and keys; they are added to the tokens otherwise, as in DiT
    """

    def __init__(self, *, rotary: bool = True) -> None:
        super().__init__()
        self.rotary = rotary
        self.enter = nn.Linear(CHANNELS, WIDTH)
        self.time, self.label = TimeEmbedding(WIDTH), ClassEmbedding(WIDTH)
        self.blocks = nn.ModuleList([Block() for _ in range(DEPTH)])
        self.head = Head(WIDTH, CHANNELS)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        labels: Tensor,
        layout: Layout,
        dropped: Tensor | None = None,
        scales: tuple[float, float] = (1.0, 1.0),
    ) -> Tensor:
        """scales: of VisionNTK for rows and columns, 1 in training"""
        h, told = self.enter(x), self.time(t) + self.label(labels, dropped)
        if not self.rotary:
            h = h + absolute(layout.places)
        turn = turns(layout.places, scales)[:, None] if self.rotary else None
        for block in self.blocks:
            h = block(h, told, turn, layout.mask[:, None, None])
        noise: Tensor = self.head(h, told)
        return noise


class Block(nn.Module):
    """DiT's block (adaLN-Zero) with rotary positions, masked attention and SwiGLU, section 3.3."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, elementwise_affine=False) for _ in range(2))
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = SwiGLU(WIDTH, 8 * WIDTH // 3)  # as many parameters as DiT's two matrices of 4 WIDTH
        self.modulation = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(WIDTH, 6 * WIDTH)))

    def forward(self, x: Tensor, told: Tensor, turn: Tensor | None, mask: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = modulations(self.modulation, told, x)
        h = self.norm1(x) * (1 + scale1) + shift1
        q, k, v = self.qkv(h).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        if turn is not None:
            q, k = rotated(q, turn), rotated(k, turn)
        x = x + gate1 * self.out(attend(q, k, v, mask=mask).transpose(1, 2).flatten(2))
        forwarded: Tensor = x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)
        return forwarded


class SwiGLU(nn.Module):
    """(SiLU(x W) * x V) W2 (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.value, self.out = nn.Linear(width, hidden), nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.out(F.silu(self.gate(x)) * self.value(x))
        return projected


def turns(places: Tensor, scales: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Angles of each place, those of its row and then of its column: (..., 2) -> (..., d)."""
    return torch.cat([place[..., None] * rates(s) for place, s in zip(places.unbind(-1), scales, strict=True)], -1)


def rates(scale: float = 1.0) -> Tensor:
    """Radians a row or a column turns each pair of channels: b^(-2 i / d), d half of a head.

    VisionNTK (section 3.4): the base of an axis grows to b s^(d / (d - 2)), so that the slowest
    pair turns as far over the larger side as it did over the largest in training, and the fastest
    as before.
    """
    d = WIDTH // HEADS // 2
    return (BASE * scale ** (d / (d - 2))) ** (-torch.arange(0, d, 2) / d)


def ntk_scales(rows: int, columns: int) -> tuple[float, float]:
    """s_h = max(H_test / L_train, 1) and s_w alike, in tokens; L_train = sqrt(L_max).

    Each axis has its own. One for both, that of the longer side, is the paper's vanilla NTK.
    """
    trained = sqrt(LONGEST)
    return max(rows / trained, 1.0), max(columns / trained, 1.0)


def absolute(places: Tensor) -> Tensor:
    """Sinusoids of row and column, half of the width each: (B, L, 2) -> (B, L, WIDTH)."""
    return torch.cat([sinusoids(each.flatten(), WIDTH // 2) for each in places.unbind(-1)], 1).unflatten(
        0, places.shape[:2]
    )


def windows(z: Tensor, noise: torch.Generator) -> tuple[Tensor, Layout]:
    """A window of each sample, its size drawn from SIZES, padded to LONGEST tokens.

    z: (B, H, W, C) -> (B, LONGEST, C), and where its tokens stand in their window
    """
    count, height, width, channels = z.shape
    h, w = torch.tensor(SIZES)[torch.randint(len(SIZES), (count,), generator=noise)].unbind(1)
    top, left = (
        (torch.rand(count, 2, generator=noise) * torch.stack([height - h + 1, width - w + 1], 1)).long().unbind(1)
    )
    token = torch.arange(LONGEST).expand(count, -1)
    row, column, mask = token // w[:, None], token % w[:, None], token < (h * w)[:, None]
    source = ((top[:, None] + row) * width + left[:, None] + column).where(mask, 0)
    x = z.flatten(1, 2).gather(1, source[..., None].expand(-1, -1, channels))
    return x * mask[..., None], Layout(torch.stack([row, column], -1).float(), mask)


def loss(fit: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """L_simple of DDPM over the tokens that are no padding."""
    x, layout = windows(batch.x, noise)
    t = torch.randint(T, (len(x),), generator=noise)
    eps = torch.randn(x.shape, generator=noise)
    dropped = torch.rand(len(x), generator=noise) < DROPPED  # as dit.py, so that the two compare
    predicted = fit(noised(x, eps, t), t, batch.labels, layout, dropped)
    return {"loss": (predicted.float() - eps)[layout.mask].square().mean()}


def sample(models: Models, ask: Ask, *, stage: Stage, rows: int = 8, columns: int = 8, ntk: bool = False) -> Tensor:
    """DDIM at any size: latents (N, rows, columns, C)."""
    everything = torch.ones(len(ask), rows * columns, dtype=torch.bool)
    layout = Layout(grid(rows, columns).expand(len(ask), -1, -1), everything)
    scales = ntk_scales(rows, columns) if ntk else (1.0, 1.0)

    def eps_theta(x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        eps: Tensor = models[stage.name](x, t, labels, layout, scales=scales)
        return eps

    return denoised(eps_theta, ask.normal(rows * columns, CHANNELS), ask, steps=STEPS).unflatten(1, (rows, columns))


def figures(models: Models, seed: int, *, count: int = 128) -> Mapping[str, float]:
    """Share of pictures, by their size, in which the judge sees the thing that was asked for."""
    labels = batch_of(LATENT_PICTURES_64, range(count), split="held_out").labels
    found = {}
    for (rows, columns), (name, stage, ntk) in product(((6, 8), (8, 12), (12, 12)), WAYS):
        ask = Ask(labels, torch.Generator().manual_seed(seed))
        with torch.inference_mode():
            z = sample(models, ask, stage=stage, rows=rows, columns=columns, ntk=ntk)
        right = scores(frames_of(stage.toy, z), labels, (COLOUR, SHAPE))
        found[f"{name}, score at {8 * rows}x{8 * columns}"] = float(right.float().mean())
    return found


def _stage(name: str, *, rotary: bool) -> Stage:
    return Stage(name=name, toy=LATENT_PICTURES_64, build=lambda models: FiT(rotary=rotary), loss=loss, share=0.8)


FIT, ABSOLUTE = _stage("fit", rotary=True), _stage("fit-absolute", rotary=False)
WAYS = (("FiT", FIT, False), ("FiT, VisionNTK", FIT, True), ("FiT, absolute positions", ABSOLUTE, False))

ENTRY = Entry(
    name="fit",
    title="FiT",
    paper=Paper(
        authors="Lu, Wang, Huang, Wu, Liu, Ouyang and Bai",
        year=2024,
        title="FiT: Flexible Vision Transformer for Diffusion Model",
        arxiv="2402.12376",
    ),
    family="transformers",
    new="Pictures are sequences of any length with positions in two axes, trained and sampled at any size.",
    after=("dit", "navit"),
    stages=(FIT, ABSOLUTE),
    rows=tuple(
        Row(name=name, sample=partial(sample, stage=stage, ntk=ntk), stages=(stage,), toy=LATENT_PICTURES_64)
        for name, stage, ntk in WAYS
    ),
    figures=figures,
)
