"""What every captioner is given and gives: clips, prompts, texts, and the reason where there is no text.

Here: the protocol and what its adapters share. Not here: the adapters (adapters.py, endpoint.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image

from minisora.curate.words import cleaned
from minisora.errors import UsageError
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
MOST_SIDE = 512  # pixels of the longer side of what a network is shown


@dataclass(frozen=True)
class Failed:
    """Instead of a text: why there is none."""

    reason: str


Said = str | Failed


class Captions(Protocol):
    """Whoever writes captions."""

    name: str
    together: int  # clips that are best given at once

    def __call__(self, clips: Sequence[Video], *, long: bool = False) -> list[Said]:
        """A caption for each clip, in order. Raises UsageError where none can be had at all."""


def each_alone(captions: Captions, clips: Sequence[Video], *, long: bool = False) -> list[Said]:
    """`captions(clips)`; where that fails each clip is asked about by itself, so that one costs itself alone."""
    try:
        return captions(clips, long=long) if clips else []
    except UsageError:
        raise
    except Exception as error:  # a network of the user's may raise anything
        if len(clips) > 1:
            return [said for clip in clips for said in each_alone(captions, [clip], long=long)]
        text = " ".join(str(error).split())[:200]
        return [Failed(f"{captions.name} failed: {type(error).__name__}: {text}")]


def pictures(clip: Video, count: int) -> list[Image.Image]:
    """At most `count` frames, each from the middle of its share of the clip, none larger than MOST_SIDE."""
    number = min(count, len(clip.frames))
    index = ((torch.arange(number) + 0.5) * len(clip.frames) / number).long()
    return [Image.fromarray(frame.numpy()) for frame in shrunk(clip.frames[index])]


def shrunk(frames: torch.Tensor) -> torch.Tensor:
    """(T, H, W, 3) uint8, with neither side longer than MOST_SIDE"""
    height, width = frames.shape[1:3]
    scale = min(1.0, MOST_SIDE / max(height, width))
    return resize(frames, max(1, round(height * scale)), max(1, round(width * scale)))


def plain(answer: str) -> str:
    """What a model answered, on one line, without "The video shows"; empty where it said nothing."""
    texts = cleaned([answer.strip().strip('"*')])
    return texts[0] if texts else ""
