"""The playroom's judge: frames to a description, by networks trained only on real renders.

It sees no prompt and no generated clip in training. Every report gives its accuracy on real renders
next to its scores (eval/report.py).

Here: the two classifiers of tracks, and the judge that combines all parts.
Not here: the segmenter (segment.py), tracks (tracks.py), training (train_playroom.py), scoring
(eval/score.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.judge.network import Network
from minisora.judge.segment import Segmenter
from minisora.judge.tracks import CLIP_FEATURES, CROP, SUMMED, THING_FEATURES, Tracks, camera_features, measure
from minisora.worlds.playroom import WORLD_VERSION
from minisora.worlds.playroom.scene import MOTIONS, MOVES, SHAPES, SIZES

MOTIONS_TOLD = (*MOTIONS, "leaves", "returns", "turns_back", "moves")
DIRECTIONS = ("none", "left", "right", "toward", "away")
HEADS = {"shape": SHAPES, "size": tuple(SIZES), "motion": MOTIONS_TOLD, "direction": DIRECTIONS}
FPS = 8.0  # of the clips that it was trained on and reads
LOOK_EVERY = 2  # frames; each look is at one crop and its change since the frame before
_LOOK = 32  # width of what is kept of one crop
_WIDTH = 64
_PAINT = 2


@dataclass(frozen=True)
class Found:
    """The judge's description of a thing; each field but the colour is one of HEADS."""

    colour: str
    shape: str
    size: str
    motion: str
    direction: str


@dataclass(frozen=True)
class Description:
    """The judge's description of a clip, up to its first cut."""

    things: tuple[Found, ...]
    count: int
    camera: str


@dataclass(frozen=True, eq=False)
class Tracked:
    """Things of several clips, padded to one length: (N, T, ...), and a mask of frames (N, T)."""

    crops: Tensor
    things: Tensor
    clips: Tensor
    there: Tensor


class ThingReader(nn.Module):
    """Classifier from tracks of things to logits of HEADS: shape, size, motion, direction."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(6, 16, 3, 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 3, 2, 1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(32 * (CROP // 8) ** 2, _LOOK),
            nn.ReLU(inplace=True),
        )
        self.time = _Time(_LOOK + _PAINT + THING_FEATURES + CLIP_FEATURES)
        self.heads = nn.ModuleDict({name: nn.Linear(2 * _WIDTH + 2 * _LOOK, len(HEADS[name])) for name in HEADS})

    def forward(self, batch: Tracked) -> dict[str, Tensor]:
        """Logits of each head, (N, choices)."""
        crops = batch.crops.float()
        change = torch.diff(crops, dim=1, prepend=crops[:, :1])
        seen = torch.cat([crops, change], 2)[:, ::LOOK_EVERY]
        looks = self.look(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])
        looks = looks.repeat_interleave(LOOK_EVERY, 1)[:, : crops.shape[1]]
        there = batch.there[..., None].float()
        pooled = self.time(torch.cat([looks, _paint(crops), batch.things, batch.clips], -1), there)
        looks = torch.cat([(looks * there).sum(1) / there.sum(1), (looks * there).amax(1)], -1)
        features = torch.cat([pooled, looks], -1)
        return {name: head(features) for name, head in self.heads.items()}


def _paint(crops: Tensor) -> Tensor:
    """Amount of a thing's colour on the floor, left and right.

    (N, T, 3, CROP, CROP) -> (N, T, 2)
    """
    loose = crops[:, :, 1] * (crops[:, :, 2] < 0.1)
    low = loose[:, :, CROP // 2 :]  # (N, T, rows, columns)
    return 10 * torch.stack([half.mean((2, 3)) for half in low.chunk(2, 3)], -1)


class CameraReader(nn.Module):
    """Classifier of the camera: `camera_features` (N, T, ...), mask (N, T) -> (N, MOVES) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.time = _Time(CLIP_FEATURES + 7 * SUMMED)
        self.head = nn.Linear(2 * _WIDTH, len(MOVES))

    def forward(self, features: Tensor, there: Tensor) -> Tensor:
        logits: Tensor = self.head(self.time(features, there[..., None].float()))
        return logits


class _Time(nn.Module):
    """Convolutions over frames, then mean and maximum per channel: (N, T, C) -> (N, 2 * _WIDTH)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.enter = nn.Conv1d(inputs, _WIDTH, 5, padding=2)
        self.deeper = nn.Conv1d(_WIDTH, _WIDTH, 5, padding=4, dilation=2)
        self.deepest = nn.Conv1d(_WIDTH, _WIDTH, 3, padding=2, dilation=2)
        self.drop = nn.Dropout(0.1)

    def forward(self, features: Tensor, there: Tensor) -> Tensor:
        mask = there.mT
        x = F.relu(self.enter((features * there).mT)) * mask
        x = (x + F.relu(self.deeper(self.drop(x)))) * mask
        x = (x + F.relu(self.deepest(self.drop(x)))) * mask
        pooled: Tensor = self.drop(torch.cat([x.sum(2) / mask.sum(2), x.amax(2)], 1))
        return pooled


class PlayroomJudge(Network):
    """Segmenter and classifiers together; the report calls `describe`."""

    name, world = "playroom", WORLD_VERSION

    def __init__(self) -> None:
        super().__init__()
        self.segmenter = Segmenter()
        self.thing_reader = ThingReader()
        self.camera_reader = CameraReader()

    @torch.inference_mode()
    def describe(self, clips: Sequence[Tensor]) -> list[Description]:
        """Describe clips, each (T, H, W, 3) uint8 at FPS."""
        return self.read([measure(frames, self.segmenter) for frames in clips])

    @torch.inference_mode()
    def read(self, tracks: Sequence[Tracks]) -> list[Description]:
        if not tracks:
            return []
        features, there = together([camera_features(one) for one in tracks])
        moves = self.camera_reader(features, there).argmax(1).tolist()
        batch = stack_things(tracks)
        choice: dict[str, list[int]] = {name: [] for name in HEADS}
        for first in range(0, len(batch.things), 64):
            part = Tracked(**{name: value[first : first + 64] for name, value in vars(batch).items()})
            for name, logits in self.thing_reader(part).items():
                choice[name] += logits.argmax(1).tolist()
        described, row = [], 0
        for one, move in zip(tracks, moves, strict=True):
            things = []
            for colour in one.colours:
                things.append(Found(colour, **{name: choices[choice[name][row]] for name, choices in HEADS.items()}))
                row += 1
            described.append(Description(tuple(things), len(things) + one.doubles, MOVES[move]))
        return described


def stack_things(tracks: Sequence[Tracks]) -> Tracked:
    """All things of several clips as one batch, in order."""
    clips = [one.clip for one in tracks for _ in one.colours]
    if not clips:
        return Tracked(
            torch.zeros(0, 1, 3, CROP, CROP),
            torch.zeros(0, 1, THING_FEATURES),
            torch.zeros(0, 1, CLIP_FEATURES),
            torch.ones(0, 1),
        )
    crops, _ = together([crop for one in tracks for crop in one.crops])
    things, there = together([thing for one in tracks for thing in one.things])
    return Tracked(crops, things, together(clips)[0], there)


def together(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Pad (T_i, ...) each with zeros to (N, T, ...), with the mask of frames (N, T)."""
    filled = nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return filled, torch.arange(filled.shape[1]) < lengths[:, None]
