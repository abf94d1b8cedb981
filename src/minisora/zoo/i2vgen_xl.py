"""I2VGen-XL: high-quality image-to-video synthesis via cascaded diffusion models.

Zhang, Wang, Zhang, Zhao, Yuan, Qin, Wang, Zhao and Zhou 2023, arXiv:2311.04145.

What was new: a video is made of a picture in two stages that are good at different things. The base
stage makes a small one that means the same and moves: it is told the picture twice, as a semantic
vector and in detail. The refinement stage makes it large and sharp: it adds noise to the enlarged
video up to a middle step and takes it away again, as SDEdit (arXiv:2108.01073) does with pictures,
by a model trained on those steps alone. Before it: VideoLDM (videoldm.py) and cascades
from text (imagen_video.py). After it: Stable Video Diffusion, and Sora's pictures made to move
(in minisora, any frames can be conditioned on: generate/canvas.py).

Smaller here: the small video is the latents of the house's VAE averaged over 2x2, so both stages
share one VAE as the paper's do; the networks are transformers of 6 and 4 million parameters over
all tokens of a clip. The semantic vector is made by a network trained along, for the frozen CLIP of
the paper. The picture in detail and the frame's number are concatenated to every frame; in the
official code (ali-vilab/VGen) to the first and to the others, and a transformer along time spreads
them. As there, both stages are told the caption: nobody can tell from a picture how its thing will
move. The refinement in that code (configs/sr600_infer.yaml) begins at step 700 of 1000 of
another schedule, ours at 600 of DDPM's.

In a row of the table the picture itself is made from the caption, by the picture model of
videoldm.py. In the figures it is one of the held-out clips' first frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.zoo import ddpm
from minisora.zoo.ddim import denoised
from minisora.zoo.ddpm import ALPHA_BAR, noised
from minisora.zoo.frame.codec import decoded
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import LATENT_CLIPS_64, ToyBatch, batch_of
from minisora.zoo.nets.embed import CaptionEmbedding, TimeEmbedding, sinusoids
from minisora.zoo.nets.transformer import Block, Head, positions
from minisora.zoo.videoldm import PICTURES

FRAMES, SIDE, _, CHANNELS = LATENT_CLIPS_64.shape
SMALL = SIDE // 2
WIDTH, HEADS = 192, 6
STEPS = 20
REFINED_FROM = 600  # of DDPM's 1000 steps: the refinement stage knows those below
REFINING_STEPS = 12  # as dense as the STEPS of the base stage


class ClipTransformer(nn.Module):
    """Clips (B, T, H, W, channels) to clips (B, T, H, W, C), every token attending to all."""

    def __init__(self, side: int, channels: int, *, depth: int) -> None:
        super().__init__()
        self.side = side
        self.enter, self.head = nn.Linear(channels, WIDTH), Head(WIDTH, CHANNELS)
        places = positions(side, side, WIDTH) + sinusoids(torch.arange(FRAMES), WIDTH)[:, None]
        self.register_buffer("places", places.flatten(0, 1))
        self.time, self.caption = TimeEmbedding(WIDTH), CaptionEmbedding(WIDTH)
        self.blocks = nn.ModuleList([Block(WIDTH, HEADS) for _ in range(depth)])

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, more: Tensor | float = 0.0) -> Tensor:
        """more: (B, width), what else the network is told"""
        embedding = self.time(t) + self.caption(labels).sum(1) + more
        h = self.enter(x.flatten(1, 3)) + self.places
        for block in self.blocks:
            h = block(h, embedding)
        eps: Tensor = self.head(h, embedding).unflatten(1, (FRAMES, self.side, self.side))
        return eps


class BaseModel(nn.Module):
    """eps_theta of the base stage: small clips and the picture's latents (B, H, W, C) to noise."""

    def __init__(self) -> None:
        super().__init__()
        in_detail = 4 * CHANNELS  # the picture's 2x2 latents of each place
        self.semantic = nn.Sequential(  # the paper's G.Enc
            nn.Linear(SMALL * SMALL * in_detail, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH)
        )
        self.detail = nn.Linear(in_detail + 1, 2 * CHANNELS)  # the paper's D.Enc
        self.transformer = ClipTransformer(SMALL, 3 * CHANNELS, depth=8)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, picture: Tensor) -> Tensor:
        cells = F.pixel_unshuffle(picture.movedim(-1, 1), 2).movedim(1, -1)
        number = torch.linspace(0, 1, FRAMES, device=x.device).reshape(1, -1, 1, 1, 1)
        everywhere = cells[:, None].expand(-1, FRAMES, -1, -1, -1)
        detail = self.detail(torch.cat([everywhere, number.expand(*everywhere.shape[:-1], 1)], -1))
        eps: Tensor = self.transformer(torch.cat([x, detail], -1), t, labels, self.semantic(cells.flatten(1)))
        return eps


def small(x: Tensor) -> Tensor:
    """Clips (B, T, H, W, C) averaged over 2x2 places."""
    return x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5))


def large(x: Tensor) -> Tensor:
    """Clips enlarged twice, bilinearly."""
    frames = F.interpolate(x.flatten(0, 1).movedim(-1, 1), scale_factor=2.0, mode="bilinear")
    return frames.movedim(1, -1).unflatten(0, x.shape[:2])


def base_loss(eps_theta: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """DDPM's loss on small clips, given their first frame large."""
    z_0 = small(batch.x)
    return _loss(eps_theta, z_0, batch, noise, ddpm.T, batch.x[:, 0])


def refine_loss(eps_theta: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """DDPM's loss on large clips, at the steps of noise that refinement begins with or passes."""
    return _loss(eps_theta, batch.x, batch, noise, REFINED_FROM)


def _loss(
    eps_theta: nn.Module, z_0: Tensor, batch: ToyBatch, noise: torch.Generator, below: int, *given: Tensor
) -> dict[str, Tensor]:
    t = torch.randint(below, (len(z_0),), generator=noise)
    eps = torch.randn(z_0.shape, generator=noise)
    predicted = eps_theta(noised(z_0, eps, t), t, batch.labels, *given)
    return {"loss": (predicted.float() - eps).square().mean()}


def based(models: Models, picture: Tensor, ask: Ask) -> Tensor:
    """The base stage: pictures' latents (B, H, W, C) to small clips."""

    def eps_theta(x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        eps: Tensor = models[BASE.name](x, t, labels, picture)
        return eps

    return denoised(eps_theta, ask.normal(FRAMES, SMALL, SMALL, CHANNELS), ask, steps=STEPS)


def refined(models: Models, clips: Tensor, ask: Ask, *, steps: int = REFINING_STEPS) -> Tensor:
    """The refinement stage: noise to enlarged clips up to REFINED_FROM, then DDIM (ddim.py)."""
    tau = torch.linspace(REFINED_FROM - 1, 0, steps + 1).round().long()[:-1]
    x = noised(clips, ask.normal(*LATENT_CLIPS_64.shape), tau[:1].expand(len(clips)))
    for n, t in enumerate(tau):
        eps = models[REFINE.name](x, t.expand(len(x)), ask.labels).float()
        alpha, before = ALPHA_BAR[t], ALPHA_BAR[tau[n + 1]] if n + 1 < len(tau) else torch.tensor(1.0)
        x_0 = (x - (1 - alpha).sqrt() * eps) / alpha.sqrt()
        x = before.sqrt() * x_0 + (1 - before).sqrt() * eps
    return x


def drawn(models: Models, ask: Ask) -> Tensor:
    """The picture of a caption, by the picture model of videoldm.py."""
    first = torch.ones(len(ask), dtype=torch.bool)

    def eps_theta(x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        eps: Tensor = models[PICTURES.name](x, t, labels, first)
        return eps

    return denoised(eps_theta, ask.normal(SIDE, SIDE, CHANNELS), ask, steps=STEPS)


def sample_base(models: Models, ask: Ask) -> Tensor:
    """Small clips, enlarged."""
    return large(based(models, drawn(models, ask), ask))


def sample(models: Models, ask: Ask) -> Tensor:
    return refined(models, sample_base(models, ask), ask)


def sharpness(frames: Tensor) -> float:
    """Mean step between neighbouring pixels of frames (..., H, W, 3), in 0..1."""
    steps = (frames.diff(dim=-3).abs().mean() + frames.diff(dim=-2).abs().mean()) / 4
    return float(steps)


def figures(models: Models, seed: int) -> dict[str, float]:
    """Each stage's clips from held-out pictures: how near to the picture, how sharp.

    error: mean squared error of the first frame to the given picture, in 0..1
    """
    batch = batch_of(LATENT_CLIPS_64, range(64), split="held_out")
    ask = Ask(batch.labels, torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        base = large(based(models, batch.x[:, 0], ask))
        stages = {"base": base, "refined": refined(models, base, ask)}
        given = decoded(batch.x).clamp(-1, 1)
        shown = {name: decoded(clips).clamp(-1, 1) for name, clips in stages.items()}
    found = {f"sharpness, {name}": sharpness(x) for name, x in {**shown, "held out": given}.items()}
    for name, x in {**shown, "another clip": given.roll(1, 0)}.items():
        found[f"error to the picture, {name}"] = float(((x - given)[:, 0] / 2).square().mean())
    return found


BASE = Stage(name="i2vgen-xl-base", toy=LATENT_CLIPS_64, build=lambda models: BaseModel(), loss=base_loss, share=0.5)
REFINE = Stage(
    name="i2vgen-xl-refine",
    toy=LATENT_CLIPS_64,
    build=lambda models: ClipTransformer(SIDE, CHANNELS, depth=6),
    loss=refine_loss,
    share=0.8,
    batch_size=16,
)

ENTRY = Entry(
    name="i2vgen_xl",
    title="I2VGen-XL",
    paper=Paper(
        authors="Zhang, Wang, Zhang, Zhao, Yuan, Qin, Wang, Zhao and Zhou",
        year=2023,
        title="I2VGen-XL: High-Quality Image-to-Video Synthesis via Cascaded Diffusion Models",
        arxiv="2311.04145",
    ),
    family="video",
    new="A picture moves in two stages: a small clip that means the same, then a large and sharp one.",
    after=("videoldm",),
    stages=(PICTURES, BASE, REFINE),
    rows=(
        Row(name="I2VGen-XL", sample=sample, stages=(PICTURES, BASE, REFINE), toy=LATENT_CLIPS_64),
        Row(name="I2VGen-XL, base stage alone", sample=sample_base, stages=(PICTURES, BASE), toy=LATENT_CLIPS_64),
    ),
    figures=figures,
)
