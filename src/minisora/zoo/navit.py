"""NaViT: patch n' pack, a vision transformer for any aspect ratio and resolution.

Dehghani, Mustafa, Djolonga, Heek, Minderer and others 2023, arXiv:2307.06304.

What was new: pictures need not be resized to one square. Patches of several pictures, each of its
own size, are packed into one sequence, as language models pack texts; a mask keeps pictures from
seeing each other, so that the result is the one each would have alone, and next to nothing is spent
on padding. For the same FLOPs a network sees several times as many pictures. Before it: ViT
(Dosovitskiy et al. 2020) with one size, or padding. After it: FiT (fit.py) for diffusion, Sora's
training at native sizes, and minisora's packs (data/packing.py).

Smaller here: a classifier of the thing's colour and shape with 0.9 million parameters, without the
paper's contrastive training. The set has squares of 64x64 only, so pictures are squeezed to random
sides of 16 to 64 pixels by averaging, where the paper keeps each one's aspect ratio. Three networks
have the same FLOPs:

    padded   a sequence per picture, as long as the largest picture needs
    packed   sequences of that length with as many pictures as fit
    dropped  packed, and each picture shows a random share of its tokens in training (section 2.2)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.zoo.frame.entry import Entry, Models, Paper, Stage
from minisora.zoo.frame.sets import CLASSES, PICTURES_64, ToyBatch, batch_of, classes_of
from minisora.zoo.frame.train import flops_of_step
from minisora.zoo.nets.attention import Attention, attend
from minisora.zoo.nets.rotary import grid
from minisora.zoo.nets.transformer import mlp, patches

PATCH = 8
SIDES = (2, 3, 4, 5, 6, 7, 8)  # rows and columns of patches that a picture may have
ROOM = max(SIDES) ** 2  # tokens of a sequence
WIDTH, DEPTH, HEADS = 128, 4, 4
KEPT = 0.5  # least share of a picture's tokens that dropping keeps
NOBODY = -1  # number of the picture of a padding token

Packing = Callable[[Sequence[int]], list[list[int]]]  # tokens of each picture -> pictures of each sequence


def greedy(lengths: Sequence[int]) -> list[list[int]]:
    """Each picture, the longest first, goes into the first sequence with room (section 2.3)."""
    sequences: list[list[int]] = []
    room: list[int] = []
    for picture in sorted(range(len(lengths)), key=lambda n: -lengths[n]):
        fits = next((n for n, left in enumerate(room) if left >= lengths[picture]), len(room))
        if fits == len(room):
            sequences.append([])
            room.append(ROOM)
        sequences[fits].append(picture)
        room[fits] -= lengths[picture]
    return sequences


def alone(lengths: Sequence[int]) -> list[list[int]]:
    """Each picture has a sequence: padding."""
    return [[picture] for picture in range(len(lengths))]


@dataclass(frozen=True)
class Pack:
    """Pictures in sequences.

    tokens:  (P, ROOM, PATCH PATCH 3)
    places:  (P, ROOM, 2) row and column of each patch
    picture: (P, ROOM) number of its picture, NOBODY for padding
    """

    tokens: Tensor
    places: Tensor
    picture: Tensor

    @property
    def wasted(self) -> float:
        return float((self.picture == NOBODY).float().mean())


def packed(pieces: Sequence[tuple[Tensor, Tensor]], packing: Packing) -> Pack:
    """Pictures as (tokens, places), each (L, ...), in sequences of ROOM tokens."""
    sequences = packing([len(tokens) for tokens, _ in pieces])
    pack = Pack(
        torch.zeros(len(sequences), ROOM, 3 * PATCH**2),
        torch.zeros(len(sequences), ROOM, 2, dtype=torch.long),
        torch.full((len(sequences), ROOM), NOBODY),
    )
    for row, pictures in enumerate(sequences):
        start = 0
        for n in pictures:
            tokens, places = pieces[n]
            here = slice(start, start + len(tokens))
            pack.tokens[row, here], pack.places[row, here], pack.picture[row, here] = tokens, places, n
            start += len(tokens)
    return pack


class NaViT(nn.Module):
    """Logits of the class of each picture of a pack: (B, CLASSES)."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(3 * PATCH**2, WIDTH)
        self.rows, self.columns = (nn.Embedding(max(SIDES), WIDTH) for _ in range(2))  # factorised, section 2.1
        self.blocks = nn.ModuleList([Block() for _ in range(DEPTH)])
        self.norm, self.pool = nn.LayerNorm(WIDTH), Attention(WIDTH, WIDTH, WIDTH // HEADS, zero=False)
        self.asked = nn.Parameter(0.02 * torch.randn(WIDTH))
        self.leave = nn.Linear(WIDTH, CLASSES)

    def forward(self, pack: Pack, count: int) -> Tensor:
        row, column = pack.places.unbind(-1)
        x = self.enter(pack.tokens) + self.rows(row) + self.columns(column)
        own = pack.picture[:, None, :, None] == pack.picture[:, None, None, :]  # masked self-attention
        for block in self.blocks:
            x = block(x, own)
        # Masked attention pooling: one query for each picture, which sees its tokens.
        belongs = pack.picture == torch.arange(count)[:, None, None]  # (B, P, ROOM)
        sequence = belongs.any(-1).int().argmax(1)
        mask = belongs[torch.arange(count), sequence][:, None, None]
        pooled = self.pool(self.asked.expand(count, 1, -1), self.norm(x)[sequence], mask)
        logits: Tensor = self.leave(pooled[:, 0])
        return logits


class Block(nn.Module):
    """A block of ViT with normalised queries and keys and no biases in attention, section 3."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.norm_q, self.norm_k = nn.LayerNorm(WIDTH // HEADS), nn.LayerNorm(WIDTH // HEADS)
        self.mlp = mlp(WIDTH)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        attended = attend(self.norm_q(q), self.norm_k(k), v, mask=mask)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        forwarded: Tensor = x + self.mlp(self.norm2(x))
        return forwarded


def piece(picture: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Tokens of a picture (H, W, 3) of that many patches, and their places."""
    smaller = F.adaptive_avg_pool2d(picture.permute(2, 0, 1), (rows * PATCH, columns * PATCH)).permute(1, 2, 0)
    return patches(smaller[None], PATCH)[0], grid(rows, columns).long()


def loss(
    navit: nn.Module, batch: ToyBatch, noise: torch.Generator, *, packing: Packing, dropping: bool = False
) -> dict[str, Tensor]:
    """Cross-entropy of the classes; every picture has a size of its own, sampled anew each time."""
    sides = torch.tensor(SIDES)[torch.randint(len(SIDES), (len(batch.x), 2), generator=noise)].tolist()
    pieces = [piece(picture, *each) for picture, each in zip(batch.x, sides, strict=True)]
    if dropping:
        pieces = [_kept(*each, noise) for each in pieces]
    pack = packed(pieces, packing)
    logits = navit(pack, len(pieces))
    return {"loss": F.cross_entropy(logits.float(), classes_of(batch.labels)), "wasted": torch.tensor(pack.wasted)}


def _kept(tokens: Tensor, places: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """A random share of the tokens, drawn for each picture: continuous token dropping."""
    share = KEPT + (1 - KEPT) * float(torch.rand((), generator=noise))
    chosen = torch.randperm(len(tokens), generator=noise)[: max(1, round(share * len(tokens)))]
    return tokens[chosen], places[chosen]


def figures(models: Models, seed: int) -> Mapping[str, float]:
    """For each way to fill sequences: its cost, its waste, and how often its network is right."""
    found = {}
    for name, stage in STAGES.items():
        found[f"{name}, pictures per GFLOP"] = stage.batch_size / (flops_of_step(stage, {}) / 1e9)
        batch = batch_of(PICTURES_64, range(stage.batch_size), split="held_out")
        with torch.inference_mode():
            parts = stage.loss(models[stage.name], batch, torch.Generator().manual_seed(seed))
        found[f"{name}, tokens wasted"] = float(parts["wasted"])
        for rows, columns in ((2, 2), (4, 4), (4, 8), (8, 8)):
            right = accuracy(models[stage.name], rows, columns)
            found[f"{name}, accuracy at {PATCH * rows}x{PATCH * columns}"] = right
    return found


@torch.inference_mode()
def accuracy(navit: nn.Module, rows: int, columns: int, *, count: int = 1024, at_once: int = 256) -> float:
    """Share of held-out pictures, of that many patches, whose class is found."""
    right = 0
    for first in range(0, count, at_once):
        batch = batch_of(PICTURES_64, range(first, first + at_once), split="held_out")
        pack = packed([piece(picture, rows, columns) for picture in batch.x], greedy)
        right += int((navit(pack, at_once).argmax(1) == classes_of(batch.labels)).sum())
    return right / count


def _stage(name: str, packing: Packing, *, dropping: bool = False) -> Stage:
    return Stage(
        name=f"navit-{name}",
        toy=PICTURES_64,
        build=lambda models: NaViT(),
        loss=partial(loss, packing=packing, dropping=dropping),
        share=0.2,
    )


STAGES = {
    "padded": _stage("padded", alone),
    "packed": _stage("packed", greedy),
    "dropped": _stage("dropped", greedy, dropping=True),
}

ENTRY = Entry(
    name="navit",
    title="NaViT",
    paper=Paper(
        authors="Dehghani, Mustafa, Djolonga, Heek, Minderer and others",
        year=2023,
        title="Patch n' Pack: NaViT, a Vision Transformer for any Aspect Ratio and Resolution",
        arxiv="2307.06304",
    ),
    family="transformers",
    new="Pictures of any size share a sequence behind a mask, so that nothing is resized and little is padding.",
    stages=tuple(STAGES.values()),
    figures=figures,
)
