"""AnimateDiff: animate your personalised text-to-image models without specific tuning.

Guo, Yang, Rao, Liang, Wang, Qiao, Agrawala, Lin and Dai 2023, arXiv:2307.04725.

What was new: motion is a part that can be plugged in. A motion module, transformers along time
between the layers of a frozen picture model, is trained once on clips; then it moves every model
that was fine-tuned from the same one, without having seen it. Thousands of personalised Stable
Diffusion models became video models that way. Before it: VideoLDM (videoldm.py), whose layers are
mixed into one model. After it: SparseCtrl (arXiv:2311.16933), which adds keyframes, and models that
train pictures and clips together (walt.py).

Smaller here: the picture model is that of videoldm.py, of 3 million parameters. The personalised
one is fine-tuned from it on scenes at night, and draws night whatever light it is asked for. A
block of the module is two self-attentions along time; the feed-forward layer is left out. So are
the domain adapter (section 4.1), as pictures and clips here look alike and it has no gap to absorb,
and MotionLoRA (section 4.3).

Unlike the layers of videoldm.py the module is told neither step nor caption: what it knows of them
it reads from the features of the picture model.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from minisora.eval.frechet import clip_features, frechet_distance, playroom_features
from minisora.judge.network import load_judge
from minisora.judge.playroom import PlayroomJudge
from minisora.zoo import ddpm
from minisora.zoo.ddim import denoised
from minisora.zoo.frame.entry import TABLE, Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.measure import sampled, scores
from minisora.zoo.frame.sets import CLIPS_64, FIELDS, LATENT_CLIPS_64, MOTION, ToyBatch, opened
from minisora.zoo.nets.embed import zeroed
from minisora.zoo.nets.temporal import TimeAttention
from minisora.zoo.videoldm import (
    DEPTH,
    FRAMES,
    HEADS,
    PICTURES,
    STEPS,
    WIDTH,
    PictureModel,
    frames_alone,
    interleaved,
    picture_loss,
)

LIGHT = list(FIELDS).index("light")
LIGHTS = FIELDS["light"]
NIGHT = LIGHTS.index("night")
PERSONAL_BATCH = 16  # pictures of a step of fine-tuning, drawn from those at night in its batch
MEASURED = 128  # clips for each of the figures


class MotionModule(nn.Module):
    """A temporal transformer, section 4.2: (B T, L, D) -> (B T, L, D); the identity at first."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH) for _ in range(2)])
        self.attentions = nn.ModuleList([TimeAttention(WIDTH, WIDTH // HEADS, zero=False) for _ in range(2)])
        self.out = zeroed(nn.Linear(WIDTH, WIDTH))  # so that training begins with the picture model's features

    def forward(self, z: Tensor, embedding: Tensor) -> Tensor:
        h = z
        for norm, attention in zip(self.norms, self.attentions, strict=True):
            h = h + attention(norm(h), FRAMES)
        moved: Tensor = z + self.out(h)
        return moved


class Animated(nn.Module):
    """Motion modules in the frozen picture model that they are trained with, or in another."""

    def __init__(self, picture_model: PictureModel) -> None:
        super().__init__()
        self.picture_model = picture_model
        self.motion_modules = nn.ModuleList([MotionModule() for _ in range(DEPTH)])

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        labels: Tensor,
        dropped: Tensor | None = None,
        *,
        personal: PictureModel | None = None,
    ) -> Tensor:
        return interleaved(personal or self.picture_model, self.motion_modules, x, t, labels)


def personal_loss(eps_theta: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """Fine-tuning on the scenes at night, with captions that tell any light."""
    at_night = (batch.labels[:, LIGHT] == NIGHT).float()
    rows = torch.multinomial(at_night + 1e-6, PERSONAL_BATCH, replacement=True, generator=noise)
    labels = batch.labels[rows]
    labels[:, LIGHT] = torch.randint(len(LIGHTS), (PERSONAL_BATCH,), generator=noise)
    return picture_loss(eps_theta, ToyBatch(batch.x[rows], labels), noise)


def sample(models: Models, ask: Ask, *, pictures: Stage, moves: bool = True) -> Tensor:
    """DDIM by a picture model with the motion modules plugged in, or frame by frame."""
    model = models[pictures.name]
    eps_theta = partial(models[MODULE.name], personal=model) if moves else partial(frames_alone, model)
    return denoised(eps_theta, ask.normal(*LATENT_CLIPS_64.shape), ask, steps=STEPS)


def figures(models: Models, seed: int) -> dict[str, float]:
    """What plugging the modules in does to motion and to the look, for both picture models.

    motion:   share of the clips in which the judge sees the motion that was asked for
    at night: Frechet distance to held-out clips at night, small if the personal look is kept
    """
    features = playroom_features(load_judge(PlayroomJudge).segmenter)
    frames, labels = opened(CLIPS_64, "held_out")
    at_night = torch.from_numpy(np.array(frames[labels[:, LIGHT] == NIGHT]))
    reference = clip_features(at_night, features)
    found = {}
    for row in (*ENTRY.rows, _row("base, no module", PICTURES, moves=False)):
        clips = sampled(row, models, seed=seed, budget=replace(TABLE, clips=MEASURED))
        found[f"{row.name}: motion"] = float(scores(clips.frames, clips.labels, (MOTION,)).float().mean())
        found[f"{row.name}: at night"] = frechet_distance(clip_features(clips.frames, features), reference)
    return found


def _row(name: str, pictures: Stage, *, moves: bool = True) -> Row:
    return Row(
        name=f"AnimateDiff, {name}",
        sample=partial(sample, pictures=pictures, moves=moves),
        stages=(MODULE, pictures) if moves else (pictures,),
        toy=LATENT_CLIPS_64,
    )


PERSONAL = Stage(
    name="animatediff-personal",
    toy=LATENT_CLIPS_64,
    build=lambda models: deepcopy(models[PICTURES.name]).requires_grad_(True),
    loss=personal_loss,
    needs=(PICTURES,),
    share=0.1,
    batch_size=3 * PERSONAL_BATCH,
    lr=5e-4,
)
MODULE = Stage(
    name="animatediff",
    toy=LATENT_CLIPS_64,
    build=lambda models: Animated(deepcopy(models[PICTURES.name]).requires_grad_(False)),  # type: ignore[arg-type]
    loss=ddpm.loss,
    needs=(PICTURES,),
    share=0.7,
    batch_size=16,
)

ENTRY = Entry(
    name="animatediff",
    title="AnimateDiff",
    paper=Paper(
        authors="Guo, Yang, Rao, Liang, Wang, Qiao, Agrawala, Lin and Dai",
        year=2023,
        title="AnimateDiff: Animate Your Personalized Text-to-Image Diffusion Models without Specific Tuning",
        arxiv="2307.04725",
    ),
    family="video",
    new="A module of motion, trained once with a frozen picture model, moves others made from it.",
    after=("videoldm",),
    stages=(PICTURES, PERSONAL, MODULE),
    rows=(
        _row("base", PICTURES),
        _row("personal", PERSONAL),
        _row("personal, no module", PERSONAL, moves=False),
    ),
    figures=figures,
)
