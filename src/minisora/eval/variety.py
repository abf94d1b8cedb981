"""Variety: diversity over seeds, distance from the training set, and unseen combinations.

    combinations seen, never seen   marks of prompts whose triple colour x shape x motion occurs in
                                    training, and of held-out ones; the floor is clips against other
                                    prompts, the ceiling real renders (score.py). Unseen speeds are
                                    in physics.py
    diversity over seeds            mean distance between clips of one prompt, in the judge's
                                    features; the floor is one repeated clip, the ceiling real
                                    scenes that fit the prompt equally well
    nearest training clip           distance to the nearest of those with the same triple; the floor
                                    is a copy, the ceiling the prompt's real scene, which is not in
                                    the training set either

Here: the prompts and the comparisons. Not here: the distances (no_reference.py), the marks
(score.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from minisora.eval.frechet import playroom_features
from minisora.eval.no_reference import distances_to_nearest, diversity
from minisora.eval.report import SECONDS, prompts, render_all
from minisora.eval.rows import NAN, Figure, Findings, Marks, figure_of, write_rows
from minisora.eval.scenes import choose, drawn, moving_as
from minisora.eval.score import prompt_marks
from minisora.generate.model import Model
from minisora.judge.network import load_judge
from minisora.judge.playroom import FPS, PlayroomJudge
from minisora.progress import Event, OnEvent, no_listener
from minisora.worlds.playroom import Scene

SPLITS = {"train": "combinations seen", "held_out": "combinations never seen"}
ATTRIBUTES = ("colour", "shape", "motion")
SEEDS = 3  # clips of one prompt
DOES = {
    "rolls_left": "moves to the left",
    "rolls_right": "moves to the right",
    "bounces": "bounces up and down",
    "spins": "spins in place",
}


def run(
    model: Model, out: Path, *, count: int, training: Sequence[int] = (), on_event: OnEvent = no_listener
) -> Findings:
    """Measure `count` prompts of each kind; variety.json and variety.md go into the folder `out`.

    training: seeds of the playroom clips that the model was trained on; if empty, copying is not
        measured
    """
    judge, size = load_judge(PlayroomJudge), model.bundle.sampling.size
    features, figures = playroom_features(judge.segmenter), list[Figure]()
    total, done = (len(SPLITS) + SEEDS) * count, 0

    def make(prompt: str, seed: int) -> Tensor:
        nonlocal done
        on_event(Event("variety", done, total))
        done += 1
        return model.generate(prompt, seconds=SECONDS, fps=FPS, seed=seed).frames

    for split, label in SPLITS.items():
        scenes, asked = prompts(count, aspect=size[1] / size[0], split=split)
        made, real = [make(one.prompt, n) for n, one in enumerate(asked)], render_all(scenes, size)
        marks = prompt_marks(judge.describe(made), judge.describe(real), asked)
        figures += [figure_of(label, name, marks) for name in ATTRIBUTES]
        if split == "train" and training:
            found: list[Marks] = []
            for scene, clips in zip(scenes, zip(made, real, strict=True), strict=True):
                alike = list(_rendered(_alike(scene, training), size))
                apart = distances_to_nearest(clips, alike, features) if alike else [NAN, NAN]
                found.append({"distance": ("higher", apart[0], 0.0, apart[1])})
            figures.append(figure_of("nearest training clip", "distance", found))
    varied: list[Marks] = []
    for prompt, scenes in same_prompt(count):
        ways = diversity([make(prompt, seed) for seed in range(SEEDS)], features)
        varied.append({"distance": ("higher", ways, 0.0, diversity(render_all(scenes, size), features))})
    figures.append(figure_of("diversity over seeds", "distance", varied))
    return write_rows(figures, out, "variety")


def same_prompt(count: int) -> list[tuple[str, list[Scene]]]:
    """Prompts of one thing, of training triples, each with SEEDS scenes that fit it.

    The others take colour and shape from the first scene; floor, light, camera and place are their
    own.
    """
    found = []
    groups = -(-count // len(DOES))

    def wanted(motion: str) -> Callable[[Scene], bool]:
        return lambda scene: len(scene.things) == 1 and moving_as(scene, motion) == 0

    for motion, does in DOES.items():
        scenes = choose(wanted(motion), groups * SEEDS, split="train")
        for first in range(0, len(scenes) - SEEDS + 1, SEEDS):
            looks = scenes[first].things[0]
            alike = [
                replace(scene, things=(replace(scene.things[0], colour=looks.colour, shape=looks.shape),))
                for scene in scenes[first : first + SEEDS]
            ]
            article = "an" if looks.colour[0] in "aeiou" else "a"
            found.append((f"{article} {looks.colour} {looks.shape} {does}", alike))
    return found[:count]


def _alike(scene: Scene, training: Sequence[int]) -> Iterator[Scene]:
    """Training scenes whose first thing has the colour, shape and motion of this scene's."""

    def triple(one: Scene) -> tuple[str, str, str]:
        return one.things[0].colour, one.things[0].shape, one.things[0].motion

    return (other for seed in training if triple(other := drawn(seed, "train")) == triple(scene))


def _rendered(scenes: Iterator[Scene], size: tuple[int, int]) -> Iterator[Tensor]:
    return (clip for scene in scenes for clip in render_all([scene], size))
