"""RoPE scaling: rotary positions beyond those that were trained.

Pawar, Tonmoy, Zaman, Jain, Chadha and Das 2024, "The What, Why, and How of Context Length
Extension Techniques in Large Language Models: A Detailed Survey", arXiv:2401.07872.

What was new: an order in what had been found within a year, much of it on message boards. Rotary
positions (Su et al. 2021, arXiv:2104.09864) turn pairs of features by place times rate. Beyond the
context that was trained, the slow pairs come to angles never seen, and attention fails. The ways
to map longer contexts onto known angles, for s times the length:

    interpolation  all rates / s (Chen et al. 2023, arXiv:2306.15595): no new angle, but
                   neighbours are told apart less well
    NTK-aware      theta * s^(D / (D - 2)): the slowest pair is slowed by s, the fastest stays
    YaRN           pairs that turn often within the context stay, those that turn less than once are
                   slowed by s, a ramp between; and sharper attention (Peng et al. 2023,
                   arXiv:2309.00071)

In the same week: fine-tuning with a larger base on few samples (entropy_abf.py); after it: a
million tokens (lwm.py).
Here they are applied to what this house makes: video. Its own networks count time in seconds by the
same rotation (dit/rope.py), and so meet the question whenever a video is longer than a window.

Smaller here: a transformer over 5 latents of a clip, 17 frames, with rotary positions in time and
learnt ones in space, trained by the loss of DDPM (ddpm.py). What is measured is this loss on
longer clips, 9 and 17 latents, with nothing trained on. A fifth way needs no new angles either and
shows what can be had: attention to the latents nearer than 5 (window). The context is so short that
even the fastest pair does not turn once in it, so YaRN's bounds are fractions of a turn here where
its paper has 1 and 32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minisora.zoo.ddpm import loss
from minisora.zoo.frame.codec import encoded
from minisora.zoo.frame.entry import Entry, Models, Paper, Stage
from minisora.zoo.frame.sets import LATENT_CLIPS_64, ToyBatch, rendered
from minisora.zoo.nets.attention import attend
from minisora.zoo.nets.embed import ClassEmbedding, TimeEmbedding
from minisora.zoo.nets.language import frequencies, rotated
from minisora.zoo.nets.transformer import Block, Head, patches, pictures

WIDTH, DEPTH, HEADS = 192, 6, 6
HEAD_WIDTH = WIDTH // HEADS
THETA = 100.0
CONTEXT, *SHAPE = LATENT_CLIPS_64.shape  # latents of a clip, and their shape
PATCH = 2
CELLS = SHAPE[0] // PATCH * SHAPE[1] // PATCH  # tokens of a latent
ALPHA, BETA = 0.1, 0.5  # turns within the context
LENGTHS, CLIPS, DRAWS = (5, 9, 17), 32, 4


def interpolated(rates: Tensor, s: float) -> Tensor:
    """Position interpolation: place m is turned as m / s was. Chen et al., section 2.3"""
    return rates / s


def ntk_aware(width: int, theta: float, s: float) -> Tensor:
    """A larger base. Peng et al., section 3.1"""
    return frequencies(width, theta * s ** (width / (width - 2)))


def yarn(rates: Tensor, s: float, context: int, *, alpha: float = 1.0, beta: float = 32.0) -> tuple[Tensor, float]:
    """Rates by parts and the factor of the logits. Peng et al., sections 3.2 and 3.4"""
    turns = context * rates / (2 * math.pi)  # r(d), the context over the wavelength
    gamma = ((turns - alpha) / (beta - alpha)).clamp(0, 1)  # the ramp
    return (1 - gamma) * rates / s + gamma * rates, (0.1 * math.log(s) + 1) ** 2  # 1 / t


@dataclass(frozen=True, eq=False)
class TimeRope:
    """How tokens see times. sharper: factor of the logits; window: latents that are seen"""

    rates: Tensor
    sharper: float = 1.0
    window: int | None = None


TRAINED = TimeRope(frequencies(HEAD_WIDTH, THETA))


def schemes(s: float) -> dict[str, TimeRope]:
    """Ways to see a clip of s times the latents."""
    rates = TRAINED.rates
    return {
        "none": TRAINED,
        "interpolation": TimeRope(interpolated(rates, s)),
        "NTK-aware": TimeRope(ntk_aware(HEAD_WIDTH, THETA, s)),
        "YaRN": TimeRope(*yarn(rates, s, CONTEXT, alpha=ALPHA, beta=BETA)),
        "window": TimeRope(rates, window=CONTEXT),
    }


class TimeAttention(nn.Module):
    """Self-attention of all tokens of a clip, (B, T CELLS, D), turned by their times."""

    def __init__(self) -> None:
        super().__init__()
        self.rope = TRAINED
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        times = torch.arange(x.shape[1], device=x.device) // CELLS
        q, k = rotated(q * self.rope.sharper, times, self.rope.rates), rotated(k, times, self.rope.rates)
        if self.rope.window is not None:
            mask = (times[:, None] - times).abs() < self.rope.window
        attended: Tensor = self.out(attend(q, k, v, mask=mask).transpose(1, 2).flatten(2))
        return attended


class Clips(nn.Module):
    """eps_theta of clips of any length: latents (B, T, Hz, Wz, Cz) at steps (B,) -> their noise."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(PATCH**2 * SHAPE[2], WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(CELLS, WIDTH))
        self.time, self.label = TimeEmbedding(WIDTH), ClassEmbedding(WIDTH)
        self.blocks = nn.ModuleList([Block(WIDTH, HEADS) for _ in range(DEPTH)])
        for block in self.blocks:
            block.attention = TimeAttention()
        self.head = Head(WIDTH, PATCH**2 * SHAPE[2])

    def forward(self, x: Tensor, t: Tensor, labels: Tensor, dropped: Tensor | None = None) -> Tensor:
        told = self.time(t) + self.label(labels, dropped)
        h = self.enter(patches(x.flatten(0, 1), PATCH)) + self.places
        h = h.unflatten(0, (len(x), -1)).flatten(1, 2)
        for block in self.blocks:
            h = block(h, told)
        tokens = self.head(h, told).unflatten(1, (-1, CELLS)).flatten(0, 1)
        height, width, channels = SHAPE
        return pictures(tokens, PATCH, (height, width, channels)).unflatten(0, (len(x), -1))

    def see(self, rope: TimeRope) -> None:
        for module in self.modules():
            if isinstance(module, TimeAttention):
                module.rope = rope


def figures(models: Models, seed: int) -> dict[str, float]:
    """The loss on held-out clips of each length, under each scheme, of the same noise."""
    model = models[STAGE.name]
    assert isinstance(model, Clips)
    frames, labels = rendered(LATENT_CLIPS_64.of_pixels.longer(4 * (LENGTHS[-1] - 1) + 1), CLIPS)
    z, found = encoded(frames), {}
    for length in LENGTHS:
        batch = ToyBatch(z[:, :length], labels)
        for name, rope in schemes(length / CONTEXT).items():
            if length == CONTEXT and name != "none":
                continue
            model.see(rope)
            noises = [
                torch.Generator().manual_seed(DRAWS * seed + n) for n in range(DRAWS)
            ]  # the same t at all lengths
            with torch.inference_mode():
                drawn = [float(loss(model, batch, noise)["loss"]) for noise in noises]
            found[f"loss, {length} latents, {name}"] = sum(drawn) / DRAWS
    model.see(TRAINED)
    return found


STAGE = Stage(name="rope-clips", toy=LATENT_CLIPS_64, build=lambda models: Clips(), loss=loss, share=0.6)

ENTRY = Entry(
    name="rope_scaling",
    title="RoPE scaling",
    paper=Paper(
        authors="Pawar et al.",
        year=2024,
        title="The What, Why, and How of Context Length Extension Techniques in Large Language Models",
        arxiv="2401.07872",
    ),
    family="long",
    new="Longer contexts are mapped onto angles that were trained: interpolation, NTK-aware, YaRN.",
    after=("ddpm", "dit"),
    stages=(STAGE,),
    figures=figures,
)
