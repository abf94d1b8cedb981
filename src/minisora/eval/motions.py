"""Sora's claims about simulating a world, on extended clips: permanence, lasting effects, physics.

A model extends the first second of a held-out scene of four seconds in which one thing has a known
motion. The thing is then looked for at its true position, in the frames that the claim is about:

    passes_behind       after it was hidden: object permanence
    leaves_and_returns  after it was out of the frame: coming back unchanged
    struck              after another thing set it moving: momentum, and staying where it came to
                        rest
    the other motions   all generated frames: physics

Figures are `found`, the share of those frames in which a thing of its colour is seen; `way`, its
distance from its true position (see verbs.py); and `size`, the smaller of its area and the real one
over the larger, 0 where it is not seen. The floor repeats the last conditioning frame, the ceiling
is the real clip.

    trail               paint on the floor, under a static camera. `painted stays`: share of the
                        pixels painted in the conditioning frames that are still nearer to paint
                        than to the bare floor; its floor is a world that forgets paint. `painting
                        goes on`: the same for pixels painted later; its floor is the last
                        conditioning frame. Paint that a thing covers or shades is left out

Here: choosing scenes and frames. Not here: joins and exactness (verbs.py), motion in units of the
world (physics.py).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from minisora.eval.rows import NAN, Figure, Findings, Marks, figures_of, write_rows
from minisora.eval.scenes import SECONDS, choose, held_still, moving_as, prompt_of
from minisora.generate.model import Model
from minisora.judge.network import load_judge
from minisora.judge.playroom import FPS, PlayroomJudge
from minisora.judge.segment import Segmenter, colour_mask, middles
from minisora.progress import Event, OnEvent, no_listener
from minisora.video import Video
from minisora.worlds import playroom

FRAMES, GIVEN = 33, 9
MOTIONS = (
    *("passes_behind", "leaves_and_returns", "struck", "trail"),
    *("rolls_left", "rolls_right", "rolls_toward", "rolls_away", "bounces", "circles"),
)
_HIDDEN, _SEEN = 0.1, 0.5  # shares of a thing's largest area in the clip
_PAINT = 30.0  # of 255: least difference between a painted pixel and the bare floor


def run(model: Model, out: Path, *, count: int, on_event: OnEvent = no_listener) -> Findings:
    """Measure `count` scenes of each motion; write motions.json and motions.md to `out`."""
    segmenter, size = load_judge(PlayroomJudge).segmenter, model.bundle.sampling.size
    figures = list[Figure]()
    for number, motion in enumerate(MOTIONS):
        found: list[Marks] = []
        for n, (scene, thing, frames, asked) in enumerate(_scenes(motion, count, size)):
            on_event(Event(motion, number * count + n, len(MOTIONS) * count))
            text = prompt_of(scene, SECONDS, size)
            given = Video(frames[:GIVEN], FPS)
            generated = model.extend(given, text, after=(FRAMES - GIVEN) / FPS, seed=n).frames
            marks = _marks(generated, frames, asked, scene.things[thing].colour, segmenter)
            found.append(marks | trail_marks(generated, scene, thing) if motion == "trail" else marks)
        figures += figures_of(motion, found)
    return write_rows(figures, out, "motions")


def _scenes(motion: str, count: int, size: tuple[int, int]) -> list[tuple[playroom.Scene, int, Tensor, Tensor]]:
    """Scenes, each with the number of its thing, its frames, and (FRAMES,) bool of the claim."""

    def wanted(scene: playroom.Scene) -> bool:
        return moving_as(scene, motion) is not None and (motion != "trail" or held_still(scene))

    chosen = []
    for scene in choose(wanted, 2 * count):  # more than needed: in some the thing is not fully hidden
        thing = moving_as(scene, motion)
        assert thing is not None
        rendered = playroom.render([scene], height=size[0], width=size[1], fps=FPS, num_frames=FRAMES, truth=True)
        assert rendered.masks is not None
        asked = claimed(motion, (rendered.masks[0] == thing + 1).flatten(1).sum(1))
        if asked.any():
            chosen.append((scene, thing, rendered.frames[0], asked))
        if len(chosen) == count:
            break
    return chosen


def claimed(motion: str, areas: Tensor) -> Tensor:
    """(T,) bool: generated frames after the motion's event that should show the thing.

    areas: (T,) pixels
    """
    share = areas / areas.max().clamp(min=1)
    asked = (torch.arange(len(areas)) >= GIVEN) & (share >= _SEEN)
    if motion in ("passes_behind", "leaves_and_returns"):
        hidden = (share < _HIDDEN).nonzero().flatten()
        hidden = hidden[hidden >= GIVEN]
        asked &= torch.arange(len(areas)) > (int(hidden[0]) if len(hidden) else len(areas))
    return asked


def _marks(generated: Tensor, real: Tensor, asked: Tensor, colour: str, segmenter: Segmenter) -> Marks:
    cells = colour_mask(real, colour, segmenter)
    truth = middles(cells)
    asked = asked & ~truth.isnan().any(1)
    if not asked.any():
        return {name: ("lower" if name == "way" else "higher", NAN, NAN, NAN) for name in ("found", "way", "size")}
    areas = cells[asked].flatten(1).sum(1)

    def figures(cells: Tensor) -> tuple[float, float, float]:
        at, shown = middles(cells)[asked], cells[asked].flatten(1).sum(1)
        off = (at - truth[asked]).norm(dim=1)
        size = torch.minimum(shown, areas) / torch.maximum(shown, areas)
        return (
            float((shown > 0).float().mean()),
            float(off.nan_to_num(1.0).clamp(max=1.0).mean()),
            float(size.mean()),
        )

    model = figures(colour_mask(generated, colour, segmenter))
    frozen = figures(cells[GIVEN - 1 : GIVEN].expand(len(real), -1, -1))
    return {
        "found": ("higher", model[0], frozen[0], 1.0),
        "way": ("lower", model[1], frozen[1], 0.0),
        "size": ("higher", model[2], frozen[2], 1.0),
    }


def trail_marks(generated: Tensor, scene: playroom.Scene, thing: int) -> Marks:
    """Shares of the trail's pixels that are nearer to paint than to the bare floor.

    generated: (FRAMES, H, W, 3) uint8
    """
    bare_thing = replace(scene.things[thing], motion="rolls_left")  # the same path, without paint
    bare_scene = replace(scene, things=(*scene.things[:thing], bare_thing, *scene.things[thing + 1 :]))
    rendered = playroom.render(
        [scene, bare_scene], height=generated.shape[1], width=generated.shape[2], fps=FPS, num_frames=FRAMES, truth=True
    )
    assert rendered.masks is not None
    painted, bare = rendered.frames.float()
    paint = ((painted - bare).abs().amax(-1) > _PAINT) & (rendered.masks[0] == 0)
    old = paint[:GIVEN].any(0)

    def nearer(frames: Tensor, region: Tensor) -> float:
        """Share of a region nearer to paint. region: (n, H, W) bool, of the last n frames"""
        last = slice(FRAMES - len(region), FRAMES)
        there = (frames[last].float() - painted[last]).norm(dim=-1) < (frames[last].float() - bare[last]).norm(dim=-1)
        return float(there[region].float().mean()) if region.any() else NAN

    untouched = ~old & (rendered.masks[0, GIVEN - 1] == 0)  # where a frozen frame would show the thing's own colour
    kept, new = (paint & old)[GIVEN:], (paint & untouched)[GIVEN:]
    frozen = painted[GIVEN - 1 : GIVEN].expand(FRAMES, -1, -1, -1)
    return {
        "painted stays": ("higher", nearer(generated, kept), nearer(bare, kept), nearer(painted, kept)),
        "painting goes on": ("higher", nearer(generated, new), nearer(frozen, new), nearer(painted, new)),
    }
