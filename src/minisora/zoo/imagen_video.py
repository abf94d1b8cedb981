"""Imagen Video: high definition video generation with diffusion models.

Ho, Chan, Saharia, Whang, Gao, Gritsenko, Kingma, Poole, Norouzi, Fleet and Salimans 2022,
arXiv:2210.02303.

What was new: a cascade for video. A base model makes few small frames from the text; upsamplers in
turn put frames between them (TSR) and pixels around theirs (SSR), seven models in all to 128 frames
of 1280x768. Two things carried over from pictures hold it together: every upsampler is trained on
conditioning with noise of a random, told amount, so that it forgives the flaws of the model before
it (noise conditioning augmentation, Ho et al. 2021, arXiv:2106.15282); and networks predict v,
which is stable at every noise (Salimans and Ho 2022, arXiv:2202.00512). Before it: video diffusion
with one model (video_diffusion.py). After it came cascades of latents (videoldm.py), then
Sora, whose report speaks of none.

Smaller here: three models, 8x16x16 to 16x16x16 to 16x32x32; captions in the words of the toy set
for those of T5. As in the paper the base attends along time and the upsamplers convolve, so that
the SSR can be trained on a few frames and run on all. Left out: joint training on pictures
(video_diffusion.py), guidance, and progressive distillation, which only makes sampling
faster.

In the paper's symbols: z_t = alpha_t x + sigma_t eps, t in 0..1, on the cosine schedule; c is the
conditioning video, s its noise level.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.zoo.frame.entry import Ask, Entry, Loss, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import CLIPS_32, ToyBatch, batch_of
from minisora.zoo.nets.embed import CaptionEmbedding, TimeEmbedding
from minisora.zoo.nets.temporal import TimeAttention, TimeConv, inflated
from minisora.zoo.nets.unet import UNet, UNetConfig

FRAMES, SIDE = CLIPS_32.num_frames, CLIPS_32.side
CHANNELS = 3
SSR_FRAMES = 4  # that the spatial upsampler is trained on
MOST_AUGMENTED = 0.5  # noise level of the conditioning in training, at most
AUGMENTED = 0.1  # and in sampling
BASE_STEPS, UPSAMPLING_STEPS = 20, 10
AT_ONCE = 32  # clips that are upsampled at once


class VideoUNet(nn.Module):
    """v_theta: noisy video (B, T, H, W, 3) at t (B,), captions, conditioning video with its s."""

    def __init__(self, config: UNetConfig, over_time: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.time, self.caption = TimeEmbedding(config.embedding, scale=1000), CaptionEmbedding(config.embedding)
        self.augmented = TimeEmbedding(config.embedding, scale=1000)
        self.unet = inflated(UNet(config), over_time)

    def forward(self, z: Tensor, t: Tensor, labels: Tensor, c: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        embedding = self.time(t) + self.caption(labels).sum(1)
        if c is not None and s is not None:
            embedding = embedding + self.augmented(s)
            z = torch.cat([z, c], -1)
        v: Tensor = self.unet(z.flatten(0, 1), embedding).unflatten(0, z.shape[:2])
        return v


def alpha_sigma(t: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine schedule: SNR = alpha^2 / sigma^2. t: (B,) -> two of (B, 1, 1, 1, 1)"""
    angle = (t * math.pi / 2).reshape(-1, 1, 1, 1, 1)
    return angle.cos(), angle.sin()


def noised(x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    alpha, sigma = alpha_sigma(t)
    return alpha * x + sigma * eps


def loss(
    v_theta: nn.Module, x: Tensor, labels: Tensor, noise: torch.Generator, *, c: Tensor | None = None
) -> dict[str, Tensor]:
    """Squared error of v = alpha eps - sigma x, with c noised to a random s that is told."""
    t, eps = torch.rand(len(x), generator=noise), torch.randn(x.shape, generator=noise)
    s = MOST_AUGMENTED * torch.rand(len(x), generator=noise)
    if c is not None:
        c = noised(c, torch.randn(c.shape, generator=noise), s)
    alpha, sigma = alpha_sigma(t)
    v = v_theta(noised(x, eps, t), t, labels, c, s).float()
    return {"loss": (v - (alpha * eps - sigma * x)).square().mean()}


def base_loss(v_theta: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    return loss(v_theta, fewer(shrunk(batch.x)), batch.labels, noise)


def tsr_loss(v_theta: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    x = shrunk(batch.x)
    return loss(v_theta, x, batch.labels, noise, c=repeated(fewer(x)))


def ssr_loss(v_theta: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    start = int(torch.randint(FRAMES - SSR_FRAMES + 1, (), generator=noise))
    x = batch.x[:, start : start + SSR_FRAMES]
    return loss(v_theta, x, batch.labels, noise, c=enlarged(shrunk(x)))


def shrunk(x: Tensor) -> Tensor:
    """Half the rows and columns, averaged."""
    return x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5))


def fewer(x: Tensor) -> Tensor:
    """Every other frame."""
    return x[:, ::2]


def repeated(x: Tensor) -> Tensor:
    """Every frame twice: the conditioning of the TSR."""
    return x.repeat_interleave(2, 1)


def enlarged(x: Tensor, mode: str = "bilinear") -> Tensor:
    """Twice the rows and columns: the conditioning of the SSR."""
    frames = F.interpolate(x.flatten(0, 1).movedim(-1, 1), scale_factor=2.0, mode=mode)
    return frames.movedim(1, -1).unflatten(0, x.shape[:2])


def between(x: Tensor) -> Tensor:
    """Twice the frames, the new ones means of their neighbours: the TSR is compared with it."""
    after = torch.cat([x[:, 1:], x[:, -1:]], 1)
    return torch.stack([x, (x + after) / 2], 2).flatten(1, 2)


def denoised(
    v_theta: nn.Module, z: Tensor, labels: Tensor, *, steps: int, c: Tensor | None = None, s: float = 0.0
) -> Tensor:
    """DDIM (ddim.py) from t = 1 to 0; x is kept in the range of pixels (static thresholding)."""
    times = torch.linspace(1, 0, steps + 1)
    for t, after in pairwise(times):
        alpha, sigma = alpha_sigma(t)
        v = v_theta(z, t.expand(len(z)), labels, c, torch.full((len(z),), s)).float()
        x = (alpha * z - sigma * v).clamp(-1, 1)
        eps = (z - alpha * x) / sigma
        z = noised(x, eps, after)
    return z


def upsampled(stage: Stage, models: Models, c: Tensor, ask: Ask, *, s: float = AUGMENTED) -> Tensor:
    """What an upsampler makes of the conditioning, `repeated` or `enlarged`, noised to s first."""
    c = noised(c, ask.normal(*c.shape[1:]), torch.tensor(s))
    z = ask.normal(*c.shape[1:])
    pieces = zip(z.split(AT_ONCE), ask.labels.split(AT_ONCE), c.split(AT_ONCE), strict=True)
    v_theta, steps = models[stage.name], UPSAMPLING_STEPS
    return torch.cat([denoised(v_theta, z_T, labels, steps=steps, c=c, s=s) for z_T, labels, c in pieces])


def sample_base(models: Models, ask: Ask) -> Tensor:
    z = ask.normal(FRAMES // 2, SIDE // 2, SIDE // 2, CHANNELS)
    return denoised(models[BASE.name], z, ask.labels, steps=BASE_STEPS)


def sample(models: Models, ask: Ask) -> Tensor:
    """The cascade: base, TSR, SSR."""
    frames = upsampled(TSR, models, repeated(sample_base(models, ask)), ask)
    return upsampled(SSR, models, enlarged(frames), ask)


def sample_interpolated(models: Models, ask: Ask) -> Tensor:
    """The base model's videos, interpolated linearly in time and bicubically in space."""
    return enlarged(between(sample_base(models, ask)), "bicubic").clamp(-1, 1)


def figures(models: Models, seed: int) -> dict[str, float]:
    """Mean squared error, in 0..1, of what was left out of held-out clips and put back.

    A sample of the right distribution, unlike a mean, has twice the error of the best guess where
    nobody can know; the upsamplers win by what can be known.
    """
    batch = batch_of(CLIPS_32, range(64), split="held_out")
    ask = Ask(batch.labels, torch.Generator().manual_seed(seed))
    frames, few = shrunk(batch.x), fewer(shrunk(batch.x))

    def error(made: Tensor, wanted: Tensor) -> float:
        return float(((made - wanted) / 2).square().mean())

    with torch.inference_mode():
        found = {"frames between: linear": error(between(few)[:, 1::2], frames[:, 1::2])}
        for s in (0.0, AUGMENTED):
            made = upsampled(TSR, models, repeated(few), ask, s=s)
            found[f"frames between: TSR, c noised to {s:g}"] = error(made[:, 1::2], frames[:, 1::2])
        found["pixels: bicubic"] = error(enlarged(frames, "bicubic"), batch.x)
        for s in (0.0, AUGMENTED):
            made = upsampled(SSR, models, enlarged(frames), ask, s=s)
            found[f"pixels: SSR, c noised to {s:g}"] = error(made, batch.x)
    return found


BASE_UNET = UNetConfig(widths=(32, 64, 96), blocks=1, attention=(1, 2))
TSR_UNET = UNetConfig(in_channels=2 * CHANNELS, widths=(32, 64), blocks=1, attention=())
SSR_UNET = UNetConfig(in_channels=2 * CHANNELS, widths=(32, 32), blocks=1, attention=())


def _stage(name: str, build: Callable[[], nn.Module], loss: Loss, share: float) -> Stage:
    return Stage(
        name=f"imagen-video-{name}",
        toy=CLIPS_32,
        build=lambda models: build(),
        loss=loss,
        share=share,
        batch_size=16,
    )


BASE = _stage("base", lambda: VideoUNet(BASE_UNET, partial(TimeAttention, head_width=32)), base_loss, 0.6)
TSR = _stage("tsr", lambda: VideoUNet(TSR_UNET, TimeConv), tsr_loss, 0.4)
SSR = _stage("ssr", lambda: VideoUNet(SSR_UNET, TimeConv), ssr_loss, 0.4)

ENTRY = Entry(
    name="imagen_video",
    title="Imagen Video",
    paper=Paper(
        authors="Ho, Chan, Saharia, Whang, Gao, Gritsenko, Kingma, Poole, Norouzi, Fleet and Salimans",
        year=2022,
        title="Imagen Video: High Definition Video Generation with Diffusion Models",
        arxiv="2210.02303",
    ),
    family="video",
    new="A cascade: few small frames from text, then frames between them, then more pixels.",
    after=("ddim", "video_diffusion"),
    stages=(BASE, TSR, SSR),
    rows=(
        Row(name="Imagen Video", sample=sample, stages=(BASE, TSR, SSR), toy=CLIPS_32),
        Row(name="Imagen Video, base interpolated", sample=sample_interpolated, stages=(BASE,), toy=CLIPS_32),
    ),
    figures=figures,
)
