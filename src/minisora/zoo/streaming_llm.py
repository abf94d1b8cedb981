"""StreamingLLM: a language model that runs for ever, thanks to its first tokens.

Xiao, Tian, Chen, Han and Lewis 2023, "Efficient Streaming Language Models with Attention Sinks",
arXiv:2309.17453.

What was new: a look at what breaks. A model with a cache of the last tokens alone fails at the very
moment at which the first token leaves it, although nothing that the token says is missed: softmax
must put its weight somewhere, and heads that have nothing to look for learn to put it on the first
token, which every later one sees (an "attention sink"). So the cache keeps the first few tokens and
the last ones, and counts positions inside the cache, not in the text; nothing is trained. Before
it came windowed attention (Longformer, arXiv:2004.05150) and rotary positions. After it: models
trained with a token that is meant as a sink (section 3.3), and its kin in vision, registers (Darcet
et al. 2023, arXiv:2309.16588). Sliding windows of video models keep their first frames alike.

Smaller here: a model of 0.8 million parameters that was trained on streams of 128 tokens, and one
cache of 120. Its streams all begin with the same token, START, as the paper advises, so one sink
does what four do for a Llama. The things that a stream tells of are few, so that a window holds
what is asked for: what differs between the caches is not what they remember.

    dense      everything is kept: positions come that were never trained, and memory grows
    window     the last tokens
    sinks      the first and the last
    recompute  a window is read anew for each token, behind a START: right and slow

Not here: the long videos of the house (generate/rollout.py). Their windows are conditioned on the
latents before them, and noise is denoised in each of them anew; what drifts there is what the
network makes, not where its attention goes (docs/log.md, entry 45), and a first latent kept as a
sink has not been tried.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from minisora.zoo.frame.entry import Entry, Models, Paper
from minisora.zoo.nets.attention import attend
from minisora.zoo.nets.language import (
    CONTEXT,
    LANGUAGE,
    START,
    Language,
    frequencies,
    ideal,
    names_of,
    rotated,
    streams,
)

CACHE, SINKS = 120, 4  # tokens; below CONTEXT, so every distance in it was trained
STREAM, COUNT = 1536, 8  # tokens of a stream, streams
SETTLED = 512  # tokens before perplexity is measured
EVERY = 8  # recomputing is measured at one token in so many


@dataclass
class Cache:
    """The attention of a model that reads one token at a time and keeps `sinks` + `recent`.

    held: keys, before their rotation, and values of each layer
    """

    sinks: int
    recent: int
    held: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if layer in self.held:
            k, v = (torch.cat(pair, 2) for pair in zip(self.held[layer], (k, v), strict=True))
        if k.shape[2] > self.sinks + self.recent:  # section 3.2: the rolling cache
            k, v = (torch.cat([each[:, :, : self.sinks], each[:, :, -self.recent :]], 2) for each in (k, v))
        self.held[layer] = k, v
        places = torch.arange(k.shape[2])  # in the cache, not in the text
        rates = frequencies()
        return attend(rotated(q, places[-1:], rates), rotated(k, places, rates), v)


@torch.inference_mode()
def streamed(model: nn.Module, tokens: Tensor, cache: Cache) -> Tensor:
    """The loss of each token after the first, read one by one: (B, 1 + L) -> (B, L)."""
    steps = [model(tokens[:, n : n + 1], cache) for n in range(tokens.shape[1] - 1)]
    return _losses(torch.cat(steps, 1), tokens[:, 1:])


@torch.inference_mode()
def recomputed(model: nn.Module, tokens: Tensor, *, first: int) -> Tensor:
    """The loss of one token in EVERY from `first` on, each from a window of its own."""
    windows = tokens.unfold(1, CACHE, 1)[:, first + 1 - CACHE : -1 : EVERY].clone()  # (B, n, CACHE)
    windows[..., 0] = START
    logits = torch.stack([model(each)[:, -1] for each in windows.unbind(1)], 1)
    return _losses(logits, tokens[:, first + 1 :: EVERY])


def attention_to_first(model: nn.Module, tokens: Tensor) -> Tensor:
    """The share of a layer's attention that goes to START, from the second half on: (DEPTH,)."""
    shares = []

    def mix(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        first = torch.zeros_like(v)
        first[:, :, 0] = 1.0
        shares.append(own(layer, q, k, first)[:, :, q.shape[2] // 2 :].mean())
        return own(layer, q, k, v)

    assert isinstance(model, Language)
    own = model.mix
    with torch.inference_mode():
        model(tokens[:, :-1], mix)
    return torch.stack(shares)


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits.float().mT, targets, reduction="none")


def figures(models: Models, seed: int) -> dict[str, float]:
    """Perplexity of each cache, past the first SETTLED tokens of streams of STREAM."""
    model, names = models[LANGUAGE.name], names_of(CONTEXT)
    tokens = streams(COUNT, STREAM, torch.Generator().manual_seed(seed), names=names)
    caches = {
        "dense": Cache(0, STREAM),
        f"window of {CACHE}": Cache(0, CACHE),
        **{f"sinks, {n} + {CACHE - n}": Cache(n, CACHE - n) for n in (1, 2, SINKS)},
    }
    losses = {name: streamed(model, tokens, cache)[:, SETTLED:] for name, cache in caches.items()}
    losses["recompute"] = recomputed(model, tokens, first=SETTLED)
    losses["the best with the whole past"] = ideal(tokens, names)[:, SETTLED:]
    shares = attention_to_first(model, streams(COUNT, CONTEXT, torch.Generator().manual_seed(seed)))
    return {
        **{f"perplexity, {name}": math.exp(float(each.mean())) for name, each in losses.items()},
        **{f"attention to the first token, layer {n}": float(share) for n, share in enumerate(shares)},
    }


ENTRY = Entry(
    name="streaming_llm",
    title="StreamingLLM",
    paper=Paper(
        authors="Xiao, Tian, Chen, Han and Lewis",
        year=2023,
        title="Efficient Streaming Language Models with Attention Sinks",
        arxiv="2309.17453",
    ),
    family="long",
    new="A cache that keeps the first tokens next to the last ones lets a model stream without end.",
    stages=(LANGUAGE,),
    figures=figures,
)
