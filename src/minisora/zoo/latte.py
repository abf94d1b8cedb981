"""Latte: a latent diffusion transformer for video.

Ma, Wang, Chen, Jia, Liu, Li, Chen and Qiao 2024, arXiv:2401.03048.

What was new: DiT (dit.py) for clips, and an answer to where time belongs in it. Latents of all
frames become tokens; attention over all of them would be dear, so four variants (section 3)
factorise it, as ViViT (vivit.py) did for classifiers. The paper finds the first best; Open-Sora
Plan was built on its code, and Open-Sora's first blocks are its third variant. Before it video
diffusion was made of U-Nets with layers of time (video_diffusion.py); W.A.L.T (walt.py) came in the
same weeks.

Smaller here: latents of 17 frames of 64x64 pixels, 5x8x8x16, of the house's causal VAE, where the
paper encodes each frame alone; two million parameters for 32 to 674 million; eps alone is learnt,
not the variances. The variants have about as many parameters as each other, and are trained on a
share of the budget each, the first on all of it. Joint training with pictures is left to walt.py.

    Variant 1  blocks within a frame and blocks along time, in turn
    Variant 2  all blocks within a frame first, then all along time (late fusion)
    Variant 3  in each block attention within a frame, then along time, then one MLP
    Variant 4  in each attention half of the heads within a frame, half along time, their sum
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn

from minisora.zoo.ddim import denoised
from minisora.zoo.ddpm import loss
from minisora.zoo.frame.entry import Ask, Entry, Models, Paper, Row, Stage
from minisora.zoo.frame.sets import LATENT_CLIPS_64
from minisora.zoo.nets.attention import Attention
from minisora.zoo.nets.embed import ClassEmbedding, TimeEmbedding, zeroed
from minisora.zoo.nets.guidance import guided
from minisora.zoo.nets.transformer import Block, Head, modulations, patches, pictures
from minisora.zoo.nets.video import SpatialAttention, SplitAttention, TemporalAttention, clip_positions

Variant = Literal[1, 2, 3, 4]
WIDTH, DEPTH, HEADS = 128, 8, 4
FRAMES, ROWS, COLUMNS, CHANNELS = LATENT_CLIPS_64.shape
PATCH = 2  # rows and columns of latents in a token
STEPS = 20
GUIDANCE = 2.0
DROPPED = 0.1  # share of the samples that are shown no class, for guidance


class Latte(nn.Module):
    """eps_theta: latents (B, T, H, W, C) at steps (B,) with labels to the noise in them."""

    def __init__(self, variant: Variant = 1) -> None:
        super().__init__()
        self.enter = nn.Linear(PATCH * PATCH * CHANNELS, WIDTH)  # uniform frame patch embedding
        self.register_buffer("places", clip_positions(FRAMES, ROWS // PATCH, COLUMNS // PATCH, WIDTH))
        self.time, self.label = TimeEmbedding(WIDTH), ClassEmbedding(WIDTH)
        self.blocks = nn.ModuleList(blocks(variant))
        self.head = Head(WIDTH, PATCH * PATCH * CHANNELS)

    def forward(self, z: Tensor, t: Tensor, labels: Tensor, dropped: Tensor | None = None) -> Tensor:
        told = self.time(t) + self.label(labels, dropped)
        h = self.enter(patches(z.flatten(0, 1), PATCH)).unflatten(0, (-1, FRAMES)).flatten(1, 2) + self.places
        for block in self.blocks:
            h = block(h, told)
        eps = self.head(h, told).unflatten(1, (FRAMES, -1)).flatten(0, 1)
        return pictures(eps, PATCH, (ROWS, COLUMNS, CHANNELS)).unflatten(0, (-1, FRAMES))


def blocks(variant: Variant) -> list[nn.Module]:
    """Blocks whose norms and gates come from step and class (S-AdaLN: DiT's adaLN-Zero)."""
    if variant == 1:
        return [block for _ in range(DEPTH // 2) for block in (spatial_block(), temporal_block())]
    if variant == 2:
        half = range(DEPTH // 2)
        return [*(spatial_block() for _ in half), *(temporal_block() for _ in half)]
    if variant == 3:
        return [FactorisedBlock() for _ in range(DEPTH * 3 // 4)]  # each has 16 D^2 weights for 12
    return [block_of(SplitAttention(WIDTH, HEADS, FRAMES)) for _ in range(DEPTH)]


def block_of(attention: Attention) -> Block:
    block = Block(WIDTH, HEADS)
    block.attention = attention
    return block


def spatial_block() -> Block:
    return block_of(SpatialAttention(WIDTH, HEADS, FRAMES))


def temporal_block() -> Block:
    return block_of(TemporalAttention(WIDTH, HEADS, FRAMES))


class FactorisedBlock(nn.Module):
    """Attention along time, which has a norm and a gate of its own, in the middle of a block."""

    def __init__(self) -> None:
        super().__init__()
        self.space, self.norm = spatial_block(), nn.LayerNorm(WIDTH, elementwise_affine=False)
        self.time = TemporalAttention(WIDTH, HEADS, FRAMES)
        self.modulation = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(WIDTH, 3 * WIDTH)))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        space = self.space
        shift1, scale1, gate1, shift2, scale2, gate2 = modulations(space.modulation, embedding, x)
        shift, scale, gate = modulations(self.modulation, embedding, x)
        h = space.norm1(x) * (1 + scale1) + shift1
        x = x + gate1 * space.attention(h, h)
        h = self.norm(x) * (1 + scale) + shift
        x = x + gate * self.time(h, h)
        forwarded: Tensor = x + gate2 * space.mlp(space.norm2(x) * (1 + scale2) + shift2)
        return forwarded


def sample(models: Models, ask: Ask, *, stage: Stage, guidance: float = 1.0) -> Tensor:
    """DDIM, with classifier-free guidance."""
    eps_theta = guided(models[stage.name], guidance)
    return denoised(eps_theta, ask.normal(*LATENT_CLIPS_64.shape), ask, steps=STEPS)


def _stage(name: str, variant: Variant, share: float) -> Stage:
    return Stage(
        name=name,
        toy=LATENT_CLIPS_64,
        build=lambda models: Latte(variant),
        loss=partial(loss, dropped=DROPPED),
        share=share,
    )


VARIANTS: dict[Variant, str] = {1: "interleaved", 2: "late fusion", 3: "both in a block", 4: "split heads"}
LATTE = _stage("latte", 1, 1.0)
COMPARED = {variant: _stage(f"latte-{variant}", variant, 0.3) for variant in VARIANTS}

ENTRY = Entry(
    name="latte",
    title="Latte",
    paper=Paper(
        authors="Ma, Wang, Chen, Jia, Liu, Li, Chen and Qiao",
        year=2024,
        title="Latte: Latent Diffusion Transformer for Video Generation",
        arxiv="2401.03048",
    ),
    family="video",
    new="DiT for clips, whose blocks see space and time in turn: the best of four ways to factorise.",
    after=("dit", "vivit", "latent_diffusion", "video_diffusion"),
    stages=(LATTE, *COMPARED.values()),
    rows=(
        Row(name="Latte", sample=partial(sample, stage=LATTE), stages=(LATTE,), toy=LATENT_CLIPS_64),
        Row(
            name=f"Latte, guidance {GUIDANCE:g}",
            sample=partial(sample, stage=LATTE, guidance=GUIDANCE),
            stages=(LATTE,),
            toy=LATENT_CLIPS_64,
        ),
        *(
            Row(
                name=f"Latte, 0.3 of the budget, variant {variant}, {VARIANTS[variant]}",
                sample=partial(sample, stage=stage),
                stages=(stage,),
                toy=LATENT_CLIPS_64,
            )
            for variant, stage in COMPARED.items()
        ),
    ),
)
