"""Seeds to clips: draw, render, caption.

Here: `clip` and `clips`, what training and evaluation call.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from minisora.worlds.clip import Caption, Clip
from minisora.worlds.playroom.captions import captions
from minisora.worlds.playroom.draw import draw
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
    device: str | torch.device = "cpu",
) -> list[Clip]:
    """One clip for each seed, with captions of `SPANS` as far as the clip goes.

    wordings: how many times two or three captions of each span are drawn
    frames are on the CPU; truth holds the scene, the frame size and the phrasing
    """
    scenes = [draw(seed, split=split) for seed in seeds]
    if not scenes:
        return []
    rendered = render(scenes, height=height, width=width, fps=fps, num_frames=num_frames, device=device)
    frames = rendered.frames.cpu()
    seconds = (num_frames - 1) / fps
    return [
        Clip(
            key=f"playroom-{split}-{scene.seed}",
            frames=frames[number],
            fps=fps,
            captions=spoken(scene, seconds, phrasing, width / height, wordings=wordings),
            truth={"scene": scene.to_json(), "aspect": width / height},
        )
        for number, scene in enumerate(scenes)
    ]


def clip(
    seed: int,
    *,
    split: str = "train",
    height: int,
    width: int,
    fps: float = 8.0,
    num_frames: int = 33,
    phrasing: str = "train",
    device: str | torch.device = "cpu",
) -> Clip:
    """The clip of one seed; as `clips`."""
    return clips(
        [seed],
        split=split,
        height=height,
        width=width,
        fps=fps,
        num_frames=num_frames,
        phrasing=phrasing,
        device=device,
    )[0]


def spoken(scene: Scene, seconds: float, phrasing: str, aspect: float, *, wordings: int = 1) -> tuple[Caption, ...]:
    """Captions of each of `SPANS` as far as `seconds` go, no two alike."""
    spans = dict.fromkeys((start, min(stop, seconds)) for start, stop in SPANS if start <= seconds)
    said = (
        caption
        for start, stop in spans
        for n in range(wordings if stop > start else 1)
        for caption in captions(
            scene, seed=scene.seed + n * OTHER_WORDS, start=start, stop=stop, phrasing=phrasing, aspect=aspect
        )
    )
    return tuple(dict.fromkeys(said))
