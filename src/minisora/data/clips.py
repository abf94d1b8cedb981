"""Decoding samples of curated shards, written by `minisora curate` (curate/write.py), to clips.

Here: one sample. Not here: shards (shards.py), many samples (curate/decode.py), training samples
(latents.py).
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from minisora.data.shards import BrokenSample
from minisora.video.pixels import Converter
from minisora.worlds.clip import Caption, Clip


def to_clip(key: str, members: Mapping[str, bytes]) -> Clip:
    """Decode one sample of a curated shard; each caption holds for the seconds that it names.

    Raises BrokenSample, naming the sample, if a member is missing or cannot be decoded.
    """
    try:
        about: dict[str, Any] = json.loads(members["json"])
        with av.open(io.BytesIO(members["mp4"]), "r") as container:
            stream = container.streams.video[0]
            decoded = list(container.decode(stream))
            convert = Converter(stream, decoded[0])
            frames = [convert(frame) for frame in decoded]
        captions = tuple(Caption(one["text"], one["start"], one["stop"]) for one in about["captions"])
        return Clip(key, torch.from_numpy(np.stack(frames)), about["fps"], captions)
    except (AssertionError, IndexError, KeyError, ValueError, TypeError, av.FFmpegError) as error:
        raise BrokenSample(
            f"sample {key} is not a curated clip: {type(error).__name__}: {error}. Curate it again."
        ) from error


def on_grid(clip: Clip, *, side: int, group: int) -> Clip:
    """Crop to what a model takes: the first 1 + k * `group` frames, sides multiples of `side`.

    Raises BrokenSample for a clip smaller than one cell.
    """
    frames: Tensor = clip.frames[: len(clip.frames) - (len(clip.frames) - 1) % group]
    height, width = (n // side * side for n in frames.shape[1:3])
    if not height or not width:
        raise BrokenSample(f"clip {clip.key} of {frames.shape[2]}x{frames.shape[1]} is smaller than {side} pixels.")
    top, left = (frames.shape[1] - height) // 2, (frames.shape[2] - width) // 2
    frames = frames[:, top : top + height, left : left + width]
    end = (len(frames) - 1) / clip.fps
    captions = tuple(Caption(c.text, c.start, min(c.stop, end)) for c in clip.captions if c.start <= end)
    return Clip(clip.key, frames, clip.fps, captions, clip.truth)
