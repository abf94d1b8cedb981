"""Packs: several videos sampled at once, each from its own prompt and seed.

Videos of one shape and of the same settings, without conditions and within one context window,
differ in their text and noise alone, so the network takes them as one pack. Each then is decoded by
itself. A matmul over more rows may round differently: a video of a pack differs from the one made
alone by rounding (docs/log.md), no more; alone, it is the same bit for bit.

Here: which works may share a pack, and sampling it. Not here: one video (frames.py), running a work
(plan.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from minisora.device import usable_bytes
from minisora.generate.canvas import build
from minisora.generate.deliver import working
from minisora.generate.first_frame import picture_first
from minisora.generate.fitting import memory_bytes, sees_at_once
from minisora.generate.frames import Sampling
from minisora.generate.plan import Work
from minisora.generate.window import encode_prompt, joined, sample, weights_for
from minisora.progress import Event, Preview, Watch


def sampled_together(works: Sequence[Work]) -> list[Work]:
    """Sample works in one pack; running each of the result then only decodes it.

    All listeners hear of every step; one that raises cancels all. Seconds of shared stages are
    divided equally.

    returns  the works as they are if they cannot share a pack, and a single one always
    """
    samplings = [work.plan.frames for work in works if isinstance(work.plan.frames, Sampling)]
    if len(works) < 2 or len(samplings) < len(works) or not _fit(samplings):
        return list(works)
    show = partial(_show, works) if any(work.watch.on_preview for work in works) else None
    watch = Watch(on_event=partial(_tell, works), on_preview=show, videos=len(works))
    tokens = _sampled(samplings, watch)
    for work in works:
        for stage, seconds in watch.seconds.items():
            work.watch.seconds[stage] = work.watch.seconds.get(stage, 0.0) + seconds / len(works)
    return [
        replace(work, plan=replace(work.plan, frames=_Decoding(sampling, latents[None])))
        for work, sampling, latents in zip(works, samplings, tokens, strict=True)
    ]


class _Decoding:
    """Frames of a video whose latents are there. latents: (1, Tz, Hz, Wz, Cz)"""

    def __init__(self, sampling: Sampling, latents: Tensor) -> None:
        self.sampling, self.latents = sampling, latents

    def __call__(self, watch: Watch) -> Iterator[Tensor]:
        return self.sampling.decoded([self.latents], watch)


def _fit(samplings: Sequence[Sampling]) -> bool:
    """True if one pack can hold these videos, and memory too."""
    one = samplings[0]
    alike = all(
        each.bundle is one.bundle
        and (each.shape, each.first) == (one.shape, one.first)
        and replace(each.settings, seed=0) == replace(one.settings, seed=0)
        and not each.conditions
        and not each.prompt.changes
        for each in samplings
    )
    if not alike or not one.is_seen_whole or not sees_at_once(one.bundle, one.shape):
        return False
    candidates = 1 if one.first is None else one.first.candidates
    return len(samplings) * memory_bytes(one.bundle, one.shape, candidates) <= usable_bytes()


@torch.no_grad()
def _sampled(samplings: Sequence[Sampling], watch: Watch) -> Tensor:
    """Latents of B videos: (B, Tz, Hz, Wz, Cz)"""
    one, settings = samplings[0], samplings[0].settings
    bundle = weights_for(one.bundle, settings)
    texts, seeds = [each.prompt.first for each in samplings], [each.settings.seed for each in samplings]
    with watch.timed("canvas"):
        canvas = build(bundle, working(bundle, one.shape))
    if one.first is not None:
        pack = list(zip(texts, seeds, strict=True))
        canvas, watch = picture_first(bundle, one.prompt, canvas, settings, one.first, watch, pack)
    if all(canvas.held()):
        return canvas.latents(canvas.known)
    with watch.timed("text"):
        prompts = joined([encode_prompt(bundle, text) for text in texts])
    with watch.timed("denoise"):
        return canvas.latents(sample(bundle, canvas, prompts, settings, watch, seeds=seeds))


def _tell(works: Sequence[Work], event: Event) -> None:
    for work in works:
        work.watch.on_event(event)


def _show(works: Sequence[Work], preview: Preview) -> None:
    for number, work in enumerate(works):
        if work.watch.on_preview is not None:
            work.watch.on_preview(partial(_numbered, preview, number))


def _numbered(preview: Preview, number: int, video: int) -> Tensor:
    assert video == 0, "each listener sees its own video"
    return preview(number)
