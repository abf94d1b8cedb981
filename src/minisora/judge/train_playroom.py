"""Training of the playroom's judge, on real renders of seeds that no model and no report uses.

    python -m minisora.judge playroom

writes `playroom.safetensors`; run it again after a change of the playroom's look.

Here: renders to tracks, and the three fits. Not here: the networks (segment.py, playroom.py).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.judge.network import save_judge
from minisora.judge.playroom import (
    DIRECTIONS,
    FPS,
    HEADS,
    CameraReader,
    PlayroomJudge,
    ThingReader,
    Tracked,
    stack_things,
    together,
)
from minisora.judge.segment import SIDE, Segmenter, targets
from minisora.judge.tracks import Tracks, camera_features, measure
from minisora.worlds import playroom
from minisora.worlds.playroom.scene import MOVES
from minisora.worlds.seeds import JUDGE
from minisora.worlds.wear import wear

NUM_FRAMES = 17
CHUNK = 25  # clips rendered at once
FRAMES_OF_A_CLIP = 8  # that the segmenter learns from
_MIRROR = {"left": "right", "right": "left"}


@dataclass(frozen=True, eq=False)
class Example:
    """The tracks of a clip, and its true labels."""

    tracks: Tracks
    truth: dict[str, dict[str, str]]  # each thing by its colour: HEADS and their answers
    camera: str


def train(path: Path | None = None, *, segment_clips: int = 600, clips: int = 3400, seed: int = 0) -> PlayroomJudge:
    """Render, fit the segmenter, measure tracks, fit the classifiers, save: 15 minutes of one core.

    path:          of the weights; None: the package's own, which are replaced
    segment_clips: clips to train the segmenter on
    clips:         clips to train the classifiers on, each also mirrored
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    began = time.perf_counter()

    def tell(line: str) -> None:
        print(f"{time.perf_counter() - began:5.0f} s  {line}", file=sys.stderr, flush=True)

    judge = PlayroomJudge()
    frames, shares = [], []
    for scenes, rendered in _renders(segment_clips, truth=True):
        true = targets(scenes, rendered)
        for row in range(len(scenes)):
            chosen = torch.randperm(NUM_FRAMES, generator=generator)[:FRAMES_OF_A_CLIP].sort().values
            frames.append(wear(rendered.frames[row, chosen], generator))
            shares.append(true[row, chosen].half())
    tell(f"rendered {segment_clips} clips for the segmenter")
    fit_segmenter(judge.segmenter, torch.cat(frames), torch.cat(shares), generator)
    tell("fitted the segmenter")
    examples: list[Example] = []
    for scenes, rendered in _renders(clips, truth=False):
        examples += examples_of(scenes, rendered.frames, judge.segmenter, generator)
        if len(examples) % (40 * CHUNK) == 0:
            tell(f"measured {len(examples)} clips")
    fit_things(judge.thing_reader, examples, generator)
    tell("fitted the reader of things")
    fit_camera(judge.camera_reader, examples, generator)
    tell("fitted the reader of cameras")
    save_judge(judge, path)
    return judge.eval()


def _renders(count: int, *, truth: bool) -> Iterator[tuple[list[playroom.Scene], playroom.Rendered]]:
    """Clips of both splits, as the judge must also read held-out combinations."""
    for first in range(0, count, CHUNK):
        split = "held_out" if first // CHUNK % 4 == 0 else "train"
        scenes = [playroom.draw(seed, split=split) for seed in JUDGE[first : min(first + CHUNK, count)]]
        yield scenes, playroom.render(scenes, height=SIDE, width=SIDE, fps=FPS, num_frames=NUM_FRAMES, truth=truth)


def examples_of(
    scenes: Sequence[playroom.Scene], frames: Tensor, segmenter: Segmenter, generator: torch.Generator
) -> list[Example]:
    """Tracks and labels of each clip with wear, and of its mirror image.

    frames: (B, T, H, W, 3) uint8
    """
    segmenter.eval()
    examples = []
    for scene, clip in zip(scenes, frames, strict=True):
        facts = playroom.facts(scene, 0.0, (len(clip) - 1) / FPS)
        for mirrored in (False, True):
            seen = wear(clip.flip(2) if mirrored else clip, generator)
            examples.append(example_of(measure(seen, segmenter), facts, mirrored))
    return examples


def example_of(tracks: Tracks, facts: dict[str, object], mirrored: bool) -> Example:
    def mirrored_word(word: str) -> str:
        head, _, side = word.rpartition("_")
        return f"{head}_{_MIRROR[side]}" if mirrored and side in _MIRROR else word

    things = facts["things"]
    assert isinstance(things, list)
    truth = {}
    for thing in things:
        side = thing["direction"] or DIRECTIONS[0]
        truth[thing["colour"]] = {
            "shape": thing["shape"],
            "size": thing["size"],
            "motion": mirrored_word(thing["motion"]),
            "direction": _MIRROR.get(side, side) if mirrored else side,
        }
    return Example(tracks, truth, mirrored_word(str(facts["camera"])))


def fit_segmenter(
    segmenter: Segmenter, frames: Tensor, shares: Tensor, generator: torch.Generator, *, epochs: int = 5
) -> None:
    """Train the segmenter.

    frames: (F, H, W, 3) uint8
    shares: (F, CLASSES, rows, columns), as from `targets`
    """

    def loss(rows: Tensor) -> Tensor:
        return F.cross_entropy(segmenter(frames[rows]), shares[rows].float())

    segmenter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    _fit(segmenter, loss, len(frames), generator, batch=32, epochs=epochs, lr=6e-3)


def fit_things(
    reader: ThingReader, examples: Sequence[Example], generator: torch.Generator, *, epochs: int = 7
) -> None:
    """Train on the tracks whose colour is that of a true thing; others have no label."""
    batch = stack_things([one.tracks for one in examples])
    asked = [(one.truth.get(colour), n) for n, (one, colour) in enumerate(_colours(examples))]
    rows = torch.tensor([n for truth, n in asked if truth is not None])
    answers = {
        name: torch.tensor([choices.index(truth[name]) for truth, _ in asked if truth is not None])
        for name, choices in HEADS.items()
    }

    def loss(chosen: Tensor) -> Tensor:
        part = Tracked(**{name: value[rows[chosen]] for name, value in vars(batch).items()})
        logits = reader(part)
        return torch.stack([F.cross_entropy(logits[name], answers[name][chosen]) for name in HEADS]).sum()

    _fit(reader, loss, len(rows), generator, batch=64, epochs=epochs, lr=3e-3)


def fit_camera(
    reader: CameraReader, examples: Sequence[Example], generator: torch.Generator, *, epochs: int = 16
) -> None:
    features, there = together([camera_features(one.tracks) for one in examples])
    answers = torch.tensor([MOVES.index(one.camera) for one in examples])

    def loss(chosen: Tensor) -> Tensor:
        return F.cross_entropy(reader(features[chosen], there[chosen]), answers[chosen])

    _fit(reader, loss, len(answers), generator, batch=64, epochs=epochs, lr=3e-3)


def _colours(examples: Sequence[Example]) -> Iterator[tuple[Example, str]]:
    return ((one, colour) for one in examples for colour in one.tracks.colours)


def _fit(
    part: nn.Module,
    loss: Callable[[Tensor], Tensor],
    count: int,
    generator: torch.Generator,
    *,
    batch: int,
    epochs: int,
    lr: float,
) -> None:
    part.train()
    optimizer = torch.optim.AdamW(part.parameters(), lr=lr, weight_decay=0.02)
    steps = epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(count, generator=generator)
        for first in range(0, count - batch + 1, batch):
            value = loss(order[first : first + batch])
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(part.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    part.eval()
