"""MCVD: masked conditional video diffusion.

Voleti, Jolicoeur-Martineau and Pal 2022, arXiv:2205.09853.

What was new: one model for four tasks. It denoises a block of a few frames, told the frames before
and after it; in training either is hidden at random, so that the same network predicts the future
(or the past), generates from nothing, and interpolates. Long clips come block by block. It came six
weeks after video_diffusion.py, which conditions a model that was never trained for it; masks
over frames are how Sora's successors, and minisora itself, take pictures and clips to extend.

Smaller here: blocks of 4 frames of 32x32 pixels between 2 past and 2 future ones, and the U-Net of
ddpm.py. The frames enter as channels (the paper's "concat"); its other way, norms that the frames
modulate (SPATIN), is left out. The class is told too, so that a score can be read.

    past    future
    seen    hidden   prediction
    hidden  seen     prediction of the past
    hidden  hidden   generation
    seen    seen     interpolation

In the paper's symbols p are past frames, f future ones, x_0 the block between; both masks fall with
probability 1/2, independently.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minisora.zoo.ddim import denoised
from minisora.zoo.ddpm import T, noised
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import CLIPS_32, ToyBatch, batch_of
from minisora.zoo.nets.embed import ClassEmbedding, TimeEmbedding
from minisora.zoo.nets.unet import UNet, UNetConfig

PAST, BLOCK, FUTURE = 2, 4, 2  # frames
NUM_FRAMES, SIDE = CLIPS_32.num_frames, CLIPS_32.side
STEPS = 20
HIDDEN = 0.5  # share of the samples whose past, and whose future, is masked


class MaskedNet(nn.Module):
    """eps_theta(x_t, t | p, f): the noise in a block of frames (B, BLOCK, H, W, 3)."""

    def __init__(self) -> None:
        super().__init__()
        config = UNetConfig(in_channels=3 * (PAST + BLOCK + FUTURE), out_channels=3 * BLOCK)
        self.time, self.label = TimeEmbedding(config.embedding), ClassEmbedding(config.embedding)
        self.task = nn.Embedding(4, config.embedding)  # which of past and future are seen
        self.unet = UNet(config)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, p: Tensor, f: Tensor, seen: Tensor) -> Tensor:
        """p, f: frames (B, PAST or FUTURE, H, W, 3); seen: (B, 2) bool, of past and future"""
        m_p, m_f = seen.to(x.dtype).reshape(-1, 2, 1, 1, 1, 1).unbind(1)
        told = self.time(t) + self.label(labels) + self.task(2 * seen[:, 0] + seen[:, 1].long())
        eps: Tensor = self.unet(as_channels(torch.cat([m_p * p, x, m_f * f], 1)), told)
        return eps.unflatten(3, (BLOCK, 3)).permute(0, 3, 1, 2, 4)


def as_channels(frames: Tensor) -> Tensor:
    """Frames (B, T, H, W, 3) as channels of one picture (B, H, W, T 3)."""
    return frames.permute(0, 2, 3, 1, 4).flatten(3)


def loss(eps_theta: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """|eps - eps_theta(x_t, t | m_p p, m_f f)|^2 with random masks m."""
    count = len(batch.x)
    windows = batch.x.unfold(1, PAST + BLOCK + FUTURE, 1).movedim(-1, 2)  # (B, starts, frames, H, W, 3)
    start = torch.randint(windows.shape[1], (count,), generator=noise)
    p, x_0, f = windows[torch.arange(count), start].split([PAST, BLOCK, FUTURE], 1)
    seen = torch.rand(count, 2, generator=noise) >= HIDDEN
    t = torch.randint(T, (count,), generator=noise)
    eps = torch.randn(x_0.shape, generator=noise)
    predicted = eps_theta(noised(x_0, eps, t), t, batch.labels, p, f, seen)
    return {"loss": (predicted.float() - eps).square().mean()}


def block(model: nn.Module, ask: Ask, p: Tensor | None, f: Tensor | None, *, steps: int = STEPS) -> Tensor:
    """A block of frames (B, BLOCK, H, W, 3) between those that are given, by DDIM."""
    x = ask.normal(BLOCK, SIDE, SIDE, 3)
    seen = torch.tensor([p is not None, f is not None]).expand(len(x), 2)
    p, f = (torch.zeros_like(x[:, :2]) if frames is None else frames for frames in (p, f))

    def eps_theta(x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        eps: Tensor = model(x, t, labels, p, f, seen)
        return eps

    return denoised(eps_theta, x, ask, steps=steps, bound=1)


def extended(model: nn.Module, ask: Ask, clip: Tensor) -> Tensor:
    """Prediction of block after block, each from the last frames, until the clip is whole."""
    while clip.shape[1] < NUM_FRAMES:
        clip = torch.cat([clip, block(model, ask, clip[:, -PAST:], None)], 1)
    return clip[:, :NUM_FRAMES]


def sample(models: Models, ask: Ask) -> Tensor:
    """Generation of the first block, prediction of the others."""
    model = models[STAGE.name]
    return extended(model, ask, block(model, ask, None, None))


def figures(models: Models, seed: int) -> dict[str, float]:
    """Mean squared error per pixel, in 0..1, of frames made next to those of held-out clips.

    Next to it what needs no model: copying the nearest frame, blending the two nearest.
    """
    model, batch = models[STAGE.name], batch_of(CLIPS_32, range(128), split="held_out")
    p, x_0, f = batch.x[:, : PAST + BLOCK + FUTURE].split([PAST, BLOCK, FUTURE], 1)
    before, after = p[:, -1:], f[:, :1]
    share = torch.arange(1, BLOCK + 1).reshape(-1, 1, 1, 1) / (BLOCK + 1)
    ask = Ask(batch.labels, torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        ways = {
            "prediction of a block": (block(model, ask, p, None), before, x_0),
            "prediction of the rest of the clip": (extended(model, ask, p)[:, PAST:], before, batch.x[:, PAST:]),
            "prediction of the past": (block(model, ask, None, f), after, x_0),
            "interpolation": (block(model, ask, p, f), before + share * (after - before), x_0),
        }
    found = {}
    for name, (made, simple, truth) in ways.items():
        without = "a linear blend" if name == "interpolation" else "a copied frame"
        for way, frames in ((name, made), (f"{name}, {without}", simple)):
            found[f"error of {way}"] = float(((frames - truth) / 2).square().mean())
    return found


STAGE = Stage(name="mcvd", toy=CLIPS_32, build=lambda models: MaskedNet(), loss=loss)

ENTRY = Entry(
    name="mcvd",
    title="MCVD",
    paper=Paper(
        authors="Voleti, Jolicoeur-Martineau and Pal",
        year=2022,
        title="MCVD: Masked Conditional Video Diffusion for Prediction, Generation, and Interpolation",
        arxiv="2205.09853",
    ),
    family="video",
    new="One model, whose past and future frames are masked at random, predicts, generates and interpolates.",
    after=("ddpm", "ddim"),
    stages=(STAGE,),
    rows=(Row(name=f"MCVD, blocks of {BLOCK} frames", sample=sample, stages=(STAGE,), toy=CLIPS_32),),
    figures=figures,
)
