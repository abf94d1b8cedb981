"""VideoLDM: align your latents.

Blattmann, Rombach, Ling, Dockhorn, Kim, Fidler and Kreis 2023, arXiv:2304.08818.

What was new: a latent diffusion model of pictures, trained at great cost, becomes one of videos
without being changed. Layers over time are inserted between its layers, and only they are trained;
each is mixed in by a learned alpha, and where alpha is 1 the picture model is there again. So
Stable Diffusion, or any model fine-tuned from it, could be made to move. Before it: video
diffusion from nothing, in pixels (video_diffusion.py), and latent diffusion
(latent_diffusion.py). After it: AnimateDiff (animatediff.py), whose module for motion serves many
picture models, and Stable Video Diffusion, which trains all layers.

Smaller here: the picture model is a diffusion transformer (dit.py) of 3 million parameters for the
U-Net of 860, and the layers over time are attention alone; the paper has 3D convolutions too. Its
decoder fine-tuned on clips is not needed, as the house's VAE is one of clips already. Left out are
prediction from frames (mcvd.py), and the upsamplers (imagen_video.py). The paper compares with the
whole network trained on clips from nothing; so do we, at equal FLOPs.

A latent of the house's VAE covers one frame (the first of a clip) or four; "frame" below is one
such latent, and the picture model is trained on single ones and told which of the two it is.

In the paper's symbols: theta are the picture model's weights, phi those of the layers over time,
l_theta^i and l_phi^i the i-th layers of both, z their features.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from minisora.zoo import ddpm
from minisora.zoo.ddim import denoised
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import LATENT_CLIPS_64, ToyBatch
from minisora.zoo.nets.embed import CaptionEmbedding, TimeEmbedding, zeroed
from minisora.zoo.nets.temporal import TimeAttention
from minisora.zoo.nets.transformer import Block, Head, modulations, patches, pictures, positions

FRAMES, *PICTURE = LATENT_CLIPS_64.shape
HEIGHT, COLUMNS, CHANNELS = PICTURE
WIDTH, DEPTH, HEADS = 160, 6, 5
STEPS = 20


class PictureModel(nn.Module):
    """eps_theta: frames (B, H, W, C) at steps (B,) with captions to the noise in them.

    `layers` and what is around them are apart, so that layers over time can come in between.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(CHANNELS, WIDTH), Head(WIDTH, CHANNELS)
        self.register_buffer("places", positions(HEIGHT, COLUMNS, WIDTH))
        self.time, self.caption = TimeEmbedding(WIDTH), CaptionEmbedding(WIDTH)
        self.first = nn.Embedding(2, WIDTH)
        self.layers = nn.ModuleList([Block(WIDTH, HEADS) for _ in range(DEPTH)])

    def embedding(self, t: Tensor, labels: Tensor, is_first: Tensor) -> Tensor:
        embedded: Tensor = self.time(t) + self.caption(labels).sum(1) + self.first(is_first.long())
        return embedded

    def features(self, x: Tensor) -> Tensor:
        z: Tensor = self.enter(patches(x, 1)) + self.places
        return z

    def noise(self, z: Tensor, embedding: Tensor) -> Tensor:
        return pictures(self.head(z, embedding), 1, (HEIGHT, COLUMNS, CHANNELS))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, is_first: Tensor) -> Tensor:
        embedding, z = self.embedding(t, labels, is_first), self.features(x)
        for layer in self.layers:
            z = layer(z, embedding)
        return self.noise(z, embedding)


class TemporalLayer(nn.Module):
    """l_phi: attention along time, told what the picture model is told; the identity at first."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(WIDTH, elementwise_affine=False), TimeAttention(WIDTH, WIDTH // HEADS)
        self.modulation = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(WIDTH, 2 * WIDTH)))
        self.mix = nn.Parameter(torch.zeros(()))

    @property
    def alpha(self) -> Tensor:
        return self.mix.sigmoid()

    def forward(self, z: Tensor, embedding: Tensor) -> Tensor:
        """z: (B T, L, D)"""
        shift, scale = modulations(self.modulation, embedding, z)
        z_prime = z + self.attention(self.norm(z) * (1 + scale) + shift, FRAMES)
        return self.alpha * z + (1 - self.alpha) * z_prime  # section 3.1, "alpha z + (1 - alpha) z'"


class VideoModel(nn.Module):
    """eps_theta,phi: clips (B, T, H, W, C) to the noise in them; frames are folded for l_theta."""

    def __init__(self, picture_model: PictureModel) -> None:
        super().__init__()
        self.picture_model = picture_model
        self.layers_over_time = nn.ModuleList([TemporalLayer() for _ in range(DEPTH)])

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, dropped: Tensor | None = None) -> Tensor:
        return interleaved(self.picture_model, self.layers_over_time, x, t, labels)


def interleaved(theta: PictureModel, phi: nn.ModuleList, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """The noise in clips by a picture model with a layer over time after each of its own."""
    embedding = theta.embedding(*folded(t, labels))
    z = theta.features(x.flatten(0, 1))
    for l_theta, l_phi in zip(theta.layers, phi, strict=True):
        z = l_phi(l_theta(z, embedding), embedding)
    return theta.noise(z, embedding).unflatten(0, (-1, FRAMES))


def folded(t: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Step, labels and whether it is the first, of every frame of the clips: (B T,) each."""
    is_first = torch.arange(FRAMES, device=t.device) == 0
    return t.repeat_interleave(FRAMES), labels.repeat_interleave(FRAMES, 0), is_first.repeat(len(t))


def picture_loss(eps_theta: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """DDPM's loss on one frame of each clip."""
    t = torch.randint(ddpm.T, (len(batch.x),), generator=noise)
    frame = torch.randint(FRAMES, (len(batch.x),), generator=noise)
    x_0 = batch.x[torch.arange(len(batch.x)), frame]
    eps = torch.randn(x_0.shape, generator=noise)
    predicted = eps_theta(ddpm.noised(x_0, eps, t), t, batch.labels, frame == 0)
    return {"loss": (predicted.float() - eps).square().mean()}


def frames_alone(picture_model: nn.Module, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """The picture model on each frame of clips (B, T, H, W, C) by itself."""
    eps: Tensor = picture_model(x.flatten(0, 1), *folded(t, labels))
    return eps.unflatten(0, (-1, FRAMES))


def sample(models: Models, ask: Ask, *, stage: Stage) -> Tensor:
    return denoised(models[stage.name], ask.normal(*LATENT_CLIPS_64.shape), ask, steps=STEPS)


def sample_alone(models: Models, ask: Ask, *, stage: Stage) -> Tensor:
    eps_theta = partial(frames_alone, models[stage.name])
    return denoised(eps_theta, ask.normal(*LATENT_CLIPS_64.shape), ask, steps=STEPS)


def figures(models: Models, seed: int) -> dict[str, float]:
    """What was learnt of the mixing: at 0.5 in the beginning, 1 where a layer is skipped."""
    alphas = [float(layer.alpha) for layer in models[VIDEO.name].layers_over_time]  # type: ignore[union-attr]
    return {"lowest alpha of a layer": min(alphas), "highest alpha of a layer": max(alphas)}


def _frozen(models: Models) -> VideoModel:
    """Only phi is trained."""
    return VideoModel(deepcopy(models[PICTURES.name]).requires_grad_(False))  # type: ignore[arg-type]


def _unfrozen(models: Models) -> nn.Module:
    return deepcopy(models[PICTURES.name]).requires_grad_(True)


PICTURES = Stage(
    name="videoldm-pictures",
    toy=LATENT_CLIPS_64,
    build=lambda models: PictureModel(),
    loss=picture_loss,
    share=0.4,
)
VIDEO = Stage(
    name="videoldm", toy=LATENT_CLIPS_64, build=_frozen, loss=ddpm.loss, needs=(PICTURES,), share=0.5, batch_size=16
)
PICTURES_LONGER = Stage(
    name="videoldm-pictures-longer",
    toy=LATENT_CLIPS_64,
    build=_unfrozen,
    loss=picture_loss,
    needs=(PICTURES,),
    share=0.5,
)
FROM_NOTHING = Stage(
    name="videoldm-from-nothing",
    toy=LATENT_CLIPS_64,
    build=lambda models: VideoModel(PictureModel()),
    loss=ddpm.loss,
    share=0.9,
    batch_size=16,
)

ENTRY = Entry(
    name="videoldm",
    title="VideoLDM",
    paper=Paper(
        authors="Blattmann, Rombach, Ling, Dockhorn, Kim, Fidler and Kreis",
        year=2023,
        title="Align your Latents: High-Resolution Video Synthesis with Latent Diffusion Models",
        arxiv="2304.08818",
    ),
    family="video",
    new="Layers over time, mixed into a frozen model of pictures, make it one of videos.",
    after=("latent_diffusion", "video_diffusion"),
    stages=(PICTURES, VIDEO, PICTURES_LONGER, FROM_NOTHING),
    rows=(
        Row(name="VideoLDM", sample=partial(sample, stage=VIDEO), stages=(VIDEO,), toy=LATENT_CLIPS_64),
        Row(
            name="VideoLDM, no layers over time",
            sample=partial(sample_alone, stage=PICTURES_LONGER),
            stages=(PICTURES_LONGER,),
            toy=LATENT_CLIPS_64,
        ),
        Row(
            name="VideoLDM, all layers from nothing",
            sample=partial(sample, stage=FROM_NOTHING),
            stages=(FROM_NOTHING,),
            toy=LATENT_CLIPS_64,
        ),
    ),
    figures=figures,
)
