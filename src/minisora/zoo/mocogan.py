"""MoCoGAN: decomposing motion and content for video generation.

Tulyakov, Liu, Yang and Kautz 2017, arXiv:1707.04993.

What was new: a clip is a path through a space of pictures. Its code has two parts: the content z_C,
drawn once and the same in every frame, and the motion z_M, which a recurrent network R_M makes anew
for each frame from noise. A generator of pictures G_I draws every frame from its pair; one
discriminator sees single frames, a second one whole clips. Nobody tells which part is which: only
the second changes with time, so the rest has to be content. Before it, VGAN and TGAN drew a clip
from one point. After it: two discriminators at the scale of BigGAN (dvdgan.py); codes instead of
games (videogpt.py).

Smaller here: 32x32 pixels for 64x64 and 96x96, narrower networks, a few thousand steps. All
networks move at once by one optimizer, where the paper alternates. The category z_A of section
"Categorical Dynamics" is the motion, which D_V learns to name; colour and shape enter G_I with the
content in the same way, and D_I names them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from minisora.eval.frechet import picture_features
from minisora.judge.network import load_judge
from minisora.judge.playroom import PlayroomJudge
from minisora.video import to_uint8
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import CLIPS_32, COLOUR, FIELDS, MOTION, SHAPE, ToyBatch, batch_of

T = CLIPS_32.num_frames
CONTENT, MOTION_WIDTH = 48, 16  # widths of z_C and of z_M
LOOK = (COLOUR, SHAPE)
ACTION = sum(len(words) for words in (list(FIELDS.values())[field] for field in (*LOOK, MOTION)))


def one_hot(labels: Tensor, fields: tuple[int, ...] = (*LOOK, MOTION)) -> Tensor:
    """One-hot vectors of some fields side by side: labels (B, FIELDS) -> (B, all their words)."""
    sizes = [len(words) for words in FIELDS.values()]
    return torch.cat([F.one_hot(labels[:, field], sizes[field]) for field in fields], 1).float()


class Generator(nn.Module):
    """R_M and G_I. (B, CONTENT) z_C, (B, T, MOTION_WIDTH) noise, labels -> (B, T, 32, 32, 3)."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        actions = len(FIELDS["motion"])
        self.R_M = nn.GRUCell(actions + MOTION_WIDTH, MOTION_WIDTH)
        codes = CONTENT + ACTION - actions + MOTION_WIDTH
        self.G_I = nn.Sequential(
            *(nn.ConvTranspose2d(codes, 4 * width, 4, bias=False), nn.BatchNorm2d(4 * width), nn.ReLU()),
            *(_up(4 * width, 2 * width), nn.BatchNorm2d(2 * width), nn.ReLU()),
            *(_up(2 * width, width), nn.BatchNorm2d(width), nn.ReLU()),
            *(_up(width, 3), nn.Tanh()),
        )

    def forward(self, z_C: Tensor, epsilon: Tensor, labels: Tensor) -> Tensor:
        content = torch.cat([z_C, one_hot(labels, LOOK)], 1)
        z_A, z_M = one_hot(labels, (MOTION,)), [torch.zeros(len(z_C), MOTION_WIDTH)]
        for epsilon_k in epsilon.unbind(1):
            z_M.append(self.R_M(torch.cat([z_A, epsilon_k], 1), z_M[-1]))
        z = torch.cat([torch.cat([content, z_M_k], 1) for z_M_k in z_M[1:]])  # (T B, codes)
        frames = self.G_I(z[..., None, None])
        return frames.unflatten(0, (-1, len(z_C))).permute(1, 0, 3, 4, 2).float()


class MoCoGAN(nn.Module):
    """The generator with its two opponents; each also names what was asked for."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.generator = Generator()
        self.D_I = nn.Sequential(
            *(nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(4 * width), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(4 * width, 1 + sum(_sizes(LOOK)), 4), nn.Flatten()),
        )
        self.D_V = nn.Sequential(
            *(_across(3, width), nn.LeakyReLU(0.2)),
            *(_across(width, 2 * width), nn.BatchNorm3d(2 * width), nn.LeakyReLU(0.2)),
            *(_across(2 * width, 4 * width), nn.BatchNorm3d(4 * width), nn.LeakyReLU(0.2)),
            *(nn.Conv3d(4 * width, 1 + sum(_sizes((MOTION,))), (T - 9, 4, 4)), nn.Flatten()),
        )
        channels_last(self)

    def forward(self, z_C: Tensor, epsilon: Tensor, labels: Tensor) -> Tensor:
        return self.generator(z_C, epsilon, labels)


def loss(model: MoCoGAN, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """The game of section "Learning" for both sides at once, with -log D for the generator's part.

    D_I sees one frame of each clip, S_1(v); D_V sees them all.
    """
    count = len(batch.x)
    z_C, epsilon = torch.randn(count, CONTENT, generator=noise), torch.randn(count, T, MOTION_WIDTH, generator=noise)
    real, fake = batch.x, model(z_C, epsilon, batch.labels)
    clip, frame = torch.arange(count), torch.randint(T, (count,), generator=noise)
    pictures = tuple(v[clip, frame].permute(0, 3, 1, 2) for v in (real, fake))
    clips = tuple(v.permute(0, 4, 1, 2, 3) for v in (real, fake))
    d_i, g_i = game(model.D_I, pictures, batch.labels, LOOK)
    d_v, g_v = game(model.D_V, clips, batch.labels, (MOTION,))
    d, g = d_i + d_v, g_i + g_v
    return {"loss": d + g, "discriminators": d.detach(), "generator": g.detach()}


def game(D: nn.Module, pair: tuple[Tensor, ...], labels: Tensor, fields: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Losses of a discriminator and of the generator; each has gradients in its own part alone.

    D gives a score, whose sigmoid is the paper's D, and logits of the labels' `fields`: Q.
    pair: real and generated
    """
    real, fake = pair
    on_real, on_fake, on_generated = D(real), D(fake.detach()), frozen(D, fake)
    discriminator = F.softplus(-on_real[:, 0]).mean() + F.softplus(on_fake[:, 0]).mean()  # -log D, -log (1 - D)
    generator = F.softplus(-on_generated[:, 0]).mean()
    return discriminator + named(on_real, labels, fields), generator + named(on_generated, labels, fields)


def frozen(module: nn.Module, *inputs: Tensor) -> Tensor:
    """The module at these inputs; a gradient passes through it, and leaves its parameters alone."""
    result: Tensor = functional_call(module, {name: p.detach() for name, p in module.named_parameters()}, inputs)
    return result


def named(scores: Tensor, labels: Tensor, fields: tuple[int, ...]) -> Tensor:
    """-log Q of the right words: L_I of section "Categorical Dynamics", with lambda = 1."""
    logits = scores[:, 1:].float().split(_sizes(fields), 1)
    losses = [F.cross_entropy(each, labels[:, field]) for each, field in zip(logits, fields, strict=True)]
    return torch.stack(losses).sum()


def _sizes(fields: tuple[int, ...]) -> list[int]:
    return [len(list(FIELDS.values())[field]) for field in fields]


def _up(width: int, out: int) -> nn.Module:
    return nn.ConvTranspose2d(width, out, 4, stride=2, padding=1, bias=False)


def _across(width: int, out: int) -> nn.Module:
    """Halves rows and columns; time shrinks by the kernel alone."""
    return nn.Conv3d(width, out, 4, stride=(1, 2, 2), padding=(0, 1, 1), bias=width == 3)


def channels_last(module: nn.Module) -> None:
    """Weights in the layout that convolutions are fast in."""
    for p in module.parameters():
        if p.ndim >= 4:
            p.data = p.data.contiguous(memory_format=(torch.channels_last, torch.channels_last_3d)[p.ndim - 4])


def sample(models: Models, ask: Ask) -> Tensor:
    return models[STAGE.name](ask.normal(CONTENT), ask.normal(T, MOTION_WIDTH), ask.labels)


def figures(models: Models, seed: int) -> dict[str, float]:
    """Distance in looks between two clips that share one of the two codes.

    Looks are the judge's features of a picture, averaged over the frames of a clip.
    """
    labels, noise = batch_of(CLIPS_32, range(64), split="held_out").labels, torch.Generator().manual_seed(seed)
    ask = Ask(labels, noise)
    z_C, other_z_C = ask.normal(CONTENT), ask.normal(CONTENT)
    epsilon, other_epsilon = ask.normal(T, MOTION_WIDTH), ask.normal(T, MOTION_WIDTH)
    other_motion = labels.clone()
    other_motion[:, MOTION] = (labels[:, MOTION] + 1) % len(FIELDS["motion"])
    with torch.inference_mode():
        clip, moved, changed = (
            looks(models[STAGE.name](*codes))
            for codes in (
                (z_C, epsilon, labels),
                (z_C, other_epsilon, other_motion),
                (other_z_C, epsilon, labels),
            )
        )
    return {
        "distance in looks, same content, other motion": float((clip - moved).norm(dim=1).mean()),
        "distance in looks, other content, same motion": float((clip - changed).norm(dim=1).mean()),
    }


def looks(clips: Tensor) -> Tensor:
    """Features of clips (N, T, H, W, 3) without their order in time: (N, 64)."""
    pictures = to_uint8(clips.flatten(0, 1))
    return picture_features(pictures, load_judge(PlayroomJudge).segmenter).unflatten(0, (len(clips), -1)).mean(1)


STAGE = Stage(
    name="mocogan",
    toy=CLIPS_32,
    build=lambda models: MoCoGAN(),
    loss=loss,
    share=0.8,
    batch_size=16,
    lr=4e-4,
    betas=(0.5, 0.99),
    adversarial=True,
)

ENTRY = Entry(
    name="mocogan",
    title="MoCoGAN",
    paper=Paper(
        authors="Tulyakov, Liu, Yang and Kautz",
        year=2017,
        title="MoCoGAN: Decomposing Motion and Content for Video Generation",
        arxiv="1707.04993",
    ),
    family="video",
    new="One code for the whole clip and one for each frame separate what is seen from how it moves.",
    stages=(STAGE,),
    rows=(Row(name="MoCoGAN", sample=sample, stages=(STAGE,), toy=CLIPS_32),),
    figures=figures,
)
