"""LWM: a world model that reads a million tokens.

Liu, Yan, Zaharia and Abbeel 2024, "World Model on Million-Length Video And Language With Blockwise
RingAttention", arXiv:2402.08268.

What was new: how a model for short texts becomes one for hours of video. The context is made longer
step by step, from 32 thousand tokens to a million, each step trained from the last one's weights
with a larger base of the rotary positions; so most of the training is cheap and only the end of it
long. Ring attention (ring_attention.py) carries what no device holds. The proof is a needle: a
number is hidden at some depth of a long text and asked for at its end. Then images and video come
as tokens of a VQGAN, several texts and clips packed into a sequence in which they do not see each
other.
Before it: ring attention, the base of rotary positions as a dial (entropy_abf.py). Sora's report,
of the same week, has the video without the language.

Smaller here: 128 tokens, then 256, 512 and 1024, of the toy language in nets/language.py, where the
needles are numbers of things; 0.8 million parameters for 7 billion. The base is raised in few large
steps, as theirs is (10, 10, 25 and 50 million for 128 thousand to a million tokens). Video as
tokens is left to videogpt.py and videopoet.py. The last model is also run once in pieces, by
processes in a ring, and gives the same logits.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from minisora.zoo.frame.entry import Entry, Models, Paper, Stage
from minisora.zoo.frame.sets import PICTURES_32
from minisora.zoo.nets.language import (
    CONTEXT,
    LANGUAGE,
    NAME,
    NAMES,
    NUMBER,
    NUMBERS,
    SENTENCE,
    Language,
    Mix,
    Rope,
    copied,
    frequencies,
    loss,
    names_of,
    rotated,
    streams,
)
from minisora.zoo.ring_attention import Ring, gloo, gloo_ring, ring_attention

LENGTHS = {256: 100_000.0, 512: 1_000_000.0, 1024: 1_000_000.0}  # tokens: base of the rotation
SHARES = {256: 0.06, 512: 0.06, 1024: 0.08}
LONGEST = max(LENGTHS)
DEPTHS = (0.0, 0.25, 0.5, 0.75, 0.95)
NEEDLES = 32  # streams in which a needle is looked for, at each depth
RANKS = 2


def _stage(length: int, before: Stage) -> Stage:
    return Stage(
        name=f"lwm-{length}",
        toy=PICTURES_32,
        build=lambda models: copied(models[before.name], Rope(frequencies(theta=LENGTHS[length]))),
        loss=partial(loss, length=length),
        needs=(before,),
        share=SHARES[length],
        batch_size=max(16, 2 * length // CONTEXT),
        lr=1e-3,
        weight_decay=0.1,
    )


def _progression() -> dict[int, Stage]:
    stages = {CONTEXT: LANGUAGE}
    for length in LENGTHS:
        stages[length] = _stage(length, list(stages.values())[-1])
    return stages


STAGES = _progression()


def haystack(length: int, depth: float, count: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """Streams that end with a name, told once before at `depth` (0: the beginning), and its number.

    returns (count, 1 + L) tokens, L <= length, and (count,) numbers
    """
    told = length // SENTENCE
    tokens = streams(count, told * SENTENCE, noise, names=min(names_of(length), NAMES - 1))[:, :-1]
    names = tokens[:, SENTENCE - 1 :: SENTENCE]
    free = torch.rand(count, NAMES, generator=noise).scatter(1, names - NAME, 0.0)
    needle = NAME + free.argmax(1)  # a name that nothing else has
    number = torch.randint(NUMBERS, (count,), generator=noise)
    place = SENTENCE * round(depth * (told - 2)) + SENTENCE - 1
    tokens[:, place], tokens[:, place + 1], tokens[:, -1] = needle, NUMBER + number, needle
    return tokens, number


def accuracy(model: nn.Module, length: int, depth: float, seed: int) -> float:
    """The share of needles whose number is the likeliest of all numbers."""
    noise = torch.Generator().manual_seed(1000 * seed + round(100 * depth))
    tokens, numbers = haystack(length, depth, NEEDLES, noise)
    found = []
    with torch.inference_mode():
        for few, wanted in zip(tokens.split(8), numbers.split(8), strict=True):
            found.append(model(few)[:, -1, NUMBER : NUMBER + NUMBERS].argmax(-1) == wanted)
    return float(torch.cat(found).float().mean())


def ring_mix(ring: Ring, rates: Tensor) -> Mix:
    """The attention of a model that is given this rank's tokens alone."""

    def mix(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        places = ring.rank * q.shape[2] + torch.arange(q.shape[2])
        return ring_attention(rotated(q, places, rates), rotated(k, places, rates), v, ring)

    return mix


def _on_rank(rank: int, folder: str) -> None:
    weights, rates, tokens = torch.load(Path(folder, "model.pt"))
    with gloo(rank, RANKS, folder), torch.inference_mode():
        model = Language(ring_mix(gloo_ring(), rates))
        model.load_state_dict(weights)
        torch.save(model.eval()(tokens.chunk(RANKS, 1)[rank]), Path(folder, f"{rank}.pt"))


def ring_error(model: Language, tokens: Tensor) -> float:
    """Largest difference of logits between one process and a ring of RANKS with a part each."""
    assert isinstance(model.mix, Rope)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        torch.save((model.state_dict(), model.mix.rates, tokens), Path(folder, "model.pt"))
        spawn(_on_rank, (folder,), nprocs=RANKS)
        parts = [torch.load(Path(folder, f"{rank}.pt")) for rank in range(RANKS)]
        return float((torch.cat(parts, 1) - model(tokens)).abs().max())


def figures(models: Models, seed: int) -> dict[str, float]:
    """Needles found, by the length that a model was trained to, the length asked, and the depth."""
    found = {}
    for trained, stage in STAGES.items():
        for length in STAGES:
            by_depth = {depth: accuracy(models[stage.name], length, depth, seed) for depth in DEPTHS}
            found[f"needles, trained to {trained}, {length} tokens"] = sum(by_depth.values()) / len(DEPTHS)
            if trained == LONGEST:
                found |= {f"needles, {length} tokens, depth {depth:g}": share for depth, share in by_depth.items()}
    last = models[STAGES[LONGEST].name]
    assert isinstance(last, Language)
    tokens = streams(1, LONGEST, torch.Generator().manual_seed(seed))[:, :-1]
    return {**found, f"largest error of logits, ring of {RANKS}": ring_error(last, tokens)}


ENTRY = Entry(
    name="lwm",
    title="LWM",
    paper=Paper(
        authors="Liu, Yan, Zaharia and Abbeel",
        year=2024,
        title="World Model on Million-Length Video And Language With Blockwise RingAttention",
        arxiv="2402.08268",
    ),
    family="long",
    new="Context grows step by step, with the base of the rotation, to a million tokens in a ring.",
    after=("ring_attention", "entropy_abf"),
    stages=tuple(STAGES.values()),
    figures=figures,
)
