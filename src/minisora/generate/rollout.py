"""Rollout: videos longer than the context window, window by window.

Each window is conditioned on latents that exist already, known or generated; nothing is decoded and
encoded again between windows. From the first conditioning latents the windows go forward to the
end, then back to the beginning; before later conditioning they extend into it, so that the join
sees both sides. Where the prompt changes, a window ends, and the next is guided by its new text
alone: the existing latents do not follow it.

Context noise reduces drift, at the cost of fidelity: Chen et al. 2024 (diffusion forcing,
arXiv:2407.01392).

Here: the windows, and their latents in order as soon as no later window can change them. Not here:
one window (window.py), conditioning (canvas.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from minisora.bundle import Bundle
from minisora.errors import UsageError
from minisora.generate.canvas import Canvas, Shape
from minisora.generate.schedule import Schedule
from minisora.generate.window import EncodedPrompt, Settings, encode_prompt, sample
from minisora.progress import Watch
from minisora.vae.codec import Strides

_SEED_STRIDE = 0x9E3779B97F4A7C15  # between the seeds of windows: far from seeds that people type


@dataclass(frozen=True)
class Window:
    """Latents first..stop; `new` is the first that this window generates."""

    first: int
    stop: int
    new: int


def plan(held: Sequence[bool], *, length: int, context: int, breaks: Sequence[int] = ()) -> list[Window]:
    """Plan windows of at most `length` latents that generate all that are not held.

    context: latents before (going back: after) the new ones that condition a window, if there are
             any
    breaks:  latents that no window's new ones may cross; they may begin there
    """
    assert 0 < context < length, (context, length)
    done, windows = list(held), list[Window]()
    if len(done) <= length and not breaks:
        return [] if all(done) else [Window(0, len(done), done.index(False))]
    forward_from = next((n for n, given in enumerate(held) if given), 0)
    while (new := _next(done, False, forward_from)) < len(done):
        gap_end = min([_next(done, True, new), *(at for at in breaks if at > new)])
        known = next((n + 1 for n in reversed(range(new)) if not done[n]), 0)  # those before are for the way back
        first, stop = _around(known, new, gap_end, _next(done, False, gap_end), length=length, context=context)
        windows.append(Window(first, stop, new))
        done[new:stop] = [True] * (stop - new)
    while not done[0]:
        new_end = _next(done, True, 0)
        stop = min(len(done), new_end + context)
        first = max([0, stop - length, *(at for at in breaks if at < new_end)])
        windows.append(Window(first, stop, first))
        done[first:new_end] = [True] * (new_end - first)
    return windows


def _around(known: int, new: int, gap_end: int, given_end: int, *, length: int, context: int) -> tuple[int, int]:
    """First and stop of the window that generates latents from `new` on; known..new exist already.

    It, or a later window of the same gap, sees the known latents gap_end..given_end while it
    generates the last of the gap.
    """
    first = max(known, new - context)
    given = min(given_end - gap_end, context)
    if not given:
        return first, min(first + length, gap_end)
    least = min(2, (length - 1) // 2)  # conditioning latents on each side, if there are so many
    room = length - (gap_end - new)
    if room < 2 * least:
        last_piece = min(length // 2, length - 2 * least)
        return first, min(first + length, gap_end - last_piece)
    before = min(new - first, max(room - given, room - room // 2))
    return new - before, gap_end + min(given, room - before)


def windows_of(bundle: Bundle, canvas: Canvas, prompt: Schedule) -> list[Window]:
    """Windows that generate the free latents of a canvas."""
    how, strides = bundle.sampling, bundle.vae.strides
    breaks = [latent_at(part.start, canvas.shape.fps, strides) for part in prompt.parts[1:]]
    return plan(canvas.held(), length=how.window, context=how.context, breaks=breaks)


def roll_out(bundle: Bundle, canvas: Canvas, prompt: Schedule, settings: Settings, watch: Watch) -> Iterator[Tensor]:
    """Generate the free latents of a canvas.

    yields (1, n, Hz, Wz, Cz) latents, in order, without gaps
    """
    cells = canvas.grid[1] * canvas.grid[2]
    starts = [latent_at(part.start, canvas.shape.fps, bundle.vae.strides) for part in prompt.parts]
    done, tokens = canvas.held(), canvas.known.clone()
    windows = windows_of(bundle, canvas, prompt)
    total = len(windows) * settings.steps if watch.total is None else watch.total
    encoded: dict[str, EncodedPrompt] = {}
    by_text_alone = replace(settings, guidance_given=settings.guidance, history_guidance=False)
    ready = 0

    def text_at(latent: int) -> str:
        return [part.text for part, start in zip(prompt.parts, starts, strict=True) if start <= latent][-1]

    for number, window in enumerate(windows):
        new = [n for n in range(window.first, window.stop) if not done[n]]
        neighbour = new[0] - 1 if new[0] > window.first else min(new[-1] + 1, window.stop - 1)
        text = text_at(window.new)
        if text not in encoded:
            with watch.timed("text"):
                encoded[text] = encode_prompt(bundle, text)
        here = canvas.window(window.first, window.stop, tokens, done)
        with watch.timed("denoise"):
            sampled = sample(
                bundle,
                here,
                encoded[text],
                settings if text_at(neighbour) == text else by_text_alone,
                replace(watch, before=watch.before + number * settings.steps, total=total),
                seeds=[(settings.seed + number * _SEED_STRIDE) % 2**63],
            )
        span = (window.stop - window.first) * cells
        tokens[:, window.first * cells : window.stop * cells] = sampled[:, :span]
        done[window.first : window.stop] = [True] * (window.stop - window.first)
        if (now := _next(done, False, 0)) > ready:
            yield canvas.latents(tokens)[:, ready:now]
            ready = now
    if ready < len(done):
        yield canvas.latents(tokens)[:, ready:]


def latent_at(seconds: float, fps: float, strides: Strides) -> int:
    """First latent whose frames are all at `seconds` or later."""
    frame = math.ceil(seconds * fps - 1e-6)
    return 0 if frame <= 0 else strides.num_latents(frame)


def check_times(prompt: Schedule, shape: Shape, strides: Strides) -> None:
    """Raise UsageError for a part of the prompt that begins after the video's end."""
    for part in prompt.parts:
        if latent_at(part.start, shape.fps, strides) >= strides.num_latents(shape.num_frames) and part.start > 0:
            raise UsageError(
                f'the prompt says "{part.text}" from {part.start:g} s on, and the video ends at '
                f"{(shape.num_frames - 1) / shape.fps:g} s. Ask for more seconds, or let it start earlier."
            )


def _next(flags: Sequence[bool], value: bool, start: int) -> int:
    """First index from `start` on with `value`; the length if there is none."""
    return next((n for n in range(start, len(flags)) if flags[n] == value), len(flags))
