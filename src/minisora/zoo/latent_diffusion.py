"""Latent diffusion: high-resolution image synthesis with latent diffusion models.

Rombach, Blattmann, Lorenz, Esser and Ommer 2021, arXiv:2112.10752.

What was new: most bits of a picture are detail that no eye misses. An autoencoder is trained once
to leave them out, and the diffusion model works on its small latents, where the same FLOPs buy many
times the steps; cross-attention in its U-Net reads text. It became Stable Diffusion, whose
published weights `minisora zoo picture` opens (nets/stable.py). Before it: the VQGAN of Esser et
al. 2020, and diffusion on pixels (guided_diffusion.py). After it: DiT (dit.py), VideoLDM
(videoldm.py), and Sora, which all work on latents.

Smaller here: pictures of 64x64 and f = 4, so latents of 16x16x3. The first stages are trained by
the absolute error alone, without the perceptual loss and the patch discriminator, which would take
longer than all the rest; at this size little blurs. Words of the caption have embeddings of their
own in place of a text transformer. A U-Net on pixels gets as many FLOPs as first stage and latent
U-Net together, for section 4.1's question.

In the paper's symbols E is the encoder, D the decoder, z a latent, and tau_theta(y) the words.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from minisora.zoo import ddpm
from minisora.zoo.ddim import denoised
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import PICTURES_64, ToyBatch, batch_of
from minisora.zoo.nets.autoencoder import decoder, encoder
from minisora.zoo.nets.embed import CaptionEmbedding, TimeEmbedding
from minisora.zoo.nets.guidance import guided
from minisora.zoo.nets.unet import UNet, UNetConfig

Regularisation = Literal["KL", "VQ"]
CHANNELS, SIDE = 3, 16  # of latents
CODES = 256  # in the codebook; 8192 in the paper
KL_WEIGHT, COMMITMENT = 1e-6, 0.25  # appendix G; van den Oord et al. 2017, Eq. 3
WORD = 64  # width of a word
DROPPED = 0.1  # share of the samples that are shown no caption
GUIDANCE, STEPS = 2.0, 20
FIRST_SHARE, LATENT_SHARE = 0.15, 0.35


class FirstStage(nn.Module):
    """Autoencoder of pictures, section 3.1, with latents kept small (KL) or discrete (VQ)."""

    def __init__(self, regularisation: Regularisation) -> None:
        super().__init__()
        out = 2 * CHANNELS if regularisation == "KL" else CHANNELS  # mean and log variance
        self.E, self.D = encoder(out), decoder(CHANNELS)
        self.codes = nn.Parameter(torch.randn(CODES, CHANNELS)) if regularisation == "VQ" else None

    def encode(self, x: Tensor) -> Tensor:
        """Latents (B, 16, 16, 3): the mean, or what is not yet quantised. x: (B, 64, 64, 3)"""
        return self._moments(x)[..., :CHANNELS]

    def decode(self, z: Tensor) -> Tensor:
        """Pictures of latents. Quantisation is the decoder's first layer."""
        z = z if self.codes is None else self.quantised(z)[0]
        return self._pixels(z)

    def quantised(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest codes, whose gradient is that of z, and their numbers."""
        assert self.codes is not None
        chosen = torch.cdist(z.float().flatten(0, 2), self.codes).argmin(1).reshape(z.shape[:-1])
        return self.codes[chosen], chosen

    def forward(self, x: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """Reconstruction and the loss of the regularisation."""
        moments = self._moments(x)
        if self.codes is None:
            mean, log_variance = moments.split(CHANNELS, -1)
            z = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=noise)
            kl = (mean**2 + log_variance.exp() - 1 - log_variance).sum((1, 2, 3)).mean() / 2
            return self._pixels(z), KL_WEIGHT * kl
        near, _ = self.quantised(moments)
        codebook = (near - moments.detach()).square().mean() + COMMITMENT * (near.detach() - moments).square().mean()
        return self._pixels(moments + (near - moments).detach()), codebook

    def _moments(self, x: Tensor) -> Tensor:
        moments: Tensor = self.E(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).float()
        return moments

    def _pixels(self, z: Tensor) -> Tensor:
        pixels: Tensor = self.D(z.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).float()
        return pixels


def first_loss(first: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    again, regularisation = first(batch.x, noise)
    error = (again - batch.x).abs().mean()
    return {"loss": error + regularisation, "error": error.detach()}


class LatentDiffusion(nn.Module):
    """eps_theta(z_t, t, tau_theta(y)), with the encoder that makes z; the identity for pixels.

    scale: one over the deviation of z in the first batch, appendix G
    """

    scale: Tensor

    def __init__(self, config: UNetConfig, encode: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.encode = encode
        self.register_buffer("scale", torch.zeros(()))
        self.time, self.tau_theta = TimeEmbedding(config.embedding), CaptionEmbedding(WORD)
        self.unet = UNet(config)

    def forward(self, z_t: Tensor, t: Tensor, labels: Tensor, dropped: Tensor | None = None) -> Tensor:
        eps: Tensor = self.unet(z_t, self.time(t), self.tau_theta(labels, dropped))
        return eps


def latent_loss(ldm: LatentDiffusion, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """Eq. 3: DDPM's loss on z = E(x) given the words."""
    with torch.no_grad():
        z = ldm.encode(batch.x)
        if not ldm.scale:
            ldm.scale.copy_(1 / z.std())
    return ddpm.loss(ldm, ToyBatch(ldm.scale * z, batch.labels), noise, dropped=DROPPED)


def sample(models: Models, ask: Ask, *, stage: Stage, guidance: float = 1.0) -> Tensor:
    ldm = models[stage.name]
    assert isinstance(ldm, LatentDiffusion)
    shape = (SIDE, SIDE, CHANNELS) if stage.needs else PICTURES_64.shape
    bound = math.inf if stage.needs else float(ldm.scale)  # latents have none
    z = denoised(guided(ldm, guidance), ask.normal(*shape), ask, steps=STEPS, bound=bound) / ldm.scale
    if not stage.needs:
        return z
    first = models[stage.needs[0].name]
    assert isinstance(first, FirstStage)
    return torch.cat([first.decode(part) for part in z.split(64)])


def figures(models: Models, seed: int) -> dict[str, float]:
    """Mean absolute error of the first stages on held-out pictures, of 255, and codes in use."""
    x = batch_of(PICTURES_64, range(64), split="held_out").x
    found = {}
    with torch.inference_mode():
        for kind, stage in FIRST.items():
            first = models[stage.name]
            assert isinstance(first, FirstStage)
            z = first.encode(x)
            found[f"error of the {kind} first stage"] = float((first.decode(z) - x).abs().mean()) * 127.5
            if first.codes is not None:
                found["codes in use"] = float(len(first.quantised(z)[1].unique()))
    return found


def _first(kind: Regularisation) -> Stage:
    return Stage(
        name=f"ldm-first-{kind.lower()}",
        toy=PICTURES_64,
        build=lambda models: FirstStage(kind),
        loss=first_loss,
        share=FIRST_SHARE,
        batch_size=16,
    )


def _latent(kind: Regularisation) -> Stage:
    def build(models: Models) -> nn.Module:
        first = models[FIRST[kind].name]
        assert isinstance(first, FirstStage)
        return LatentDiffusion(LATENT_UNET, first.encode)

    return Stage(
        name=f"ldm-{kind.lower()}",
        toy=PICTURES_64,
        build=build,
        loss=latent_loss,
        needs=(FIRST[kind],),
        share=LATENT_SHARE,
        batch_size=16,
    )


LATENT_UNET = UNetConfig(widths=(64, 96, 128), attention=(1, 2), context=WORD)
PIXEL_UNET = UNetConfig(widths=(32, 64, 96, 128), blocks=1, attention=(2, 3), context=WORD)
FIRST: dict[Regularisation, Stage] = {"KL": _first("KL"), "VQ": _first("VQ")}
LATENT: dict[Regularisation, Stage] = {"KL": _latent("KL"), "VQ": _latent("VQ")}
PIXELS = Stage(
    name="ldm-pixels",
    toy=PICTURES_64,
    build=lambda models: LatentDiffusion(PIXEL_UNET, lambda x: x),
    loss=latent_loss,
    share=FIRST_SHARE + LATENT_SHARE,
    batch_size=16,
)

ENTRY = Entry(
    name="latent_diffusion",
    title="Latent Diffusion",
    paper=Paper(
        authors="Rombach, Blattmann, Lorenz, Esser and Ommer",
        year=2021,
        title="High-Resolution Image Synthesis with Latent Diffusion Models",
        arxiv="2112.10752",
    ),
    family="diffusion",
    new="Diffusion on the small latents of an autoencoder, told by cross-attention to the words.",
    after=("ddpm", "ddim", "guided_diffusion"),
    stages=(*LATENT.values(), PIXELS),
    rows=tuple(
        Row(name=name, sample=partial(sample, stage=stage, guidance=guidance), stages=(stage,), toy=PICTURES_64)
        for name, stage, guidance in (
            ("Latent diffusion, KL", LATENT["KL"], 1.0),
            (f"Latent diffusion, KL, guidance {GUIDANCE:g}", LATENT["KL"], GUIDANCE),
            ("Latent diffusion, VQ", LATENT["VQ"], 1.0),
            ("Pixels, at equal FLOPs", PIXELS, 1.0),
        )
    ),
    figures=figures,
)
