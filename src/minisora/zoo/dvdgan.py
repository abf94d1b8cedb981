"""DVD-GAN: adversarial video generation on complex datasets.

Clark, Donahue and Simonyan 2019, arXiv:1907.06571.

What was new: no prior about content and motion as in MoCoGAN (mocogan.py), but capacity: BigGAN's
generator with a convolutional GRU, so that features of every frame follow from those before. A
discriminator that sees each pixel of each frame would cost too much, so two share the work: D_S
sees k whole frames, one by one, D_T sees the clip at half the resolution. After it: codes and a
language model, without a game (videogpt.py); diffusion (video_diffusion.py).

Smaller here: 16x32x32 for up to 48x128x128, batches of 16 for 512, GRUs at 4x4 and 8x8 alone, one
residual block after each for two, k = 4 for 8. The class is colour, shape and motion. All networks
move at once by one optimizer (paper: two steps of D, at another rate, for one of G), and spectral
norms are in the discriminators alone, as the averaged weights that are sampled from would need
singular vectors of their own. Either discriminator is also left out, with the same FLOPs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import CLIPS_32, ToyBatch, batch_of
from minisora.zoo.mocogan import ACTION, channels_last, frozen, one_hot

T = CLIPS_32.num_frames
Z = 64  # width of the noise, and of the embedding e(y) of a class
WIDTHS = (64, 48, 32, 16)  # channels of the generator at 4x4, 8x8, 16x16 and 32x32
SEEN = (16, 32, 64)  # channels of the discriminators
FRAMES = 4  # k, that D_S sees
Judged = Literal["both", "D_S", "D_T"]


class ConvGRU(nn.Module):
    """A GRU whose products are convolutions (Ballas et al. 2015, arXiv:1511.06432)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.candidate = nn.Conv2d(2 * width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, C, H, W) -> (T, B, C, H, W), from h = 0."""
        h, states = torch.zeros_like(x[0]), []
        for x_t in x.unbind(0):
            r, u = self.gates(torch.cat([h, x_t], 1)).sigmoid().chunk(2, 1)
            c = self.candidate(torch.cat([x_t, r * h], 1)).relu()  # the paper's rho; a plain GRU has tanh
            h = u * h + (1 - u) * c
            states.append(h)
        return torch.stack(states)


class ClassNorm(nn.Module):
    """Batch norm whose gain and bias are affine functions of [z; e(y)]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.affine = nn.BatchNorm2d(width, affine=False), nn.Linear(2 * Z, 2 * width)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        gain, bias = self.affine(code).repeat(len(x) // len(code), 1)[..., None, None].chunk(2, 1)
        return (1 + gain) * self.norm(x) + bias


class UpBlock(nn.Module):
    """A residual block of the generator, to twice the resolution; frames are samples of a batch."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = ClassNorm(width), nn.Conv2d(width, out, 3, padding=1)
        self.norm2, self.conv2 = ClassNorm(out), nn.Conv2d(out, out, 3, padding=1)
        self.skip = nn.Conv2d(width, out, 1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        h = self.conv1(F.interpolate(self.norm1(x, code).relu(), scale_factor=2.0))
        return F.interpolate(self.skip(x), scale_factor=2.0) + self.conv2(self.norm2(h, code).relu())


class Generator(nn.Module):
    """G: noise z (B, Z) and labels to clips (B, T, 32, 32, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Linear(ACTION, Z, bias=False)
        self.enter = nn.Linear(2 * Z, 16 * WIDTHS[0])
        self.grus = nn.ModuleList([ConvGRU(width) for width in WIDTHS[:2]])
        self.ups = nn.ModuleList([UpBlock(width, out) for width, out in pairwise(WIDTHS)])
        self.leave = nn.Sequential(
            nn.BatchNorm2d(WIDTHS[-1]), nn.ReLU(), nn.Conv2d(WIDTHS[-1], 3, 3, padding=1), nn.Tanh()
        )

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        code = torch.cat([z, self.e(one_hot(labels))], 1)
        start = self.enter(code).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)
        h = self.grus[0](start.expand(T, *start.shape))  # every frame is given the same
        h = self.grus[1](self.ups[0](h.flatten(0, 1), code).unflatten(0, (T, -1))).flatten(0, 1)
        for up in self.ups[1:]:
            h = up(h, code)
        return self.leave(h).unflatten(0, (T, -1)).permute(1, 0, 3, 4, 2).float()


class DownBlock(nn.Module):
    """A residual block of a discriminator, to half of each axis; 2D or 3D."""

    def __init__(self, width: int, out: int, *, dims: Literal[2, 3], first: bool = False) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.first, self.pool = first, nn.AvgPool2d(2) if dims == 2 else nn.AvgPool3d(2)
        self.conv1, self.conv2 = (spectral_norm(conv(w, out, 3, padding=1)) for w in (width, out))
        self.skip = spectral_norm(conv(width, out, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x if self.first else x.relu())
        return self.pool(self.conv2(h.relu())) + self.skip(self.pool(x))


class Discriminator(nn.Module):
    """A score by projection (Miyato and Koyama 2018, arXiv:1802.05637): psi(h) + <e(y), h>.

    features: clips (B, T, H, W, 3), and frames k (B, FRAMES) of each -> h (B, pictures, SEEN[-1])
    """

    features: Callable[[Tensor, Tensor], Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.psi = spectral_norm(nn.Linear(SEEN[-1], 1))
        self.e = spectral_norm(nn.Linear(ACTION, SEEN[-1], bias=False))

    def forward(self, v: Tensor, labels: Tensor, k: Tensor) -> Tensor:
        h = self.features(v, k)
        projected = (self.e(one_hot(labels))[:, None] * h).sum(-1)
        return (self.psi(h).squeeze(-1) + projected).float().sum(1)  # over pictures; (B,)


class Spatial(Discriminator):
    """D_S: k frames in full resolution, one by one; their scores are summed."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(DownBlock(w, out, dims=2, first=w == 3) for w, out in pairwise((3, *SEEN))))

    def features(self, v: Tensor, k: Tensor) -> Tensor:
        frames = v[torch.arange(len(v))[:, None], k].flatten(0, 1)
        return self.blocks(frames.permute(0, 3, 1, 2)).relu().sum((2, 3)).unflatten(0, k.shape)


class Temporal(Discriminator):
    """D_T: phi(clip), all frames at half the resolution; 3D blocks first, then a 2D one."""

    def __init__(self) -> None:
        super().__init__()
        one, two, three = SEEN
        self.volumes = nn.Sequential(DownBlock(3, one, dims=3, first=True), DownBlock(one, two, dims=3))
        self.pictures = DownBlock(two, three, dims=2)

    def features(self, v: Tensor, k: Tensor) -> Tensor:
        x = self.volumes(F.avg_pool3d(v.permute(0, 4, 1, 2, 3), (1, 2, 2)))  # phi
        h = self.pictures(x.transpose(1, 2).flatten(0, 1)).relu().sum((2, 3))
        return h.unflatten(0, (len(v), -1)).mean(1, keepdim=True)


class DVDGAN(nn.Module):
    """The generator with the discriminators that judge it."""

    def __init__(self, judged: Judged = "both") -> None:
        super().__init__()
        self.generator = Generator()
        kinds = {"D_S": Spatial, "D_T": Temporal}
        self.discriminators = nn.ModuleList([kind() for name, kind in kinds.items() if judged in ("both", name)])
        channels_last(self)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.generator(z, labels)


def loss(model: DVDGAN, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """The hinge loss (Lim and Ye 2017, arXiv:1705.02894) of both sides at once."""
    count = len(batch.x)
    fake = model(torch.randn(count, Z, generator=noise), batch.labels)
    k = torch.rand(count, T, generator=noise).argsort(1)[:, :FRAMES]
    games = [game(D, batch.x, fake, batch.labels, k) for D in model.discriminators]
    d, g = (torch.stack(side).sum() for side in zip(*games, strict=True))
    return {"loss": d + g, "discriminators": d.detach(), "generator": g.detach()}


def game(D: nn.Module, real: Tensor, fake: Tensor, labels: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Losses of a discriminator and of the generator; each has gradients in its own part alone."""
    discriminator = F.relu(1 - D(real, labels, k)).mean() + F.relu(1 + D(fake.detach(), labels, k)).mean()
    return discriminator, -frozen(D, fake, labels, k).mean()


def sample(models: Models, ask: Ask, *, stage: Stage) -> Tensor:
    return models[stage.name](ask.normal(Z), ask.labels)


def figures(models: Models, seed: int) -> dict[str, float]:
    """Mean change of a pixel from frame to frame, over that of held-out clips; 1 is right."""
    batch, changes = batch_of(CLIPS_32, range(64), split="held_out"), {}
    for judged, stage in STAGES.items():
        with torch.inference_mode():
            clips = sample(models, Ask(batch.labels, torch.Generator().manual_seed(seed)), stage=stage)
        ratio = clips.diff(dim=1).abs().mean() / batch.x.diff(dim=1).abs().mean()
        changes[f"change from frame to frame, {judged}"] = float(ratio)
    return changes


def _stage(judged: Judged) -> Stage:
    return Stage(
        name=f"dvdgan-{judged.lower().replace('_', '')}",
        toy=CLIPS_32,
        build=lambda models: DVDGAN(judged),
        loss=loss,
        share=0.5,
        batch_size=16,
        lr=4e-4,
        betas=(0.0, 0.99),
        adversarial=True,
    )


STAGES = {judged: _stage(judged) for judged in get_args(Judged)}

ENTRY = Entry(
    name="dvdgan",
    title="DVD-GAN",
    paper=Paper(
        authors="Clark, Donahue and Simonyan",
        year=2019,
        arxiv="1907.06571",
        title="Adversarial Video Generation on Complex Datasets",
    ),
    family="video",
    new="One discriminator for a few whole frames and one for the whole clip at half the resolution.",
    after=("mocogan",),
    stages=tuple(STAGES.values()),
    rows=tuple(
        Row(name=f"DVD-GAN, {judged}", sample=partial(sample, stage=stage), stages=(stage,), toy=CLIPS_32)
        for judged, stage in STAGES.items()
    ),
    figures=figures,
)
