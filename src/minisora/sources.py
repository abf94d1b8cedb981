"""What the recipes are trained on: which scenes of which worlds, at what sizes, how many, and how often each is drawn.

Here: frames and clips by seed, so that processes can make them ahead; the shards of latents that are made of them.
Not here: the runs (recipes.py), the worlds (worlds/), how shards are written (train/latents.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from minisora.train.latents import LatentJob
from minisora.worlds.clip import Clip
from minisora.worlds.seeds import TRAINING

LATENTS = Path(".cache/latents")
WORDINGS = 3  # of each stretch of a clip, two or three captions each: one wording is learnt by heart


def playroom_frames(seed: int, num_frames: int, height: int, width: int) -> Tensor:
    from minisora.worlds import playroom

    return playroom.render([playroom.draw(seed)], height=height, width=width, num_frames=num_frames).frames[0]


def sticker_frames(seed: int, num_frames: int, height: int, width: int) -> Tensor:
    from minisora.worlds import stickers

    return stickers.render([stickers.draw(seed)], height=height, width=width, num_frames=num_frames)[0]


def footage_frames(seed: int, num_frames: int, height: int, width: int) -> Tensor:
    from minisora.worlds import footage

    clip = next(footage.train_clips(height=height, width=width, num_frames=num_frames, fps=8.0, seed=seed))
    return clip.frames


def no_frames(seed: int, num_frames: int, height: int, width: int) -> Tensor:
    """As many bytes as any other: what a plan is made by."""
    return torch.zeros(num_frames, height, width, 3, dtype=torch.uint8)


def playroom_clips(
    seeds: Sequence[int], height: int, width: int, num_frames: int, *, fps: float, wordings: int
) -> Sequence[Clip]:
    from minisora.worlds import playroom

    return playroom.clips(seeds, height=height, width=width, num_frames=num_frames, fps=fps, wordings=wordings)


def sticker_clips(seeds: Sequence[int], height: int, width: int, num_frames: int, *, fps: float) -> Sequence[Clip]:
    from minisora.worlds import stickers

    return list(stickers.clips(seeds, height=height, width=width, num_frames=num_frames, fps=fps))


PLAYROOM = partial(playroom_clips, fps=8.0, wordings=WORDINGS)
PLAYROOM_FAST = partial(playroom_clips, fps=16.0, wordings=WORDINGS)  # for what is asked at other rates
STICKERS = partial(sticker_clips, fps=8.0)
PICTURES_FIRST = {  # shards and how often a sample is drawn from them
    "playroom-pictures": 0.46,
    "stickers-pictures": 0.24,
    "playroom-short": 0.17,
    "playroom-wide": 0.02,
    "playroom-tall": 0.02,
    "stickers-short": 0.09,
}
THEN_VIDEOS = {
    "playroom-pictures": 0.14,
    "stickers-pictures": 0.05,
    "playroom-short": 0.46,
    "playroom-large": 0.12,
    "playroom-long": 0.075,
    "playroom-fast": 0.02,
    "playroom-wide": 0.02,
    "playroom-tall": 0.02,
    "stickers-short": 0.08,
    "stickers-large": 0.015,
}
JOBS = {  # name -> clips, height, width, frames, how many
    "playroom-pictures": (PLAYROOM, 64, 64, 1, 20000),
    "playroom-short": (PLAYROOM, 64, 64, 17, 14500),
    "playroom-long": (PLAYROOM, 64, 64, 33, 1300),
    "playroom-fast": (PLAYROOM_FAST, 64, 64, 17, 400),
    "playroom-wide": (PLAYROOM, 64, 112, 17, 500),
    "playroom-tall": (PLAYROOM, 112, 64, 17, 500),
    "stickers-pictures": (STICKERS, 64, 64, 1, 10000),
    "stickers-short": (STICKERS, 64, 64, 17, 2400),
    "playroom-large": (PLAYROOM, 96, 96, 17, 2200),
    "stickers-large": (STICKERS, 96, 96, 17, 300),
}


def latent_jobs(names: Iterable[str]) -> list[LatentJob]:
    """Jobs by name. Each has seeds of its own, so that no scene is seen at two sizes."""
    jobs = []
    for name, (clips, height, width, num_frames, count) in JOBS.items():
        if name in names:
            seeds = TRAINING[name][:count]
            assert len(seeds) == count, f"{name} asks for more scenes than it has seeds"
            job = LatentJob(name=name, clips=clips, seeds=seeds, height=height, width=width, num_frames=num_frames)
            jobs.append(job)
    return jobs
