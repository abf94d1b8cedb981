"""Sora's claims about a world, on extensions of true clips: what is hidden comes back, what was pushed stays put.

A model is given the first second of a held-out scene of four, in which one thing moves in a known way, and goes on. Its
thing is then looked for where it really is, in the frames that the claim is about:

    passes_behind       after it was hidden: object permanence
    leaves_and_returns  after it was out of the frame
    struck              after another thing set it moving: momentum, and staying where it came to rest
    the other motions   all frames that were made: physics

Figures are `found`, the share of those frames in which a thing of its colour is seen, and `way`, its distance from
where it really is (see verbs.py). The floor shows the last given frame for ever, the ceiling is the real clip.

Here: choosing scenes and frames. Not here: joins and exactness (verbs.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from minisora.eval.judge import load_judge
from minisora.eval.segment import Segmenter
from minisora.eval.verbs import NAN, Figure, Marks, figure_of, places, verb_table
from minisora.model import Model
from minisora.video import Video
from minisora.worlds import playroom

FIRST_SEED = 930_000_000
FPS, FRAMES, GIVEN = 8.0, 33, 9
MOTIONS = (
    *("passes_behind", "leaves_and_returns", "struck"),
    *("rolls_left", "rolls_right", "rolls_toward", "rolls_away", "bounces", "circles"),
)
_HIDDEN, _SEEN = 0.1, 0.5  # share of its largest area in the clip


def motion_figures(
    model: Model, out: Path, *, count: int = 6, on_step: Callable[[int, int, str], None] | None = None
) -> list[Figure]:
    """`count` scenes of each motion; motions.json and motions.md go into the folder `out`."""
    segmenter, size = load_judge().segmenter, model.bundle.sampling.size
    figures = []
    for number, motion in enumerate(MOTIONS):
        found: list[Marks] = []
        for n, (scene, thing, frames, asked) in enumerate(_scenes(motion, count, size)):
            if on_step is not None:
                on_step(number * count + n, len(MOTIONS) * count, motion)
            text = playroom.captions(scene, seed=scene.seed, start=0.0, stop=4.0, aspect=size[1] / size[0])[0].text
            given = Video(frames[:GIVEN], FPS)
            made = model.extend(given, text, after=(FRAMES - GIVEN) / FPS, seed=n).frames
            found.append(_marks(made, frames, asked, scene.things[thing].colour, segmenter))
        figures += [figure_of(motion, name, found) for name in ("found", "way") if found]
    out.mkdir(parents=True, exist_ok=True)
    (out / "motions.json").write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
    (out / "motions.md").write_text(verb_table(figures) + "\n")
    return figures


def _scenes(motion: str, count: int, size: tuple[int, int]) -> list[tuple[playroom.Scene, int, Tensor, Tensor]]:
    """Scenes, which thing, their frames, and (FRAMES,) bool: the frames that the claim is about."""
    chosen = []
    for seed in range(FIRST_SEED, FIRST_SEED + 4000):
        scene = playroom.draw(seed, split="held_out")
        things = [n for n, thing in enumerate(scene.things) if thing.motion == motion]
        if scene.cut is not None or not things:
            continue
        rendered = playroom.render([scene], height=size[0], width=size[1], fps=FPS, num_frames=FRAMES, truth=True)
        assert rendered.masks is not None
        asked = claimed(motion, (rendered.masks[0] == things[0] + 1).flatten(1).sum(1))
        if asked.any():
            chosen.append((scene, things[0], rendered.frames[0], asked))
        if len(chosen) == count:
            break
    return chosen


def claimed(motion: str, areas: Tensor) -> Tensor:
    """(T,) bool: made frames in which the thing is to be seen, after what the motion is about. areas: (T,) pixels"""
    share = areas / areas.max().clamp(min=1)
    asked = (torch.arange(len(areas)) >= GIVEN) & (share >= _SEEN)
    if motion in ("passes_behind", "leaves_and_returns"):
        hidden = (share < _HIDDEN).nonzero().flatten()
        hidden = hidden[hidden >= GIVEN]
        asked &= torch.arange(len(areas)) > (int(hidden[0]) if len(hidden) else len(areas))
    return asked


def _marks(made: Tensor, real: Tensor, asked: Tensor, colour: str, segmenter: Segmenter) -> Marks:
    truth = places(real, colour, segmenter)
    asked = asked & ~truth.isnan().any(1)
    if not asked.any():
        return {"found": ("higher", NAN, 0.0, 1.0), "way": ("lower", NAN, NAN, 0.0)}
    frozen = real[GIVEN - 1 : GIVEN].expand(len(real), -1, -1, -1)

    def figures(frames: Tensor) -> tuple[float, float]:
        at = places(frames, colour, segmenter)[asked]
        off = (at - truth[asked]).norm(dim=1)
        return float((~at.isnan().any(1)).float().mean()), float(off.nan_to_num(1.0).clamp(max=1.0).mean())

    (found, way), (found_frozen, way_frozen) = figures(made), figures(frozen)
    return {"found": ("higher", found, found_frozen, 1.0), "way": ("lower", way, way_frozen, 0.0)}
