"""Seeds to clips: draw, render, caption.

Here: `clips`, what training and evaluation call.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from minisora.worlds.clip import Caption, Clip
from minisora.worlds.playroom.captions import captions, dense_caption
from minisora.worlds.playroom.draw import draw
from minisora.worlds.playroom.facts import watch
from minisora.worlds.playroom.hints import hints_of
from minisora.worlds.playroom.render import render
from minisora.worlds.playroom.scene import Scene

OTHER_WORDS = 1_000_000_007  # between the caption seeds of one scene
SPANS = ((0.0, 2.0), (0.0, 4.0), (2.0, 4.0), (0.0, 0.0), (2.0, 2.0))  # seconds that are captioned


def clips(
    seeds: Iterable[int],
    *,
    split: str = "train",
    height: int,
    width: int,
    fps: float = 8.0,
    num_frames: int = 33,
    phrasing: str = "train",
    wordings: int = 1,
    dense: int = 0,
    seconds: float = 0.0,
    hints: bool = False,
    device: str | torch.device = "cpu",
) -> list[Clip]:
    """One clip for each seed, with captions of `SPANS` as far as the clip goes.

    wordings: how many times two or three captions of each span are drawn
    dense:    dense captions of each span, beside them; of a moment one
    seconds:  how much longer than its frames the clip that is captioned goes on: for pictures that begin a clip
    hints:    what lies in each cell, too; motions are those of the whole clip
    frames are on the CPU; truth holds the scene, the frame size and the phrasing
    """
    scenes = [draw(seed, split=split) for seed in seeds]
    if not scenes:
        return []
    rendered = render(scenes, height=height, width=width, fps=fps, num_frames=num_frames, device=device, truth=hints)
    frames = rendered.frames.cpu()
    masks = [None] * len(scenes) if rendered.masks is None else rendered.masks.cpu().long()
    shown, told, aspect = (num_frames - 1) / fps, (num_frames - 1) / fps + seconds, width / height
    return [
        Clip(
            key=f"playroom-{split}-{scene.seed}",
            frames=frames[number],
            fps=fps,
            captions=spoken(scene, shown, told, phrasing, aspect, wordings=wordings, dense=dense),
            truth={"scene": scene.to_json(), "aspect": aspect},
            hints=None if mask is None else hints_of(watch(scene, 0.0, told, aspect=aspect), mask),
        )
        for number, (scene, mask) in enumerate(zip(scenes, masks, strict=True))
    ]


def spoken(
    scene: Scene, shown: float, told: float, phrasing: str, aspect: float, *, wordings: int = 1, dense: int = 0
) -> tuple[Caption, ...]:
    """Captions of each of `SPANS` that begin in the seconds that are `shown` as far as `told` goes, no two alike."""
    spans = dict.fromkeys((start, min(stop, told)) for start, stop in SPANS if start <= shown)
    said = list[Caption]()
    for start, stop in spans:
        seeds = [scene.seed + n * OTHER_WORDS for n in range(max(wordings, dense) if stop > start else 1)]
        for n, seed in enumerate(seeds):
            if n < wordings:
                said += captions(scene, seed=seed, start=start, stop=stop, phrasing=phrasing, aspect=aspect)
            if n < dense:
                said.append(dense_caption(scene, seed=seed, start=start, stop=stop, aspect=aspect))
    return tuple(dict.fromkeys(said))
