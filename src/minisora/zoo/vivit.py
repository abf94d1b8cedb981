"""ViViT: a video vision transformer.

Arnab, Dehghani, Heigold, Sun, Lucic and Schmid 2021, arXiv:2103.15691.

What was new: a classifier of clips without any convolution in time. A clip is cut into tubelets,
small boxes of space and time, each of which becomes a token; as attention over all of them grows
with the square of their number, three encoders out of four (section 3.3) factorise it. Before it
came the vision transformer for pictures (Dosovitskiy et al. 2020) and, at the same time,
TimeSformer (Bertasius et al. 2021). Sora's spacetime patches cite it; the generators that took over
its factorisations are video_diffusion.py, latte.py and walt.py.

Smaller here: ten motions of the playroom for Kinetics, 16 frames of 32x32 pixels, a width of 128,
and training from nothing, where the paper starts from a picture model. All four average over the
tokens before the last layer, which the paper names next to a class token (section 3.1).

    Model 1  every token sees every token
    Model 2  an encoder within the frames, then one over the frames' averages
    Model 3  in each block attention within a frame, then along time
    Model 4  in each attention half of the heads within a frame, half along time

In the paper's symbols z are tokens, n_t frames of tokens, n_h n_w tokens in a frame.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from minisora.zoo.frame.entry import Entry, Models, Paper, Stage
from minisora.zoo.frame.sets import CLIPS_32, HELD_OUT, MOTION, MOTIONS, ToyBatch, batch_of
from minisora.zoo.nets.attention import Attention
from minisora.zoo.nets.transformer import mlp
from minisora.zoo.nets.video import SpatialAttention, SplitAttention, TemporalAttention, clip_positions

WIDTH, DEPTH, HEADS = 128, 6, 4
TUBELET = (2, 8, 8)  # frames, rows, columns of a token
N_T, N_H, N_W = (size // step for size, step in zip(CLIPS_32.shape, TUBELET, strict=False))


class Layer(nn.Module):
    """A pre-norm block of a transformer, with one attention or several in a row.

    y = MSA(LN(z)) + z for each of them, then MLP(LN(y)) + y: Eq. 2 and 3, section 3.1
    """

    def __init__(self, *attentions: nn.Module) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(attentions)
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH) for _ in attentions])
        self.norm, self.mlp = nn.LayerNorm(WIDTH), mlp(WIDTH)

    def forward(self, z: Tensor) -> Tensor:
        for norm, attention in zip(self.norms, self.attentions, strict=True):
            y = norm(z)
            z = z + attention(y, y)
        forwarded: Tensor = z + self.mlp(self.norm(z))
        return forwarded


def everywhere() -> nn.Module:
    """Attention over all the tokens that it is shown."""
    return Attention(WIDTH, WIDTH, WIDTH // HEADS, zero=False)


def spatiotemporal() -> nn.Module:
    """Model 1."""
    return nn.Sequential(*(Layer(everywhere()) for _ in range(DEPTH)))


class FactorisedEncoder(nn.Module):
    """Model 2: the last third of the layers see one token for each frame of tokens."""

    def __init__(self) -> None:
        super().__init__()
        late = DEPTH // 3
        self.spatial = nn.Sequential(*(Layer(SpatialAttention(WIDTH, HEADS, N_T)) for _ in range(DEPTH - late)))
        self.temporal = nn.Sequential(*(Layer(everywhere()) for _ in range(late)))

    def forward(self, z: Tensor) -> Tensor:
        h = self.spatial(z).unflatten(1, (N_T, -1)).mean(2)
        encoded: Tensor = self.temporal(h)
        return encoded


def factorised_self_attention() -> nn.Module:
    """Model 3."""
    return nn.Sequential(
        *(Layer(SpatialAttention(WIDTH, HEADS, N_T), TemporalAttention(WIDTH, HEADS, N_T)) for _ in range(DEPTH))
    )


def factorised_dot_product() -> nn.Module:
    """Model 4."""
    return nn.Sequential(*(Layer(SplitAttention(WIDTH, HEADS, N_T)) for _ in range(DEPTH)))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "1, spatio-temporal attention": spatiotemporal,
    "2, factorised encoder": FactorisedEncoder,
    "3, factorised self-attention": factorised_self_attention,
    "4, factorised dot-product attention": factorised_dot_product,
}


class ViViT(nn.Module):
    """Clips (B, T, H, W, 3) to logits of the motions (B, MOTIONS)."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        t, h, w = TUBELET
        self.embed = nn.Linear(t * h * w * 3, WIDTH)  # tubelet embedding, section 3.2
        self.places = nn.Parameter(clip_positions(N_T, N_H, N_W, WIDTH))
        self.encoder = encoder
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(MOTIONS)))

    def forward(self, clips: Tensor) -> Tensor:
        z = self.encoder(self.embed(tubelets(clips)) + self.places)
        logits: Tensor = self.head(z.mean(1))
        return logits


def tubelets(clips: Tensor) -> Tensor:
    """Clips (B, T, H, W, C) in boxes (B, n_t n_h n_w, t h w C), by frame, row and column."""
    t, h, w = TUBELET
    boxes = clips.unflatten(3, (-1, w)).unflatten(2, (-1, h)).unflatten(1, (-1, t))
    return boxes.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4).flatten(1, 3)


def loss(vivit: nn.Module, batch: ToyBatch, noise: torch.Generator) -> dict[str, Tensor]:
    """Cross-entropy of the motion."""
    return {"loss": F.cross_entropy(vivit(batch.x).float(), batch.labels[:, MOTION])}


def figures(models: Models, seed: int) -> dict[str, float]:
    """Accuracy on held-out clips, and FLOPs of one clip, of each encoder."""
    batch = batch_of(CLIPS_32, range(HELD_OUT), split="held_out")
    found = {}
    for name, stage in STAGES.items():
        vivit = models[stage.name]
        with torch.inference_mode():
            guesses = torch.cat([vivit(part).argmax(1) for part in batch.x.split(64)])
            with FlopCounterMode(display=False) as counter:
                vivit(batch.x[:1])
        found[f"accuracy, model {name}"] = float((guesses == batch.labels[:, MOTION]).float().mean())
        found[f"GFLOPs of a clip, model {name}"] = counter.get_total_flops() / 1e9
    most_frequent = batch.labels[:, MOTION].bincount().max()
    return {**found, "accuracy, the most frequent motion": float(most_frequent / HELD_OUT)}


def _stage(number: int, encoder: Callable[[], nn.Module]) -> Stage:
    return Stage(
        name=f"vivit-{number}",
        toy=CLIPS_32,
        build=lambda models: ViViT(encoder()),
        loss=loss,
        share=0.6,
        lr=5e-4,
        weight_decay=0.05,
    )


STAGES = {name: _stage(number, encoder) for number, (name, encoder) in enumerate(MODELS.items(), 1)}

ENTRY = Entry(
    name="vivit",
    title="ViViT",
    paper=Paper(
        authors="Arnab, Dehghani, Heigold, Sun, Lucic and Schmid",
        year=2021,
        title="ViViT: A Video Vision Transformer",
        arxiv="2103.15691",
    ),
    family="video",
    new="Clips as boxes of space and time, classified by transformers that factorise attention over them.",
    stages=tuple(STAGES.values()),
    figures=figures,
)
