"""A request of every verb, by the verb's name, with most of its fields given; and some others.

Media are in memory.
"""

from __future__ import annotations

from typing import Any

from minisora.generate.request import Request
from minisora.generate.storyboard import Board, Shot, Storyboard
from minisora.generate.verbs import (
    Animate,
    Connect,
    Edit,
    Extend,
    Generate,
    Image,
    Inpaint,
    Interpolate,
    Loop,
    Outpaint,
    Reverse,
)
from minisora.video import Video
from tests.helpers.tiny import picture

CLIP = Video(picture(5, 32, 32), 8.0)
PICTURE = Video(picture(1, 32, 32, seed=2), 1.0)
SAMPLED: dict[str, Any] = {
    "size": (24, 40),
    "seed": 2**62,
    "steps": 3,
    "guidance": 2.5,
    "sampler": "heun",
    "context_noise": 0.1,
}
ASKED: dict[str, Request] = {
    "generate": Generate("0-1s: a ball | 1-: a cube", seconds=2.0, fps=12, preview=CLIP, strength=0.6, **SAMPLED),
    "image": Image("a ball", candidates=2, guidance_interval=(0.2, 0.9), **SAMPLED),
    "animate": Animate(PICTURE, "a ball", at={1.5: PICTURE, 0.125: PICTURE}, seconds=2.0, **SAMPLED),
    "extend": Extend(CLIP, "a ball", before=0.5, after=1.25, fps=16, **SAMPLED),
    "connect": Connect(CLIP, CLIP, "a ball", seconds=1.0, **SAMPLED),
    "loop": Loop("a ball", clip=CLIP, seconds=1.0, **SAMPLED),
    "edit": Edit(CLIP, "a ball", strength=1, guidance_rescale=0.5, history_guidance=False),
    "inpaint": Inpaint(CLIP, "a ball", box=(1, 2, 30, 4), **SAMPLED),
    "outpaint": Outpaint(CLIP, "a ball", to=(48, 64), corner=(3, 4), seed=1),
    "interpolate": Interpolate(CLIP, "a ball", times=4, **SAMPLED),
    "storyboard": Storyboard(
        Board(
            (
                Shot(prompt="a ball", seconds=1, keyframes={0.5: PICTURE}),
                Shot(prompt="a cube", seconds=0.5, same_scene=True),
            ),
            size=(48, 64),
            fps=12,
        ),
        one_stage=True,
        seed=7,
    ),
    "reverse": Reverse(CLIP),
}
OTHERS = [
    Generate("a ball", small=True, one_stage=True),
    Animate(PICTURE, "a ball"),
    Inpaint(CLIP, "a ball", mask=PICTURE),
    Inpaint(CLIP, "a ball", mask=CLIP),
    Inpaint(CLIP, "a ball", colour=(250, 0, 7)),
    Edit(CLIP, "a ball", source="a cube", sampler="euler"),
    Storyboard(Board((Shot(prompt="a ball", seconds=1),)), candidates=1),
]
ALL = [*ASKED.values(), *OTHERS]
