"""Physics against the simulator, in its units: half-second clips extended under a static camera.

    rolls        a thing moves straight on at constant speed
    bounces      it moves up and down under gravity
    collides     two things meet after the conditioning frames
    slow, fast   a thing rolls at speeds outside the training set

A thing moves on a known line, so its pixel position gives its distance along the line, by the true
camera. As in PhyWorld (Kang et al. 2024, arXiv:2411.02385; id_ood_data/evaluate.py):

    position    mean distance from the truth over the generated frames, in units
    velocity    mean difference of velocities between neighbouring frames, in units/s
    momentum    relative change of momentum in the collision; speeds are slopes fitted to the
                trajectories

A thing that is not seen is LOST units off and has no speed. The floor repeats the last conditioning
frame; the ceiling is the real clip, seen by the same segmenter. The masks of Physics-IQ (masks.py)
are compared over the first three kinds; their floor is again the repeated frame, their ceiling the
real clip through the VAE (in place of Physics-IQ's second take, as this world repeats exactly).

Here: choosing scenes, and the measurements. Not here: `way` on other motions (motions.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from minisora.eval import masks
from minisora.eval.rows import Figure, Marks, figures_of
from minisora.eval.scenes import SECONDS, choose, held_still, moving_as, prompt_of, rendered
from minisora.generate.model import Model
from minisora.judge.network import load_judge
from minisora.judge.playroom import FPS, PlayroomJudge
from minisora.judge.segment import Segmenter, places
from minisora.progress import Event, OnEvent, no_listener
from minisora.vae.codec import round_trip
from minisora.video import Video
from minisora.worlds.playroom import Scene
from minisora.worlds.playroom.camera import views
from minisora.worlds.playroom.motion import Array, positions
from minisora.worlds.playroom.scene import Thing

FRAMES, GIVEN = 25, 5  # collisions come at 0.6 s or later
TIMES = np.arange(FRAMES) / FPS
LOST = 2.0  # units: roughly the distance from the middle to the edge of the frame
SPEEDS = {"slow": 0.4, "fast": 1.6}  # factors on a training speed, which is 0.48 to 0.76 units/s
SPEED_FRAMES = 17  # a fast thing stays inside the frame so long
_AFTER = 0.1  # seconds after contact from which a collision counts as over


@dataclass(frozen=True)
class Case:
    """A scene of one kind, and the numbers of the things that move in it."""

    kind: str
    scene: Scene
    movers: tuple[int, ...]
    frames: int


def physics_figures(model: Model, *, count: int, on_event: OnEvent = no_listener) -> list[Figure]:
    """Measure a model on `count` scenes of each kind."""
    segmenter, size = load_judge(PlayroomJudge).segmenter, model.bundle.sampling.size
    found: dict[str, list[Marks]] = {}
    overlaps: list[Marks] = []
    chosen = cases(count)
    for n, case in enumerate(chosen):
        on_event(Event(case.kind, n, len(chosen)))
        real = rendered(case.scene, size, num_frames=case.frames, fps=FPS)
        text = prompt_of(case.scene, (case.frames - 1) / FPS, size)
        generated = model.extend(Video(real[:GIVEN], FPS), text, after=(case.frames - GIVEN) / FPS, seed=n).frames
        found.setdefault(case.kind, []).append(motion_marks(generated, real, case, segmenter))
        if case.kind not in SPEEDS:
            through = round_trip(model.bundle.vae, real)
            overlaps.append(mask_marks(generated, real, through))
    found |= {"motion masks": overlaps} if overlaps else {}
    return [figure for kind, marks in found.items() for figure in figures_of(kind, marks)]


def cases(count: int) -> list[Case]:
    """Held-out scenes of the three kinds.

    For the speeds, scenes of training triples, so that only the speed is new, and of one thing
    only, which cannot collide at its new speed.
    """

    def rolls(scene: Scene) -> int | None:
        left = moving_as(scene, "rolls_left")
        return moving_as(scene, "rolls_right") if left is None else left

    def of(kind: str, mover: Callable[[Scene], int | None]) -> list[Case]:
        scenes = choose(lambda scene: held_still(scene) and mover(scene) is not None, count)
        movers = [mover(scene) for scene in scenes]
        both = kind == "collides"
        return [
            Case(kind, scene, (n, 1) if both else (n,), FRAMES)
            for scene, n in zip(scenes, movers, strict=True)
            if n is not None
        ]

    def alone(scene: Scene) -> bool:
        return held_still(scene) and len(scene.things) == 1 and rolls(scene) is not None

    known = choose(alone, count, split="train")
    speeds = [
        Case(kind, at_speed(scene, times), (0,), SPEED_FRAMES) for kind, times in SPEEDS.items() for scene in known
    ]
    return [
        *of("rolls", rolls),
        *of("collides", lambda scene: moving_as(scene, "collides")),
        *of("bounces", lambda scene: moving_as(scene, "bounces")),
        *speeds,
    ]


def at_speed(scene: Scene, times: float) -> Scene:
    """Scale the speed of a scene's only thing, with the same place in the middle of the clip."""
    thing = scene.things[0]
    path, speed = thing.path, thing.path.speed * times
    back = path.speed * SECONDS / 2 - speed * (SPEED_FRAMES - 1) / FPS / 2
    x, y = path.x + back * math.cos(path.heading), path.y + back * math.sin(path.heading)
    return replace(scene, things=(replace(thing, path=replace(path, x=x, y=y, speed=speed)),))


def motion_marks(generated: Tensor, real: Tensor, case: Case, segmenter: Segmenter) -> Marks:
    """Marks of position, velocity and, in a collision, momentum.

    generated, real: (frames, H, W, 3) uint8
    """
    things = [case.scene.things[n] for n in case.movers]
    times = TIMES[: case.frames]
    true = torch.stack([_along(thing, positions(thing, times)) for thing in things])
    seen = torch.stack([read(real, thing, case.scene, segmenter) for thing in things])
    held = seen[:, GIVEN - 1 : GIVEN].expand(-1, case.frames)
    model_way = torch.stack([read(generated, thing, case.scene, segmenter) for thing in things])
    # the centroid of a thing's pixels is not its projected centre: a cone's lies lower
    aside = (seen - true)[:, :GIVEN].nanmean(1, keepdim=True).nan_to_num(0.0)
    trajectories = [way - aside for way in (model_way, held, seen)]
    measured: dict[str, Callable[[Tensor], float]] = {
        "position, units": lambda way: position_error(way, true),
        "velocity, units/s": lambda way: velocity_error(way, true),
    }
    if case.kind == "collides":
        masses = torch.tensor([thing.mass for thing in things], dtype=torch.float64)
        contact = things[0].path.event
        before = float(masses[0] * things[0].path.speed)
        measured["momentum, share"] = lambda way: abs(momentum_after(way, masses, contact) / before - 1)
    marks: Marks = {}
    for name, measure in measured.items():
        model, floor, ceiling = (measure(way) for way in trajectories)
        marks[name] = ("lower", model, floor, ceiling)
    return marks


def read(frames: Tensor, thing: Thing, scene: Scene, segmenter: Segmenter) -> Tensor:
    """Distance of a thing along its line in each frame: (T,) units; NaN if its colour is not seen.

    On the line p = start + a u the camera gives x = f X(p) / Z(p) and y = f Y(p) / Z(p): two
    equations linear in a, solved by least squares.
    """
    at = places(frames, thing.colour, segmenter).double().numpy()
    pose, focal = views(scene, TIMES[: len(frames)])
    start, direction = _line(thing)
    first = pose[:, :3, :3] @ start + pose[:, :3, 3]
    step = pose[:, :3, :3] @ direction
    slope = focal[:, None] * step[:, :2] - at * step[:, 2:]
    rest = at * first[:, 2:] - focal[:, None] * first[:, :2]
    along: Tensor = torch.from_numpy((slope * rest).sum(1) / (slope * slope).sum(1))
    return along


def position_error(way: Tensor, true: Tensor) -> float:
    """Mean distance over the generated frames. way, true: (n, T) units along the line"""
    off = (way - true)[:, GIVEN:].abs()
    return float(off.nan_to_num(LOST).clamp(max=LOST).mean())


def velocity_error(way: Tensor, true: Tensor) -> float:
    """Mean difference of velocities from the last conditioning frame on, capped at LOST units."""
    speeds = way[:, GIVEN - 1 :].diff(dim=1).nan_to_num(0.0).clamp(-LOST, LOST)
    return float(((speeds - true[:, GIVEN - 1 :].diff(dim=1)) * FPS).abs().mean())


def momentum_after(way: Tensor, masses: Tensor, contact: float) -> float:
    """Total momentum after a collision, by slopes fitted to the trajectories (n, T).

    masses:  (n,)
    contact: seconds
    """
    times = torch.from_numpy(TIMES[: way.shape[1]])
    late = times >= contact + _AFTER
    speeds = []
    for one in way[:, late]:
        there = ~one.isnan()
        moment, place = times[late][there], one[there]
        spread = (moment - moment.mean()).square().sum() if there.sum() > 1 else torch.zeros(())
        speeds.append(((moment - moment.mean()) * place).sum() / spread if spread > 0 else torch.zeros_like(spread))
    return float((masses * torch.stack(speeds)).sum())


def _line(thing: Thing) -> tuple[Array, Array]:
    """Start and direction of the line that a thing moves on."""
    path = thing.path
    start = np.array([path.x, path.y, thing.half_height])
    if thing.motion == "bounces":
        return start, np.array([0.0, 0.0, 1.0])
    return start, np.array([math.cos(path.heading), math.sin(path.heading), 0.0])


def _along(thing: Thing, centres: Array) -> Tensor:
    """Distance of centres along a thing's line: (T, 3) -> (T,)."""
    start, direction = _line(thing)
    along: Tensor = torch.from_numpy((centres - start) @ direction)
    return along


def mask_marks(generated: Tensor, real: Tensor, through: Tensor) -> Marks:
    """Marks of Physics-IQ's four metrics from the last conditioning frame on.

    through: the real clip through the VAE
    """
    real = real[GIVEN - 1 :]
    clips = (generated[GIVEN - 1 :], real[:1].expand(len(real), -1, -1, -1), through[GIVEN - 1 :])
    truth, moving = masks.motion_masks(real), [masks.motion_masks(clip) for clip in clips]
    marks: Marks = {}
    for name, measure in (
        ("spatial IoU", masks.spatial_iou),
        ("spatiotemporal IoU", masks.spatiotemporal_iou),
        ("weighted spatial IoU", masks.weighted_spatial_iou),
    ):
        model, floor, ceiling = (measure(each, truth) for each in moving)
        marks[name] = ("higher", model, floor, ceiling)
    model, floor, ceiling = (masks.mse(clip, real) for clip in clips)
    return marks | {"MSE": ("lower", model, floor, ceiling)}
