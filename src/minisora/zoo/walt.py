"""W.A.L.T: photorealistic video generation with diffusion models.

Gupta, Yu, Sohn, Gu, Hahn, Fei-Fei, Essa, Jiang and Lezama 2023, arXiv:2312.06662.

What was new: a window attention latent transformer. Its latents are causal: the first frame is
encoded alone, so that a picture is a clip of one frame, and one model is trained on both. Its
blocks see windows: in turn a frame (spatial), and a box of all frames and some of the rows and
columns (spatiotemporal), where a picture passes by an identity mask. Scale and shift of the norms
come from one MLP and a low-rank part for each block (adaLN-LoRA). Before it: DiT (dit.py), and
video_diffusion.py, which trained on pictures too; latte.py came in the same weeks. Sora's
transformer on spacetime patches of pictures and clips is next of kin.

Smaller here: the house's causal VAE, latents 5x8x8x16 of clips and 8x8x16 of pictures, and a
width of 128; eps for the paper's v, no self-conditioning, no relative positions in windows. Trained
on both sets, and on clips alone with the same FLOPs.

In the paper's symbols c + t is the sum of the embeddings of class and step, A^i the scales, shifts
and gates of block i, r the rank of what is its own.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from minisora.zoo import ddpm
from minisora.zoo.ddim import denoised
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import LATENT_CLIPS_64, LATENT_PICTURES_64, Toy, ToyBatch, random_batch
from minisora.zoo.nets.attention import Attention
from minisora.zoo.nets.embed import ClassEmbedding, TimeEmbedding, zeroed
from minisora.zoo.nets.guidance import guided
from minisora.zoo.nets.transformer import Block, Head
from minisora.zoo.nets.video import clip_positions

WIDTH, DEPTH, HEADS = 128, 6, 4
FRAMES, ROWS, COLUMNS, CHANNELS = LATENT_CLIPS_64.shape
WINDOW = 4  # rows and columns of a spatiotemporal window
RANK = 8
STEPS = 20
GUIDANCE = 2.0
DROPPED = 0.1  # share of the samples that are shown no class, for guidance


class WindowAttention(Attention):
    """Attention within boxes of tokens (section 4.2).

    frames: of a box, 1 or all of a clip's; side: its rows and columns
    """

    def __init__(self, frames: int, side: int) -> None:
        super().__init__(WIDTH, WIDTH, WIDTH // HEADS, zero=False)
        self.frames, self.side = frames, side

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        is_picture = x.shape[1] == ROWS * COLUMNS
        frames = 1 if is_picture else self.frames
        boxes, shape = windows(x, frames, self.side)
        if is_picture and self.frames > 1:
            mask = torch.eye(boxes.shape[1], dtype=torch.bool)  # its values pass
        return unwindowed(super().forward(boxes, boxes, mask), shape)


def windows(x: Tensor, frames: int, side: int) -> tuple[Tensor, torch.Size]:
    """Tokens (B, L, D) in boxes (B n, frames side side, D), and what `unwindowed` has to know."""
    x = x.unflatten(1, (-1, frames, ROWS // side, side, COLUMNS // side, side))
    x = x.permute(0, 1, 3, 5, 2, 4, 6, 7)  # B, then number of the box, then place in it
    return x.flatten(4, 6).flatten(0, 3), x.shape


def unwindowed(boxes: Tensor, shape: torch.Size) -> Tensor:
    return boxes.reshape(shape).permute(0, 1, 4, 2, 5, 3, 6, 7).flatten(1, 6)


class WALT(nn.Module):
    """eps_theta: latents of clips (B, T, H, W, C), or of pictures (B, H, W, C), to their noise."""

    def __init__(self, window: int = WINDOW) -> None:
        super().__init__()
        self.enter = nn.Linear(CHANNELS, WIDTH)
        self.places: Tensor
        self.register_buffer("places", clip_positions(FRAMES, ROWS, COLUMNS, WIDTH))
        self.time, self.label = TimeEmbedding(WIDTH), ClassEmbedding(WIDTH)
        self.blocks = nn.ModuleList([Block(WIDTH, HEADS) for _ in range(DEPTH)])
        for n, block in enumerate(self.blocks):
            block.attention = WindowAttention(FRAMES, window) if n % 2 else WindowAttention(1, ROWS)
            block.modulation = nn.Identity()
        self.first = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(WIDTH, 6 * WIDTH)))
        self.lora = nn.ModuleList([low_rank() for _ in range(DEPTH - 1)])
        self.head = Head(WIDTH, CHANNELS)

    def forward(self, z: Tensor, t: Tensor, labels: Tensor, dropped: Tensor | None = None) -> Tensor:
        told = self.time(t) + self.label(labels, dropped)
        tokens = z.flatten(1, -2)
        h = self.enter(tokens) + self.places[: tokens.shape[1]]  # a picture has the places of a first frame
        A = self.first(told)  # A^1 = MLP(c + t)
        h = self.blocks[0](h, A)
        for block, lora in zip(self.blocks[1:], self.lora, strict=True):
            h = block(h, A + lora(told))  # A^i = A^1 + W_b^i W_a^i (c + t), Eq. 3
        eps: Tensor = self.head(h, told)
        return eps.reshape(z.shape)


def low_rank() -> nn.Module:
    """W_b W_a, zero at first."""
    return nn.Sequential(nn.Linear(WIDTH, RANK, bias=False), zeroed(nn.Linear(RANK, 6 * WIDTH, bias=False)))


def loss(walt: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """The error of eps over the frames of clips and, if the batch has them, of pictures."""
    clips = ddpm.loss(walt, batch, noise, dropped=DROPPED)["loss"]
    if batch.second is None:
        return {"loss": clips}
    pictures = ddpm.loss(walt, batch.second, noise, dropped=DROPPED)["loss"]
    return {"loss": (FRAMES * clips + pictures) / (FRAMES + 1), "clips": clips, "pictures": pictures}


def sample(models: Models, ask: Ask, *, stage: Stage, toy: Toy = LATENT_CLIPS_64, guidance: float = 1.0) -> Tensor:
    """Clips or pictures, by DDIM."""
    return denoised(guided(models[stage.name], guidance), ask.normal(*toy.shape), ask, steps=STEPS)


def figures(models: Models, seed: int) -> dict[str, float]:
    """What windows and low ranks save, counted."""
    batch = random_batch(LATENT_CLIPS_64, 1)
    found = {}
    for name, window in (("windows", WINDOW), ("attention over the whole clip", ROWS)):
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            WALT(window)(batch.x, torch.tensor([0]), batch.labels)
        found[f"GFLOPs of a clip, {name}"] = counter.get_total_flops() / 1e9
    own = models[WALT_STAGE.name]
    assert isinstance(own, WALT)
    found["parameters of the modulations, adaLN-LoRA"] = float(
        sum(p.numel() for part in (own.first, own.lora) for p in part.parameters())
    )
    found["parameters of the modulations, adaLN"] = float(DEPTH * sum(p.numel() for p in own.first.parameters()))
    return found


def _stage(name: str, second: Toy | None) -> Stage:
    return Stage(
        name=name, toy=LATENT_CLIPS_64, second=second, build=lambda models: WALT(), loss=loss, share=0.8, batch_size=16
    )


WALT_STAGE, ALONE = _stage("walt", LATENT_PICTURES_64), _stage("walt-clips-alone", None)

ENTRY = Entry(
    name="walt",
    title="W.A.L.T",
    paper=Paper(
        authors="Gupta, Yu, Sohn, Gu, Hahn, Fei-Fei, Essa, Jiang and Lezama",
        year=2023,
        title="Photorealistic Video Generation with Diffusion Models",
        arxiv="2312.06662",
    ),
    family="video",
    new="One transformer of pictures and clips, in causal latents, that attends within windows.",
    after=("dit", "video_diffusion", "latent_diffusion"),
    stages=(WALT_STAGE, ALONE),
    rows=(
        Row(name="W.A.L.T", sample=partial(sample, stage=WALT_STAGE), stages=(WALT_STAGE,), toy=LATENT_CLIPS_64),
        Row(
            name=f"W.A.L.T, guidance {GUIDANCE:g}",
            sample=partial(sample, stage=WALT_STAGE, guidance=GUIDANCE),
            stages=(WALT_STAGE,),
            toy=LATENT_CLIPS_64,
        ),
        Row(
            name="W.A.L.T, pictures",
            sample=partial(sample, stage=WALT_STAGE, toy=LATENT_PICTURES_64),
            stages=(WALT_STAGE,),
            toy=LATENT_PICTURES_64,
        ),
        Row(
            name="W.A.L.T, trained without pictures",
            sample=partial(sample, stage=ALONE),
            stages=(ALONE,),
            toy=LATENT_CLIPS_64,
        ),
    ),
    figures=figures,
)
