"""First frame before the rest: generated from the prompt, then conditioning for the other frames.

Several candidates are sampled in one pack; the captioner's likelihood of the prompt chooses one. A
picture has a fifth of the tokens of two seconds, so candidates cost little, and an error in the
first frame would be in all that follow. The chosen latent goes into the canvas directly: it is not
decoded and encoded again.

Sources: a first frame from the text, then the video from both, Girdhar et al. 2023 (Emu Video,
arXiv:2311.10709); the best of several noises by a verifier, Ma et al. 2025 (arXiv:2501.09732).

Here: the candidates and the choice. Not here: the rest of the video (rollout.py), the captioner
(caption/model.py), the verbs that begin so (verbs.py), the number of candidates (fitting.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from minisora.bundle import Bundle
from minisora.generate.canvas import Canvas, Shape, build
from minisora.generate.rollout import windows_of
from minisora.generate.schedule import Schedule
from minisora.generate.window import Settings, encode_prompt, joined, sample
from minisora.progress import Watch
from minisora.video import to_uint8

if TYPE_CHECKING:
    from minisora.caption.model import Captioner

RANKED_AT_ONCE = 8  # candidates that are decoded and ranked together
_SEED_STRIDE = 0xD1B54A32D192ED03  # between seeds of candidates; differs from that of windows


@dataclass(frozen=True)
class FirstFrame:
    """Settings of a first frame: number of candidates, and the captioner that chooses one."""

    candidates: int = 1
    captioner: Captioner | None = None

    def __post_init__(self) -> None:
        assert self.candidates == 1 or (self.candidates > 1 and self.captioner is not None), self


@lru_cache(maxsize=2)
def chooser(name: str, device: torch.device, dtype: torch.dtype) -> Captioner:
    """Load the captioner that a bundle names, once: `playroom`, the shipped one, or a folder."""
    from minisora.caption.files import captioner_folder, load_captioner

    return load_captioner(captioner_folder(name), device=device, dtype=dtype)


def picture_first(
    bundle: Bundle,
    prompt: Schedule,
    canvas: Canvas,
    settings: Settings,
    how: FirstFrame,
    watch: Watch,
    pack: Sequence[tuple[str, int]] = (),
) -> tuple[Canvas, Watch]:
    """Generate the first frame of a canvas without conditions.

    pack:    text and seed of each video, if there are several; empty: those of prompt and settings
    returns  the canvas conditioned on that frame's latent, and a watch that counts on from these
             steps
    """
    blank = canvas.beginning_with(canvas.latents(canvas.known)[:, :1])
    windows = len(windows_of(bundle, blank, prompt))
    steps = first_steps(settings.steps) if windows else settings.steps
    total = steps + windows * settings.steps
    here, rest = replace(watch, stage="first frame", total=total), replace(watch, before=steps, total=total)
    pack = pack or [(prompt.first, settings.seed)]
    latents = first_latents(bundle, pack, canvas.shape, replace(settings, steps=steps), how, here)
    return canvas.beginning_with(latents), rest


def first_steps(steps: int) -> int:
    """Sampler steps of a first frame, for `steps` in the rest of the video: half.

    In equal time four candidates of 12 steps were better than two of 24 (docs/log.md).
    """
    return -(-steps // 2)


def first_latents(
    bundle: Bundle,
    pack: Sequence[tuple[str, int]],
    shape: Shape,
    settings: Settings,
    how: FirstFrame,
    watch: Watch,
) -> Tensor:
    """Sample the latents of first frames from texts, in one pack with all candidates.

    Candidate 0 has the seed itself; the noise of a candidate does not depend on their number.

    pack:    text and seed of each of B videos
    returns  (B, 1, Hz, Wz, Cz)
    """
    canvas = build(bundle, replace(shape, num_frames=1))
    seeds = [(seed + n * _SEED_STRIDE) % 2**63 for _, seed in pack for n in range(how.candidates)]
    with watch.timed("text"):
        encoded = [encode_prompt(bundle, text) for text, _ in pack]
        prompts = joined([each for each in encoded for _ in range(how.candidates)])
    with watch.timed("first frame"):
        latents = canvas.latents(sample(bundle, canvas, prompts, settings, watch, seeds=seeds))
    if how.captioner is None:
        return latents
    chosen = []
    with watch.timed("choose"):
        for (text, _), some in zip(pack, latents.split(how.candidates), strict=True):
            best = likelihoods(bundle, how.captioner, some, shape, text).argmax()[None]
            if bundle.dit.across is not None:
                best = bundle.dit.across.of_first(best)
            chosen.append(some[best])
    return torch.cat(chosen)


@torch.no_grad()
def likelihoods(bundle: Bundle, captioner: Captioner, latents: Tensor, shape: Shape, text: str) -> Tensor:
    """Log-likelihood of a text for the frame of each of B latents; see `Captioner.log_likelihood`.

    latents: (B, 1, Hz, Wz, Cz) of first frames
    shape:   of the video that they begin; if it has one frame, the text describes that alone
    returns  (B,) float32; all 0 for a text of which the captioner knows no word
    """
    found = []
    for some in latents.to(bundle.vae.dtype).split(RANKED_AT_ONCE):
        decoded, _ = bundle.vae.decode_next(some, None)
        frames = to_uint8(decoded[:, :, : shape.height, : shape.width])
        shown = torch.stack([captioner.fitted(clip, bundle.sampling.fps) for clip in frames])
        found.append(captioner.log_likelihood(shown, [text] * len(shown), ahead=shape.num_frames > 1))
    return torch.cat(found)
