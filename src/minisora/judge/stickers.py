"""The stickers' judge: frames to names, skin tone, direction of time; trained on real clips.

It sees no prompt and no generated clip in training. Every report gives its accuracy on real
stagings next to its scores (eval/stickers.py).

Here: the network, decoding its logits, and the clips that it reads.
Not here: training (train_stickers.py), the prompts and the table (eval/stickers.py).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.judge.network import Network, conv
from minisora.video import at_fps, fit, to_float
from minisora.worlds import stickers
from minisora.worlds.stickers.names import TONES
from minisora.worlds.stickers.staging import Staging

SIDE, NUM_FRAMES, FPS = 64, 17, 8.0  # of the judge's input clips
CELL = 8  # pixels of a cell's side, of the map that says where something is shown
TONE_CLASSES = ("none", *TONES.values())
SURE = 0.9  # of the direction of time; stickers that move the same way forward and backward stay below
BEST = 5  # number of names in a reading
BATCH = 48  # clips that are read at once
_WIDTH, _TIME_WIDTH = 192, 128


@functools.cache
def words() -> tuple[str, ...]:
    """The classes of names, in a fixed order: one for all skin tones of a sticker."""
    return tuple(dict.fromkeys(each.words for each in stickers.names()))


@functools.cache
def _people() -> dict[int, tuple[str, str]]:
    """Person and activity of each name that has both, by the name's index."""
    found = {each.words: (each.person, each.activity) for each in stickers.names() if each.person and each.activity}
    return {n: (str(found[name][0]), str(found[name][1])) for n, name in enumerate(words()) if name in found}


@dataclass(frozen=True)
class Reading:
    """The judge's reading of a clip."""

    names: tuple[str, ...]  # the best BEST, best first
    person: str  # these two are of the best name that has them
    activity: str
    tone: str  # one of TONE_CLASSES
    forward: float  # probability that the frames are in the order in which they were filmed


def reading(names: Tensor, tones: Tensor, forward: float) -> Reading:
    """Decode logits into a reading. names: (words,); tones: (TONE_CLASSES,)"""
    people = _people()
    person, activity = people[max(people, key=names.tolist().__getitem__)]
    best = tuple(words()[n] for n in names.topk(BEST).indices.tolist())
    return Reading(best, person, activity, TONE_CLASSES[int(tones.argmax())], forward)


def looks(frames: Tensor, fps: float) -> Tensor:
    """Resample a clip (T, H, W, 3) uint8 for the judge, by the nearest frames.

    returns  (NUM_FRAMES, SIDE, SIDE, 3) uint8; the last frame is repeated if the clip is short
    """
    return fit(at_fps(frames, fps, FPS, NUM_FRAMES), SIDE, SIDE)[0]


class StickerJudge(Network):
    """Clips (B, NUM_FRAMES, SIDE, SIDE, 3) uint8 -> logits.

    The logits are (B, words), (B, TONE_CLASSES), and (B,) of forward in time. The last is odd,
    g(frames) - g(reversed frames): a clip and its reverse get opposite logits, a still clip 0.
    """

    name = "stickers"

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(
            conv(3, 32, kernel=4, stride=2), conv(32, 64, stride=2), conv(64, 64), conv(64, 128, stride=2),
            conv(128, 128),
        )  # fmt: skip
        self.cover = nn.Conv2d(128, 1, 1)
        self.deep = nn.Sequential(conv(128, _WIDTH, stride=2), conv(_WIDTH, _WIDTH))
        self.names = nn.Linear(2 * _WIDTH, len(words()))
        self.tones = nn.Linear(2 * _WIDTH, len(TONE_CLASSES))
        # three neighbouring frames at once, at half the size
        self.step = nn.Sequential(conv(9, 48, kernel=4, stride=2), conv(48, 64, stride=2), conv(64, 96, stride=2))
        self.time = nn.Conv1d(2 * 96, _TIME_WIDTH, 3, padding=1)
        self.moves = nn.Linear(2 * _WIDTH, 2 * _TIME_WIDTH)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        names, tones, shown, _ = self.what(frames[:, ::2])
        return names, tones, self.when(frames, shown)

    def what(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits and features of frames (B, T, SIDE, SIDE, 3) uint8, any T.

        returns  logits of names and of tones, averaged over frames; features (B, 2 * _WIDTH);
            and logits (B * T, SIDE / CELL, SIDE / CELL) of where the sticker is
        """
        x = self.look(_planes(_scaled(frames)))
        cover = self.cover(x)
        seen = _pooled(self.deep(x * cover.sigmoid())).unflatten(0, frames.shape[:2]).mean(1)
        return self.names(seen).float(), self.tones(seen).float(), seen, cover[:, 0].float()

    def when(self, frames: Tensor, seen: Tensor) -> Tensor:
        """Logits (B,) of forward in time, from frames and their features.

        frames: (B, NUM_FRAMES, SIDE, SIDE, 3) uint8
        """
        x = F.avg_pool2d(_planes(_scaled(frames)), 2).unflatten(0, frames.shape[:2])
        x = torch.cat([x, x.flip(1)])
        steps = self.step(_planes(torch.cat([x[:, :-2:2], x[:, 1:-1:2], x[:, 2::2]], 2)))
        times = F.relu(self.time(_pooled(steps).unflatten(0, (len(x), -1)).mT))
        forward, backward = torch.cat([times.mean(2), times.amax(2)], 1).chunk(2)
        # the content tells how it should move, but must not be trained for that: detach
        logits: Tensor = ((forward - backward) * self.moves(seen.detach())).float().sum(1)
        return logits / math.sqrt(forward.shape[1])  # as attention scales: without it the loss begins above chance

    @torch.inference_mode()
    def read(self, clips: Sequence[Tensor]) -> list[Reading]:
        """Read clips, each as returned by `looks`."""
        readings: list[Reading] = []
        for first in range(0, len(clips), BATCH):
            names, tones, order = self(torch.stack(list(clips[first : first + BATCH])))
            readings += map(reading, names, tones, order.sigmoid().tolist())
        return readings


def _scaled(frames: Tensor) -> Tensor:
    """Frames as network input: (B, T, H, W, 3) uint8 -> (B, T, 3, H, W) float."""
    return to_float(frames).permute(0, 1, 4, 2, 3)


def _planes(x: Tensor) -> Tensor:
    return x.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _pooled(x: Tensor) -> Tensor:
    return torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)


def singles(first_seed: int, number: int, *, split: str) -> list[tuple[int, Staging]]:
    """The first `number` stagings of a single sticker from a seed on, with their seeds."""
    drawn = ((seed, stickers.draw(seed, split=split)) for seed in count(first_seed))
    return list(islice((one for one in drawn if len(one[1].actors) == 1), number))


def rendered(staging: Staging, height: int, width: int, *, start: float = 0.0) -> Tensor:
    """Render a staging from `start` seconds on: (NUM_FRAMES, height, width, 3) uint8."""
    return stickers.render([staging], height=height, width=width, fps=FPS, num_frames=NUM_FRAMES, start=start)[0]
