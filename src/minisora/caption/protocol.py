"""The protocol of captioners: clips in, a text or the reason for its absence out; shared helpers.

Here: the protocol and the helpers. Not here: the adapters (adapters.py, endpoint.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from PIL import Image

from minisora.curate.words import cleaned
from minisora.errors import UsageError
from minisora.text.chat import Failed as Failed
from minisora.video import Video, resize

PROMPTS = {  # by `long`
    False: (
        "These are frames of one video, in order. Say in one sentence what it shows: who or what, "
        "how it looks, what it does, where, and how the camera moves. Begin with the subject."
    ),
    True: (
        "These are frames of one video, in order. Describe it in one paragraph of four to six sentences: every "
        "person and thing with its look and place, what each does and in which order, the setting, the light, the "
        "style, and how the camera moves. Say only what is seen. Begin with the subject."
    ),
}
MOST_SIDE = 512  # longer side of a network's input, in pixels


Answer = str | Failed


class Captions(Protocol):
    """A captioner: `captions(clips)` gives a text, or `Failed`, for each clip."""

    name: str
    together: int  # clips that are best captioned at once

    def __call__(self, clips: Sequence[Video], *, long: bool = False) -> list[Answer]:
        """Caption each clip, in order. Raises UsageError if no clip can be captioned at all."""


def caption_each(captions: Captions, clips: Sequence[Video], *, long: bool = False) -> list[Answer]:
    """`captions(clips)`, or each clip by itself if that raises, so that a bad clip fails alone."""
    try:
        return captions(clips, long=long) if clips else []
    except UsageError:
        raise
    except Exception as error:  # a network of the user's may raise anything
        if len(clips) > 1:
            return [answer for clip in clips for answer in caption_each(captions, [clip], long=long)]
        text = " ".join(str(error).split())[:200]
        return [Failed(f"{captions.name} failed: {type(error).__name__}: {text}")]


def pictures(clip: Video, count: int) -> list[Image.Image]:
    """At most `count` frames, each from the middle of its share, no side over MOST_SIDE."""
    number = min(count, len(clip.frames))
    index = ((torch.arange(number) + 0.5) * len(clip.frames) / number).long()
    return [Image.fromarray(frame.numpy()) for frame in shrunk(clip.frames[index])]


def shrunk(frames: torch.Tensor) -> torch.Tensor:
    """Shrink (T, H, W, 3) uint8 so that neither side is longer than MOST_SIDE."""
    height, width = frames.shape[1:3]
    scale = min(1.0, MOST_SIDE / max(height, width))
    return resize(frames, max(1, round(height * scale)), max(1, round(width * scale)))


def plain(answer: str) -> str:
    """A model's answer on one line, without "The video shows"; "" if it is empty."""
    texts = cleaned([answer.strip().strip('"*')])
    return texts[0] if texts else ""
