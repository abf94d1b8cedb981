"""Videos longer than what the network sees at once: windows over one canvas, each holding on to what is there already.

A window begins with latents that were given or made before, as they are: nothing is decoded and encoded again between
windows. From the first given stretch the windows go forward to the end, then back to the beginning; before a later
given stretch they reach into it, so that the join has both sides in view. Where the prompt changes, a window ends, and
the next is guided by its new text alone: what is there knows nothing of it.

Context noise lessens drift, at the cost of likeness: Chen et al. 2024 (diffusion forcing, arXiv:2407.01392).

Here: which windows, and their latents in order as soon as no later window can change them. Not here: one window
(window.py), what is given (canvas.py).
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

_SEED_STRIDE = 0x9E3779B97F4A7C15  # between the seeds of windows: far from what people type


@dataclass(frozen=True)
class Window:
    """Latents first..stop, of which `new` is the first that is made in it."""

    first: int
    stop: int
    new: int


def plan(held: Sequence[bool], *, length: int, context: int, breaks: Sequence[int] = ()) -> list[Window]:
    """Windows of at most `length` latents that make all that is not held.

    context: latents before (going back: after) the new ones that a window holds on to, where there are any
    breaks:  latents at which a window may begin its new ones, but which it may not cross with them
    """
    assert 0 < context < length, (context, length)
    done, windows = list(held), list[Window]()
    if len(done) <= length and not breaks:
        return [] if all(done) else [Window(0, len(done), done.index(False))]
    forward_from = next((n for n, given in enumerate(held) if given), 0)
    while (new := _next(done, False, forward_from)) < len(done):
        gap_end = min([_next(done, True, new), *(at for at in breaks if at > new)])
        first, stop = _around(new, gap_end, _next(done, False, gap_end), length=length, context=context)
        windows.append(Window(first, stop, new))
        done[new:stop] = [True] * (stop - new)
    while not done[0]:
        new_end = _next(done, True, 0)
        stop = min(len(done), new_end + context)
        first = max([0, stop - length, *(at for at in breaks if at < new_end)])
        windows.append(Window(first, stop, first))
        done[first:new_end] = [True] * (new_end - first)
    return windows


def _around(new: int, gap_end: int, given_end: int, *, length: int, context: int) -> tuple[int, int]:
    """The window that makes latents from `new` on: first and stop. What is given from gap_end to given_end, it or a
    later one of the same gap has in view while it makes the last of them.
    """
    first = max(0, new - context)
    given = min(given_end - gap_end, context)
    if not given:
        return first, min(first + length, gap_end)
    least = min(2, (length - 1) // 2)  # of each side that a window holds on to, where there is so much
    room = length - (gap_end - new)
    if room < 2 * least:
        last_piece = min(length // 2, length - 2 * least)
        return first, min(first + length, gap_end - last_piece)
    before = min(new - first, max(room - given, room - room // 2))
    return new - before, gap_end + min(given, room - before)


def windows_of(bundle: Bundle, canvas: Canvas, prompt: Schedule) -> list[Window]:
    """The windows that make what the canvas leaves open."""
    how, strides = bundle.sampling, bundle.vae.strides
    breaks = [latent_at(part.start, canvas.shape.fps, strides) for part in prompt.parts[1:]]
    return plan(canvas.held(), length=how.window, context=how.context, breaks=breaks)


def roll_out(bundle: Bundle, canvas: Canvas, prompt: Schedule, settings: Settings, watch: Watch) -> Iterator[Tensor]:
    """Make what the canvas leaves open.

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
    """The first latent of which every frame is at `seconds` or later."""
    frame = math.ceil(seconds * fps - 1e-6)
    return 0 if frame <= 0 else strides.num_latents(frame)


def check_times(prompt: Schedule, shape: Shape, strides: Strides) -> None:
    """Raises UsageError for a part that nothing of the video would show."""
    for part in prompt.parts:
        if latent_at(part.start, shape.fps, strides) >= strides.num_latents(shape.num_frames) and part.start > 0:
            raise UsageError(
                f'the prompt says "{part.text}" from {part.start:g} s on, and the video ends at '
                f"{(shape.num_frames - 1) / shape.fps:g} s. Ask for more seconds, or let it start earlier."
            )


def _next(flags: Sequence[bool], value: bool, start: int) -> int:
    """The first place from `start` on that holds `value`; the length where none does."""
    return next((n for n in range(start, len(flags)) if flags[n] == value), len(flags))
