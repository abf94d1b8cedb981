"""Entropy-ABF: a longer context from a hundred samples.

Zhang, Li and Liu 2024, "Extending LLMs' Context Window with 100 Samples", arXiv:2401.07004.

What was new: rotary positions of a larger base (ABF, adjusted base frequency, of Xiong et al. 2023,
arXiv:2309.16039), and a look at the entropy of attention. The more tokens there are to look at, the
more evenly a query looks at them, and what a layer hands on is no longer what the next was trained
on. In all layers but the first two, which spread their attention anyway, entropy was meant to stay;
so their logits are multiplied by log_c(i) from place c on, c the trained context. With both, a
Llama of 4,096 tokens reads 16,384 after six steps on a hundred samples. Before it: the scalings of
rope_scaling.py, and the entropy argument for the logarithm (Chiang and Cholak 2022,
arXiv:2202.12172). After it: YaRN's constant factor and ABF became the custom (lwm.py raises the
base step by step); logits that grow with the logarithm come back as scalable softmax (Nakanishi
2025, arXiv:2501.19399).

Smaller here: the tiny model of nets/language.py, from 128 tokens to 512 by a few dozen steps on
streams that hold numbers to be recalled from afar. All five start from the same weights and see
the same streams; figures are losses above the best possible one.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from minisora.zoo.frame.entry import Entry, Models, Paper, Stage
from minisora.zoo.frame.sets import PICTURES_32
from minisora.zoo.nets.language import (
    CONTEXT,
    HEAD_WIDTH,
    LANGUAGE,
    THETA,
    Language,
    Rope,
    continued,
    frequencies,
    ideal,
    loss,
    losses,
    names_of,
    recalled,
    streams,
)
from minisora.zoo.rope_scaling import interpolated, ntk_aware

TIMES = 4
LONGER = TIMES * CONTEXT
ADJUSTED = 500_000.0  # the base that takes the place of THETA
PLAIN_LAYERS = 2  # whose attention is left as it is
AT_ONCE = 4  # long streams of a step
TESTED = 32  # streams


def entropy_aware(layer: int, places: Tensor) -> Tensor:
    """max(1, log_c(i)): factor of the logits of the i-th query, i from 1."""
    if layer < PLAIN_LAYERS:
        return torch.ones(len(places), device=places.device)
    return ((places + 1).log() / math.log(CONTEXT)).clamp(min=1)


WAYS = {
    "none": Rope(frequencies()),
    "PI": Rope(interpolated(frequencies(), TIMES)),
    "NTK-aware": Rope(ntk_aware(HEAD_WIDTH, THETA, TIMES)),
    "ABF": Rope(frequencies(theta=ADJUSTED)),
    "Entropy-ABF": Rope(frequencies(theta=ADJUSTED), entropy_aware),
}


def _stage(way: str) -> Stage:
    return Stage(
        name=f"language-{way.lower()}",
        toy=PICTURES_32,
        build=partial(continued, mix=WAYS[way]),
        loss=partial(loss, length=LONGER),
        needs=(LANGUAGE,),
        share=0.005,
        batch_size=TIMES * AT_ONCE,
        lr=3e-4,
        warmup_steps=5,
        ema_decay=0.8,
    )


STAGES = {way: _stage(way) for way in WAYS}


@torch.inference_mode()
def entropy(model: nn.Module, tokens: Tensor) -> float:
    """Entropy, in nats, of the attention of the last quarter, of layers with scaled logits."""
    assert isinstance(model, Language) and isinstance(model.mix, Rope)
    rope, found = model.mix, []

    def mix(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        every = torch.eye(q.shape[2]).expand(*q.shape[:2], -1, -1)
        weights = rope(layer, q, k, every)  # attention to unit vectors is its weights
        if layer >= PLAIN_LAYERS:
            found.append(torch.special.entr(weights[:, :, -(q.shape[2] // 4) :]).sum(-1).mean())
        return weights @ v

    model(tokens[:, :-1], mix)
    return float(torch.stack(found).mean())


def figures(models: Models, seed: int) -> dict[str, float]:
    """Loss above the best at 1, 2 and 4 times the context, recall and entropy, by each way."""
    found: dict[str, float] = {}
    tuned = {way: models[stage.name] for way, stage in STAGES.items()}
    for times in (1, 2, TIMES):
        tokens = streams(TESTED, times * CONTEXT, torch.Generator().manual_seed(seed))
        least = ideal(tokens, names_of(times * CONTEXT)).mean()
        for way, model in {"not trained on": models[LANGUAGE.name], **tuned}.items():
            with torch.inference_mode():
                each = losses(model, tokens)
            found[f"loss above the best, {times}x, {way}"] = float(each.mean() - least)
            if times == TIMES:
                found[f"loss of recalled numbers, {times}x, {way}"] = float(each[recalled(tokens)].mean())
                found[f"entropy of attention, {times}x, {way}"] = entropy(model, tokens[:4])
    short = streams(4, CONTEXT, torch.Generator().manual_seed(seed))
    return {**found, "entropy of attention, 1x, not trained on": entropy(models[LANGUAGE.name], short)}


ENTRY = Entry(
    name="entropy_abf",
    title="Entropy-ABF",
    paper=Paper(
        authors="Zhang, Li and Liu",
        year=2024,
        title="Extending LLMs' Context Window with 100 Samples",
        arxiv="2401.07004",
    ),
    family="long",
    new="A larger base of the rotation, and logits that keep attention's entropy, need few samples.",
    after=("rope_scaling",),
    stages=(LANGUAGE, *STAGES.values()),
    figures=figures,
)
