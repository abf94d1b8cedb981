"""Picture first: the first frame of a video made from its prompt, the rest with that frame's latent given.

Several candidates are made in one pack, and the one taken that our captioner would sooner describe by the prompt. A
picture has a fifth of the tokens of two seconds, so candidates cost little; and whatever is wrong in the first frame
is wrong in all that follow. The chosen latent goes into the canvas as it is: it is never decoded and encoded between.

Sources: a first frame from the text, then the video from both, Girdhar et al. 2023 (Emu Video, arXiv:2311.10709); the
best of several noises by a verifier, Ma et al. 2025 (arXiv:2501.09732).

Here: the candidates and the choice. Not here: the rest of the video (rollout.py), the captioner (caption/model.py),
which verbs begin so (verbs.py), how many candidates (fitting.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from minisora.bundle import Bundle
from minisora.generate.canvas import Canvas, Shape, build
from minisora.generate.rollout import windows_of
from minisora.generate.schedule import Schedule
from minisora.generate.window import Settings, encode_prompt, sample
from minisora.progress import Watch
from minisora.video import to_uint8

if TYPE_CHECKING:
    from minisora.caption.model import Captioner

RANKED_AT_ONCE = 8  # candidates that are decoded and ranked together
_SEED_STRIDE = 0xD1B54A32D192ED03  # between the seeds of candidates: other than between those of windows


@dataclass(frozen=True)
class FirstFrame:
    """How a first frame is made: of how many candidates, and who chooses; nobody does where there is but one."""

    candidates: int = 1
    captioner: Captioner | None = None

    def __post_init__(self) -> None:
        assert self.candidates == 1 or (self.candidates > 1 and self.captioner is not None), self


@lru_cache(maxsize=2)
def chooser(name: str, device: torch.device, dtype: torch.dtype) -> Captioner:
    """The captioner that a bundle names, read once: `playroom` is the one that is shipped; else its folder."""
    from minisora.caption.files import captioner_folder, load_captioner

    return load_captioner(captioner_folder(name), device=device, dtype=dtype)


def picture_first(
    bundle: Bundle, prompt: Schedule, canvas: Canvas, settings: Settings, how: FirstFrame, watch: Watch
) -> tuple[Canvas, Watch]:
    """Make the first frame of a canvas on which nothing is given.

    returns  the canvas with that frame's latent given, and a watch whose steps count on from those done here
    """
    blank = canvas.beginning_with(canvas.latents(canvas.known)[:, :1])
    windows = len(windows_of(bundle, blank, prompt))
    steps = first_steps(settings.steps) if windows else settings.steps
    total = steps + windows * settings.steps
    here, rest = replace(watch, stage="first frame", total=total), replace(watch, before=steps, total=total)
    latent = first_latent(bundle, prompt.first, canvas.shape, replace(settings, steps=steps), how, here)
    return canvas.beginning_with(latent), rest


def first_steps(steps: int) -> int:
    """Of a first frame, where the rest of the video takes so many: half, as the choice counts for more than the finish.

    In equal time four candidates of 12 steps were better than two of 24 (docs/log.md).
    """
    return -(-steps // 2)


def first_latent(bundle: Bundle, text: str, shape: Shape, settings: Settings, how: FirstFrame, watch: Watch) -> Tensor:
    """The latent of the first frame, as the text says.

    Candidate 0 has the settings' seed, and each candidate the same noise however many there are.

    returns (1, 1, Hz, Wz, Cz)
    """
    canvas = build(bundle, replace(shape, num_frames=1))
    seeds = [(settings.seed + n * _SEED_STRIDE) % 2**63 for n in range(how.candidates)]
    with watch.timed("text"):
        encoded = encode_prompt(bundle, text)
    with watch.timed("first frame"):
        latents = canvas.latents(sample(bundle, canvas, encoded, settings, watch, seeds=seeds))
    if how.captioner is None:
        return latents
    with watch.timed("choose"):
        best = likelihoods(bundle, how.captioner, latents, shape, text).argmax()[None]
        if bundle.dit.across is not None:
            best = bundle.dit.across.of_first(best)
    return latents[best]


@torch.no_grad()
def likelihoods(bundle: Bundle, captioner: Captioner, latents: Tensor, shape: Shape, text: str) -> Tensor:
    """How well a text fits the frame of each of B latents: see `Captioner.log_likelihood`.

    latents: (B, 1, Hz, Wz, Cz) of first frames
    shape:   of the video that they begin; of one frame, the text is of that alone
    returns  (B,) float32; all 0 for a text of which the captioner knows no word
    """
    found = []
    for some in latents.to(bundle.vae.dtype).split(RANKED_AT_ONCE):
        decoded, _ = bundle.vae.decode_next(some, None)
        frames = to_uint8(decoded[:, :, : shape.height, : shape.width])
        shown = torch.stack([captioner.fitted(clip, bundle.sampling.fps) for clip in frames])
        found.append(captioner.log_likelihood(shown, [text] * len(shown), ahead=shape.num_frames > 1))
    return torch.cat(found)
