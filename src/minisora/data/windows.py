"""Training samples from stored latents: a window of a clip, a caption, a time t for each token.

A time for each token is the one idea of this project. The pattern "all" has one time for all
tokens, as text to video needs. "each" has one for each latent (diffusion forcing, Chen et al. 2024,
arXiv:2407.01392). The other patterns are tasks: the first frame, the first or last latents, both
ends, some latents, or all but a region are conditioning, at time 0 or slightly noised, and carry no
loss. Open-Sora 1.1's report: a network can only be conditioned in ways that it was trained on.

Everything is drawn from the caller's `random.Random`, so a sample is a pure function of its place.

Here: windows and their conditioning. Not here: reading shards (latents.py), the formulas of times
(diffusion/times.py) and of the loss (diffusion/loss.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from minisora.diffusion.times import logit_normal, shift_for_tokens, shift_times
from minisora.worlds.clip import Caption

NEAR_SECONDS = 1.0  # most distance of a caption's start and stop from the window's, added up


@dataclass(frozen=True, eq=False)
class StoredClip:
    """A clip as shards hold it.

    groups:  (1 + K, Hz, Wz, Cz) latents of frame 0, then of groups of `stride` frames
    singles: (M, Hz, Wz, Cz) latents of single frames
    frames:  numbers of these M frames, rising
    hints:   content labels of each cell of both, (1 + K + M, Hz, Wz, n) int8, if known; see
             worlds/playroom/hints.py
    stride:  frames in a group
    """

    groups: Tensor
    singles: Tensor
    frames: tuple[int, ...]
    fps: float
    captions: tuple[Caption, ...]
    texts: tuple[Tensor, ...]  # (S_i, Dt), the token states of each caption
    hints: Tensor | None = None
    stride: int = 4


@dataclass(frozen=True, eq=False)
class Window:
    """One training sample: latents in the order of their tokens, other inputs, and a text.

    latents:   (n, Hz, Wz, Cz)
    seconds:   (n,) from the last frame of the window's first latent to each latent's last frame
    single:    (n,) bool, True for a latent of one frame
    times:     (n, Hz/ph, Wz/pw) float32, t of each token
    loss_mask: (n, Hz/ph, Wz/pw) bool, True for tokens to be generated: they carry loss
    text:      (S, Dt)
    hints:     (n, Hz/ph, Wz/pw, questions) int8 of each token's first cell, if known
    """

    latents: Tensor
    seconds: Tensor
    single: Tensor
    times: Tensor
    loss_mask: Tensor
    text: Tensor
    hints: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """Distribution of samples. Shares are weights: they need not sum to 1."""

    lengths: tuple[tuple[int, float], ...] = ((1, 0.12), (2, 0.03), (3, 0.05), (5, 0.7), (9, 0.1))  # latents, weight
    begin_later: float = 0.3  # share of windows that begin inside the clip
    begin_with_group: float = 0.5  # share of those that begin without a frame of its own
    drop_text: float = 0.1  # share with the null text, for guidance
    of_clip: float = 0.5  # share of single frames that take the caption of the clip they begin, if there is one
    dense: float = 0.7  # share of dense captions, where there are such
    extra_frame: float = 0.06  # share with extra one-frame latents next to the window's own: one to three, or all
    patterns: tuple[tuple[str, float], ...] = (
        ("all", 0.58),
        ("each", 0.08),
        ("first", 0.12),
        ("first_k", 0.07),
        ("last_k", 0.04),
        ("ends", 0.05),
        ("some", 0.03),
        ("region", 0.03),
    )
    context_noise: float = 0.3  # share of windows whose conditioning is slightly noised
    most_context_noise: float = 0.2
    time_mean: float = 0.0  # of the logit of t
    time_std: float = 1.0
    shift: float = 1.0  # at shift_tokens, growing with the square root of the tokens
    shift_tokens: int = 180


def draw_window(
    clip: StoredClip, null_text: Tensor, config: WindowConfig, patch: tuple[int, int], rng: Random
) -> Window:
    """Draw one sample of a clip. `patch`: rows and columns of latent cells in a token."""
    rows_of, seconds, single, begin = _cut(clip, config, rng)
    text = _caption(clip, begin, begin + float(seconds[-1]), config, rng)
    if text is None or rng.random() < config.drop_text:
        text = null_text
    rows, columns = clip.groups.shape[1] // patch[0], clip.groups.shape[2] // patch[1]
    times, loss_mask = draw_times(len(rows_of), rows, columns, config, rng)
    if rng.random() < config.extra_frame and len(rows_of) > 1:
        inside = [n for n, f in enumerate(clip.frames) if begin < f / clip.fps < begin + float(seconds[-1])]
        for n in rng.sample(inside, min(len(inside), rng.choice((1, 2, 3, len(inside))))):
            rows_of.append(len(clip.groups) + n)
            seconds = torch.cat([seconds, torch.tensor([clip.frames[n] / clip.fps - begin])])
            single = torch.cat([single, torch.tensor([True])])
            times = torch.cat([times, torch.zeros(1, rows, columns)])
            loss_mask = torch.cat([loss_mask, torch.zeros(1, rows, columns, dtype=torch.bool)])
    latents = torch.cat([clip.groups, clip.singles])[rows_of]
    hints = None if clip.hints is None else clip.hints[rows_of, :: patch[0], :: patch[1]]
    return Window(latents, seconds, single, times, loss_mask, text, hints)


def _cut(clip: StoredClip, config: WindowConfig, rng: Random) -> tuple[list[int], Tensor, Tensor, float]:
    """Cut a window: numbers of its latents (groups before singles), their seconds, True for
    those of one frame, and the second of the clip at which the window begins.
    """
    most = len(clip.groups)
    length = min(most, rng.choices([n for n, _ in config.lengths], [w for _, w in config.lengths])[0])
    if length == 1:
        n = rng.randrange(len(clip.frames))
        return [most + n], torch.zeros(1), torch.tensor([True]), clip.frames[n] / clip.fps
    first = rng.randint(0, most - length) if rng.random() < config.begin_later else 0
    chosen = list(range(first, first + length))
    single = torch.zeros(length, dtype=torch.bool)
    if first == 0:
        single[0] = True
    elif rng.random() >= config.begin_with_group:
        chosen[0] = most + clip.frames.index(first * clip.stride)
        single[0] = True
    return chosen, torch.arange(length) * clip.stride / clip.fps, single, first * clip.stride / clip.fps


def _caption(clip: StoredClip, start: float, stop: float, config: WindowConfig, rng: Random) -> Tensor | None:
    """Text of the caption nearest to these seconds; None if all are of another part of the clip.

    A single frame may take the caption of the clip that it begins: a ball that will roll to the
    left starts on the right. Captions that all have one stretch are of the whole clip, and hold for
    any part.
    """

    def distance(caption: Caption) -> float:
        return abs(caption.start - start) + abs(caption.stop - stop)

    if start == stop and rng.random() < config.of_clip:
        begun = [n for n, caption in enumerate(clip.captions) if caption.stop > caption.start == start]
        if begun:
            return clip.texts[_dense_or_not(clip, begun, config, rng)]
    moment = [caption.stop == caption.start for caption in clip.captions]
    fitting = [n for n, is_moment in enumerate(moment) if is_moment == (start == stop)] or list(range(len(moment)))
    nearest = min(distance(clip.captions[n]) for n in fitting)
    if nearest > NEAR_SECONDS and len({(caption.start, caption.stop) for caption in clip.captions}) > 1:
        return None
    fitting = [n for n in fitting if distance(clip.captions[n]) <= nearest + 1e-6]
    return clip.texts[_dense_or_not(clip, fitting, config, rng)]


def _dense_or_not(clip: StoredClip, captions: list[int], config: WindowConfig, rng: Random) -> int:
    """Draw one of some captions, a dense one with probability `config.dense` if both exist."""
    wanted = rng.random() < config.dense
    return rng.choice([n for n in captions if clip.captions[n].dense == wanted] or captions)


def draw_times(count: int, rows: int, columns: int, config: WindowConfig, rng: Random) -> tuple[Tensor, Tensor]:
    """Draw the times of `count` latents of rows x columns tokens, and the loss mask.

    returns  (count, rows, columns) float32 t, and bool: True for tokens to be generated, at least
             one
    """
    name = rng.choices([n for n, _ in config.patterns], [w for _, w in config.patterns])[0] if count > 1 else "all"
    tokens = count * rows * columns
    shift = shift_for_tokens(tokens, base_tokens=config.shift_tokens, base_shift=config.shift)

    def draw() -> float:
        return shift_times(logit_normal(rng, mean=config.time_mean, std=config.time_std), shift)

    if name == "each":
        times = torch.tensor([draw() for _ in range(count)])
        return times[:, None, None].expand(count, rows, columns), torch.ones(count, rows, columns, dtype=torch.bool)
    loss_mask = torch.ones(count, rows, columns, dtype=torch.bool)
    k = rng.randint(1, count - 1) if count > 1 else 0
    if name == "first":
        loss_mask[0] = False
    elif name == "first_k":
        loss_mask[:k] = False
    elif name == "last_k":
        loss_mask[-k:] = False
    elif name == "ends":
        most = (count - 1) // 2
        loss_mask[: rng.randint(min(1, most), most)] = False
        loss_mask[count - rng.randint(1, max(1, most)) :] = False
    elif name == "some":
        loss_mask[rng.sample(range(count), k)] = False
    elif name == "region":
        height, width = rng.randint(1, rows), rng.randint(1, columns)
        top, left = rng.randint(0, rows - height), rng.randint(0, columns - width)
        loss_mask[:] = False
        loss_mask[:, top : top + height, left : left + width] = True
    t = draw()
    given = rng.uniform(0, config.most_context_noise) if rng.random() < config.context_noise else 0.0
    return torch.where(loss_mask, t, min(t, given)), loss_mask
