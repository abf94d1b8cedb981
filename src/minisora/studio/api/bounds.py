"""Bounds on the videos that clients ask for, checked before a job is accepted.

What a machine's memory holds is known to its worker, which refuses the rest.

Here: lengths, sizes and numbers of frames of a request. Not here: files (uploads.py), the queue
(dispatch.py).
"""

from __future__ import annotations

from typing import Any

from minisora.generate.request import Request
from minisora.studio.api.errors import invalid
from minisora.studio.api.settings import VideoBounds

_LENGTHS = ("seconds", "after", "before")
MOST_CANDIDATES, MOST_TIMES, MOST_SHOTS = 64, 64, 200
EXPANDERS = ("auto", "grammar", "smollm2")  # a fourth way is an address, which only the operator may name


def check_bounds(request: Request, bounds: VideoBounds, fps: float, clip_seconds: float) -> None:
    """Raise Refusal for a request of more than the bounds.

    fps:          the model's own
    clip_seconds: length of all clips of the request
    """
    board = getattr(request, "board", None)
    for of, name in ((request, "size"), (request, "to"), (board, "size")):
        if (size := getattr(of, name, None)) is not None and size[0] * size[1] > bounds.pixels:
            raise invalid(f"{name} has more than {bounds.pixels:,} pixels. Ask for a smaller one.", name)
    for name, most in (("candidates", MOST_CANDIDATES), ("times", MOST_TIMES)):
        if (getattr(request, name, None) or 0) > most:
            raise invalid(f"{name} is {most} at most.", name)
    for name in _LENGTHS:
        if (getattr(request, name, None) or 0) > bounds.seconds:
            raise invalid(f"{name} is {bounds.seconds:g} at most.", name)
    if getattr(request, "expand", None) not in (None, *EXPANDERS):
        raise invalid(f"expand is one of {', '.join(EXPANDERS)}: this server calls no addresses.", "expand")
    for text in ("prompt", "source", "typed", "typed_source"):
        if len(getattr(request, text, None) or "") > bounds.prompt_letters:
            raise invalid(f"{text} has more than {bounds.prompt_letters:,} characters.", text)
    shots = getattr(board, "shots", ())
    if len(shots) > MOST_SHOTS:
        raise invalid(f"a storyboard has {MOST_SHOTS} shots at most.", "board")
    if any(len(text or "") > bounds.prompt_letters for shot in shots for text in (shot.prompt, shot.typed)):
        raise invalid(f"a shot's prompt has more than {bounds.prompt_letters:,} characters.", "board")
    _check_length(request, shots, bounds, fps, clip_seconds)


def _check_length(
    request: Request, shots: tuple[Any, ...], bounds: VideoBounds, fps: float, clip_seconds: float
) -> None:
    added = sum(getattr(request, name, None) or 0.0 for name in _LENGTHS) + sum(shot.seconds for shot in shots)
    board = getattr(request, "board", None)
    rate = (getattr(request, "fps", None) or getattr(board, "fps", None) or fps) * getattr(request, "times", 1)
    if added + clip_seconds > bounds.seconds:
        raise invalid(f"the video would be longer than {bounds.seconds:g} s. Ask for less.", "seconds")
    if (added + clip_seconds) * rate > bounds.frames:
        raise invalid(f"the video would have more than {bounds.frames} frames. Ask for less, or a lower fps.", "fps")
