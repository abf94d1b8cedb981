"""Seeds to clips: draw, render, caption.

Here: `clips`, what training and evaluation call, and `Captioning`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from minisora.video import Shape
from minisora.worlds.clip import Caption, Clip
from minisora.worlds.playroom.captions import captions, dense_caption
from minisora.worlds.playroom.draw import draw
from minisora.worlds.playroom.facts import watch
from minisora.worlds.playroom.hints import hints_of
from minisora.worlds.playroom.render import render
from minisora.worlds.playroom.scene import Scene

OTHER_WORDS = 1_000_000_007  # between the caption seeds of one scene
SPANS = ((0.0, 2.0), (0.0, 4.0), (2.0, 4.0), (0.0, 0.0), (2.0, 2.0))  # seconds that are captioned


@dataclass(frozen=True, kw_only=True)
class Captioning:
    """Settings of captions.

    phrasing: "train", "held_out" or "wide" (phrases.py)
    wordings: how many times two or three natural captions of each span are drawn
    dense:    number of additional dense captions of each span; a moment has one
    seconds:  by how much the captioned clip is longer than its frames, for pictures that begin one
    """

    phrasing: str = "train"
    wordings: int = 1
    dense: int = 0
    seconds: float = 0.0


ONCE = Captioning()


def clips(
    seeds: Iterable[int],
    shape: Shape | None = None,
    *,
    split: str = "train",
    captioning: Captioning = ONCE,
    hints: bool = False,
    device: str | torch.device = "cpu",
    **size: Any,
) -> list[Clip]:
    """One clip for each seed, with captions of `SPANS` as far as the clip goes.

    hints: also label the content of each cell (hints.py); motions are those of the whole clip
    size:  fields of a Shape, in place of one: height, width; 33 frames at 8 fps if not given

    Frames are on the CPU; truth holds the scene and the aspect of the frame.
    """
    shape = shape or Shape(**{"num_frames": 33, "fps": 8.0, **size})
    scenes = [draw(seed, split=split) for seed in seeds]
    if not scenes:
        return []
    rendered = render(scenes, **vars(shape), device=device, truth=hints)
    frames = rendered.frames.cpu()
    masks = [None] * len(scenes) if rendered.masks is None else rendered.masks.cpu().long()
    captioned, aspect = shape.seconds + captioning.seconds, shape.width / shape.height
    return [
        Clip(
            key=f"playroom-{split}-{scene.seed}",
            frames=frames[number],
            fps=shape.fps,
            captions=_captions(scene, shape, captioning),
            truth={"scene": scene.to_json(), "aspect": aspect},
            hints=None if mask is None else hints_of(watch(scene, 0.0, captioned, aspect=aspect), mask),
        )
        for number, (scene, mask) in enumerate(zip(scenes, masks, strict=True))
    ]


def _captions(scene: Scene, shape: Shape, how: Captioning) -> tuple[Caption, ...]:
    """Captions, without repetition, of each of `SPANS` that begins within the frames.

    A span is cut to the captioned length.
    """
    aspect, end = shape.width / shape.height, shape.seconds + how.seconds
    spans = dict.fromkeys((start, min(stop, end)) for start, stop in SPANS if start <= shape.seconds)
    found = list[Caption]()
    for start, stop in spans:
        seeds = [scene.seed + n * OTHER_WORDS for n in range(max(how.wordings, how.dense) if stop > start else 1)]
        for n, seed in enumerate(seeds):
            if n < how.wordings:
                found += captions(scene, seed=seed, start=start, stop=stop, phrasing=how.phrasing, aspect=aspect)
            if n < how.dense:
                found.append(
                    dense_caption(scene, seed=seed, start=start, stop=stop, phrasing=how.phrasing, aspect=aspect)
                )
    return tuple(dict.fromkeys(found))
