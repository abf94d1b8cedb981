"""StreamingLLM: a language model that runs for ever, thanks to its first tokens.

Xiao, Tian, Chen, Han and Lewis 2023, "Efficient Streaming Language Models with Attention Sinks",
arXiv:2309.17453.

What was new: a look at what breaks. A model with a cache of the last tokens alone fails at the very
moment at which the first token leaves it, although nothing that the token says is missed: softmax
must put its weight somewhere, and heads that have nothing to look for learn to put it on the first
token, which every later one sees (an "attention sink"). So the cache keeps the first few tokens and
the last ones, and counts positions inside the cache, not in the text; nothing is trained. Before it
came windowed attention (Longformer, arXiv:2004.05150) and rotary positions. Its kin in vision, of
the same days, are registers (Darcet et al. 2023, arXiv:2309.16588). After it: models trained with a
token that is meant as a sink (section 3.3). Sliding windows of video models keep their first frames
alike.

Smaller here: a model of 0.8 million parameters that was trained on streams of 128 tokens, and one
cache of 120. Its streams all begin with the same token, START, as the paper advises, so one sink
does what four do for a Llama. The things that a stream tells of are few, so that a window holds
what is asked for: what differs between the caches is not what they remember.

    dense      everything is kept: positions come that were never trained, and memory grows
    window     the last tokens
    sinks      the first and the last
    recompute  a window is read anew for each token, behind a START: right and slow

The same is tried on a long video of the house: each window of its rollout (generate/rollout.py) is
conditioned on the last latents of the one before, and here also on those latents but one and the
very first, which stands at place 0 as it did in training. A window that is denoised anew has other
reasons to drift than attention, so what a sink is good for here is open before it is measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from minisora.bundle import Bundle, load
from minisora.device import working_dtype
from minisora.generate.canvas import Canvas, Shape, build
from minisora.generate.window import encode_prompt, sample, settings_for
from minisora.progress import Watch
from minisora.zoo.frame.codec import decoded
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
PROMPTS = ("a large red ball rolls to the left on grass", "a green cube spins on a wooden floor")
LATENTS, STEPS, SEEDS, SIDE = 29, 12, 4, 64  # of the long videos: 113 frames


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


def house() -> Bundle:
    """The embedded model, on the CPU."""
    device = torch.device("cpu")
    return load("toybox", device=device, dtype=working_dtype(device))


@torch.no_grad()
def long_video(bundle: Bundle, prompt: str, *, latents: int, sinks: int, seed: int) -> Tensor:
    """SEEDS videos, (B, latents, Hz, Wz, Cz), window by window.

    sinks: of the latents that condition a window, so many are the first ones of the video
    """
    how, strides = bundle.sampling, bundle.vae.strides
    frames = strides.num_frames(how.window + 1)
    whole = build(bundle, Shape(num_frames=frames, height=SIDE, width=SIDE, fps=how.fps))
    free = [False] * (how.window + 1)
    first = whole.window(0, how.window, whole.known, free)
    later = first if sinks else whole.window(1, how.window + 1, whole.known, free)
    text, settings = encode_prompt(bundle, prompt), settings_for(bundle, {"steps": STEPS})

    def sampled(canvas: Canvas, number: int) -> Tensor:
        seeds = [1000 * seed + 100 * number + n for n in range(SEEDS)]
        return canvas.latents(sample(bundle, canvas, text, settings, Watch(), seeds=seeds))

    z = sampled(first, 0)
    while z.shape[1] < latents:
        kept = torch.cat([z[:, :sinks], z[:, sinks - how.context :]], 1)
        z = torch.cat([z, sampled(later.beginning_with(kept), z.shape[1])[:, how.context :]], 1)
    return z[:, :latents]


def drift(z: Tensor, seconds: float = 2.0, fps: float = 8.0) -> tuple[float, float]:
    """How far the mean colour moved between the first and the last seconds, of 255; motion kept."""
    frames, n = 127.5 * decoded(z), round(seconds * fps)
    colours = frames.mean((2, 3))
    moved = (colours[:, -n:].mean(1) - colours[:, :n].mean(1)).abs().mean()
    motion = frames.diff(dim=1).abs().mean((2, 3, 4))
    return float(moved), float(motion[:, -n:].mean() / motion[:, :n].mean())


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
    drifts, bundle = {}, house()
    for sinks in (0, 1):
        videos = [long_video(bundle, each, latents=LATENTS, sinks=sinks, seed=seed) for each in PROMPTS]
        drifts[f"{sinks} sinks"] = drift(torch.cat(videos))
    shares = attention_to_first(model, streams(COUNT, CONTEXT, torch.Generator().manual_seed(seed)))
    return {
        **{f"perplexity, {name}": math.exp(float(each.mean())) for name, each in losses.items()},
        **{f"attention to the first token, layer {n}": float(share) for n, share in enumerate(shares)},
        **{f"long video, mean colour moved, {name}": moved for name, (moved, _) in drifts.items()},
        **{f"long video, motion kept, {name}": motion for name, (_, motion) in drifts.items()},
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
