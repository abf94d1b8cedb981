"""A tiny causal language model with rotary positions, and the language that it learns.

The language tells of things of the playroom, in streams of sentences of SENTENCE tokens: the words
of a picture's caption, the thing's name, the thing's number.

    large red ball grass day | name 17 | number 5

In one stream a name always comes with the same number. So a number that was told before can be
known, from however far back, and by nothing else: it is the needle of the papers on long context.
Every draw is even, so the best possible loss is known too (`ideal`).

Here: the language, the model, its training on short streams. Not here: what makes its context
longer (rope_scaling.py, entropy_abf.py, lwm.py, streaming_llm.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.zoo.frame.entry import Models, Stage
from minisora.zoo.frame.sets import FIELDS, PICTURES_32, WORDS, ToyBatch, words_of
from minisora.zoo.nets.attention import attend
from minisora.zoo.nets.transformer import mlp

TOLD = tuple(list(FIELDS).index(name) for name in ("size", "colour", "shape", "floor", "light"))
NAMES, NUMBERS = 128, 16
NAME, NUMBER, START = len(WORDS), len(WORDS) + NAMES, len(WORDS) + NAMES + NUMBERS  # the first token of each kind
VOCABULARY = START + 1
SENTENCE = len(TOLD) + 2  # tokens

CONTEXT = 128  # tokens of the streams that the model is trained on first
WIDTH, DEPTH, HEADS = 128, 4, 4
HEAD_WIDTH = WIDTH // HEADS
THETA = 10_000.0

Mix = Callable[[int, Tensor, Tensor, Tensor], Tensor]  # layer, q, k, v, each (B, N, L, D) -> (B, N, L, D)


def streams(count: int, length: int, noise: torch.Generator, *, names: int = 0) -> Tensor:
    """Streams of START and `length` more tokens: (count, length + 1).

    names: of how many things a stream tells; half as many as it has sentences if not given
    """
    sentences = -(-length // SENTENCE)
    labels = torch.stack(
        [torch.randint(len(words), (count * sentences,), generator=noise) for words in FIELDS.values()]
    )
    captions = words_of(labels.T)[:, TOLD].unflatten(0, (count, sentences))
    in_use = torch.rand(count, NAMES, generator=noise).argsort(1)[:, : names or names_of(length)]
    name = in_use.gather(1, torch.randint(in_use.shape[1], (count, sentences), generator=noise))
    number = torch.randint(NUMBERS, (count, NAMES), generator=noise).gather(1, name)
    told = torch.cat([captions, NAME + name[..., None], NUMBER + number[..., None]], 2).flatten(1)
    return torch.cat([torch.full((count, 1), START), told[:, :length]], 1)


def names_of(length: int) -> int:
    """Things that a stream of this length tells of."""
    return min(NAMES, max(1, length // SENTENCE // 2))


def recalled(tokens: Tensor) -> Tensor:
    """Which tokens after START are numbers that were told before: (B, 1 + L) -> (B, L) bool."""
    again = torch.zeros_like(tokens[:, 1:], dtype=torch.bool)
    numbers = again[:, SENTENCE - 1 :: SENTENCE]
    numbers.copy_(_seen(tokens[:, SENTENCE - 1 :: SENTENCE])[:, : numbers.shape[1]])
    return again


def ideal(tokens: Tensor, names: int) -> Tensor:
    """The least expected loss of each token after START, in nats: (B, 1 + L) -> (B, L).

    A name is one of the m names seen, each with probability 1 / names, or one of the others.
    """
    least = torch.zeros_like(tokens[:, 1:], dtype=torch.float32)
    for place, field in enumerate(TOLD):
        least[:, place::SENTENCE] = math.log(len(list(FIELDS.values())[field]))
    seen = _seen(tokens[:, SENTENCE - 1 :: SENTENCE])
    m = (~seen).cumsum(1) - (~seen).long()
    fresh = ((NAMES - m) / (names - m).clamp(min=1)).log()
    least[:, SENTENCE - 2 :: SENTENCE] = math.log(names) + fresh.masked_fill(seen, 0.0)
    return least + math.log(NUMBERS) * (is_number(tokens) & ~recalled(tokens))


def is_number(tokens: Tensor) -> Tensor:
    """(B, 1 + L) -> (B, L) bool"""
    return (tokens[:, 1:] >= NUMBER) & (tokens[:, 1:] < START)


def _seen(names: Tensor) -> Tensor:
    return (names[:, :, None] == names[:, None, :]).tril(-1).any(2)


def frequencies(width: int = HEAD_WIDTH, theta: float = THETA) -> Tensor:
    """theta_i of rotary positions, in radians a token: (width / 2,).

    Su et al. 2021, arXiv:2104.09864, section 3.2.2.
    """
    return theta ** -(torch.arange(0, width, 2) / width)


def rotated(x: Tensor, places: Tensor, rates: Tensor) -> Tensor:
    """Pairs of features turned by place times rate: (..., L, D), (L,), (D / 2,) -> (..., L, D)."""
    angles = places[:, None] * rates
    cos, sin = angles.cos(), angles.sin()
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


@dataclass(frozen=True, eq=False)
class Rope:
    """Causal attention with rotary positions.

    scale: of the logits, from the layer and the places (L,) of the queries
    """

    rates: Tensor
    scale: Callable[[int, Tensor], Tensor] | None = None

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        places = torch.arange(q.shape[2], device=q.device)
        if self.scale is not None:
            q = q * self.scale(layer, places)[:, None]
        mask = torch.ones(len(places), len(places), dtype=torch.bool, device=q.device).tril()
        return attend(rotated(q, places, self.rates), rotated(k, places, self.rates), v, mask=mask)


class Language(nn.Module):
    """Tokens (B, L) -> logits (B, L, VOCABULARY) of the next ones.

    mix: the attention of all layers; another may be given for one call
    """

    def __init__(self, mix: Mix) -> None:
        super().__init__()
        self.mix = mix
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList([_Block() for _ in range(DEPTH)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor, mix: Mix | None = None) -> Tensor:
        h = self.embed(tokens)
        for layer, block in enumerate(self.blocks):
            h = block(h, partial(mix or self.mix, layer))
        logits: Tensor = self.head(self.norm(h))
        return logits


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.mlp = mlp(WIDTH)

    def forward(self, x: Tensor, mix: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(mix(q, k, v).transpose(1, 2).flatten(2))
        forwarded: Tensor = x + self.mlp(self.norm2(x))
        return forwarded


def losses(model: nn.Module, tokens: Tensor, mix: Mix | None = None) -> Tensor:
    """The loss of each token after START, in nats: (B, 1 + L) -> (B, L)."""
    logits = model(tokens[:, :-1], mix)
    return F.cross_entropy(logits.float().mT, tokens[:, 1:], reduction="none")


def loss(model: nn.Module, batch: ToyBatch, noise: torch.Generator, *, length: int = CONTEXT) -> dict[str, Tensor]:
    """Next-token prediction on fresh streams, CONTEXT tokens for each sample of the batch.

    Nothing of the samples is looked at.
    """
    count = max(1, len(batch.x) * CONTEXT // length)
    return {"loss": losses(model, streams(count, length, noise)).mean()}


def continued(models: Models, mix: Mix) -> Language:
    """The model of LANGUAGE with another attention, to be trained on."""
    return copied(models[LANGUAGE.name], mix)


def copied(model: nn.Module, mix: Mix) -> Language:
    copy = Language(mix)
    copy.load_state_dict(model.state_dict())
    return copy


LANGUAGE = Stage(
    name="language",
    toy=PICTURES_32,
    build=lambda models: Language(Rope(frequencies())),
    loss=loss,
    share=0.6,
    lr=2e-3,
    weight_decay=0.1,
)
