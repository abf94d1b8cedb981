"""Training data of the recipes: which scenes of which worlds, at what sizes, how many, how often.

Here: frames and clips by seed, so that processes can prefetch them; the jobs of latents that encode
them.
Not here: the runs (recipes/), the worlds (worlds/), how shards are written (train/latents.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from minisora.train.latents import LatentJob
from minisora.video import Shape
from minisora.worlds.clip import Caption, Clip
from minisora.worlds.seeds import TRAINING

LATENTS = Path(".cache/latents")
Clips = Callable[[Sequence[int], int, int, int], Sequence[Clip]]
PHRASING = "wide"
WORDINGS = 2  # of each stretch of a clip, two or three natural captions and a dense one each


def playroom_frames(seed: int, num_frames: int, height: int, width: int) -> Tensor:
    from minisora.worlds import playroom

    return playroom.render([playroom.draw(seed)], height=height, width=width, num_frames=num_frames).frames[0]


def sticker_frames(seed: int, num_frames: int, height: int, width: int) -> Tensor:
    from minisora.worlds import stickers

    return stickers.render([stickers.draw(seed)], height=height, width=width, num_frames=num_frames)[0]


def footage_frames(seed: int, num_frames: int, height: int, width: int) -> Tensor:
    from minisora.worlds import footage

    clip = next(footage.train_clips(Shape(num_frames=num_frames, height=height, width=width, fps=8.0), seed=seed))
    return clip.frames


def no_frames(seed: int, num_frames: int, height: int, width: int) -> Tensor:
    """Black frames, of the same size: for a plan, without rendering."""
    return torch.zeros(num_frames, height, width, 3, dtype=torch.uint8)


def playroom_clips(
    seeds: Sequence[int], height: int, width: int, num_frames: int, *, fps: float, phrasing: str, wordings: int
) -> Sequence[Clip]:
    from minisora.worlds import playroom

    shape = Shape(num_frames=num_frames, height=height, width=width, fps=fps)
    captioning = playroom.Captioning(phrasing=phrasing, wordings=wordings, dense=wordings)
    return playroom.clips(seeds, shape, captioning=captioning, hints=True)


def playroom_pictures(
    seeds: Sequence[int], height: int, width: int, num_frames: int, *, phrasing: str, seconds: float
) -> Sequence[Clip]:
    """First frames of clips of some seconds, with captions of the clip and of the picture.

    Of each kind there is a dense and a natural one.
    """
    from minisora.worlds import playroom

    shape = Shape(num_frames=num_frames, height=height, width=width, fps=8.0)
    captioning = playroom.Captioning(phrasing=phrasing, dense=1, seconds=seconds)
    pictures = []
    for seed, clip in zip(seeds, playroom.clips(seeds, shape, captioning=captioning, hints=True), strict=True):
        kinds = dict[tuple[float, bool], list[Caption]]()
        for caption in clip.captions:
            kinds.setdefault((caption.stop, caption.dense), []).append(caption)
        rng = Random(f"told/{seed}")
        pictures.append(replace(clip, captions=tuple(rng.choice(some) for some in kinds.values())))
    return pictures


PLAYROOM = partial(playroom_clips, fps=8.0, phrasing=PHRASING, wordings=WORDINGS)
PLAYROOM_FAST = partial(playroom_clips, fps=16.0, phrasing=PHRASING, wordings=WORDINGS)  # for prompts at another fps
PICTURES = partial(playroom_pictures, phrasing=PHRASING, seconds=2.0)
ALL_SIZES = {  # shards and how often a sample is drawn from them
    "playroom-short": 0.56,
    "playroom-large": 0.18,
    "playroom-long": 0.12,
    "playroom-fast": 0.05,
    "playroom-wide": 0.045,
    "playroom-tall": 0.045,
}
JOBS: dict[str, tuple[Clips, int, int, int, int]] = {  # name -> clips, height, width, frames, how many
    "playroom-pictures": (PICTURES, 64, 64, 1, 40_000),
    "playroom-more-pictures": (PICTURES, 64, 64, 1, 60_000),
    "playroom-short": (PLAYROOM, 64, 64, 17, 24_000),
    "playroom-long": (PLAYROOM, 64, 64, 33, 1500),
    "playroom-fast": (PLAYROOM_FAST, 64, 64, 17, 500),
    "playroom-wide": (PLAYROOM, 64, 112, 17, 600),
    "playroom-tall": (PLAYROOM, 112, 64, 17, 600),
    "playroom-large": (PLAYROOM, 96, 96, 17, 2500),
}


def latent_jobs(names: Iterable[str]) -> list[LatentJob]:
    """Jobs by name, each with its own seeds, so that no scene occurs at two sizes."""
    from minisora.worlds.playroom.phrases import DIGEST

    jobs = []
    for name, (clips, height, width, num_frames, count) in JOBS.items():
        if name in names:
            seeds = TRAINING[name][:count]
            assert len(seeds) == count, f"{name} asks for more scenes than it has seeds"
            size = {"height": height, "width": width, "num_frames": num_frames}
            jobs.append(LatentJob(name=name, clips=clips, seeds=seeds, captions=DIGEST, **size))
    return jobs
