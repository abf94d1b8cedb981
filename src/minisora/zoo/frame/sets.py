"""Toy data: scenes of the playroom with one thing, as pictures and clips with class and caption.

All sets show the same scenes, so columns of the table compare. They are rendered once, into
`.cache/zoo/data`, and read from there.

    class    colour and shape of the thing
    caption  one word of the toy vocabulary for each of FIELDS; of a picture too, though what moves
             does not show in it

Here: the sets, their files, batches. Not here: the scenes (worlds/playroom), the VAE of latents.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minisora.video import to_float
from minisora.video.files import replacing
from minisora.workers.ahead import ahead
from minisora.workers.lock import one_run
from minisora.worlds import playroom
from minisora.worlds.playroom import COLOURS, FLOORS, LIGHTS, MOVES, SHAPES, SIZES, WORLD_VERSION
from minisora.worlds.playroom.draw import FIRST_MOTIONS, NEED_TWO, count_of
from minisora.worlds.seeds import ZOO, ZOO_HELD_OUT

MOTIONS = tuple(name for name in FIRST_MOTIONS if name not in NEED_TWO)
FIELDS: dict[str, tuple[str, ...]] = {  # labels of a sample, in this order
    "size": tuple(SIZES),
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "motion": MOTIONS,
    "floor": FLOORS,
    "light": LIGHTS,
    "camera": tuple(MOVES),
}
COLOUR, SHAPE, MOTION = (list(FIELDS).index(name) for name in ("colour", "shape", "motion"))
CLASSES = len(COLOURS) * len(SHAPES)
WORDS = tuple(f"{field}: {word}" for field, words in FIELDS.items() for word in words)
FPS = 8.0
HELD_OUT = 1024  # scenes that no entry is trained on
FOLDER = Path(".cache/zoo/data")
_AT_ONCE = 100  # scenes of a batch of rendering


@dataclass(frozen=True, kw_only=True)
class Toy:
    """A set: `count` samples to train on and HELD_OUT others, alike in all but the seeds.

    latents: encoded by the VAE of the embedded model, normalised; frames otherwise
    """

    name: str
    num_frames: int
    side: int  # pixels
    count: int
    latents: bool = False

    @property
    def is_video(self) -> bool:
        return self.num_frames > 1

    @property
    def of_pixels(self) -> Toy:
        """The set as frames: of a set of latents what was encoded, else itself."""
        return replace(self, name=self.name.removeprefix("latent-"), latents=False)

    def longer(self, num_frames: int) -> Toy:
        """The same scenes, shown for another time."""
        return replace(self, name=f"{self.name}-{num_frames}", num_frames=num_frames)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a sample: (H, W, C), for clips (T, H, W, C); of latents (Tz, Hz, Wz, Cz)."""
        if not self.latents:
            return (self.num_frames, self.side, self.side, 3)[0 if self.is_video else 1 :]
        return (1 + (self.num_frames - 1) // 4, self.side // 8, self.side // 8, 16)[0 if self.is_video else 1 :]


PICTURES_32 = Toy(name="pictures-32", num_frames=1, side=32, count=20_000)
PICTURES_64 = Toy(name="pictures-64", num_frames=1, side=64, count=20_000)
CLIPS_32 = Toy(name="clips-32", num_frames=16, side=32, count=8_000)
CLIPS_64 = Toy(name="clips-64", num_frames=17, side=64, count=6_000)
LATENT_PICTURES_64 = Toy(name="latent-pictures-64", num_frames=1, side=64, count=20_000, latents=True)
LATENT_CLIPS_64 = Toy(name="latent-clips-64", num_frames=17, side=64, count=6_000, latents=True)


@dataclass(frozen=True, eq=False)
class ToyBatch:
    """Samples of a set.

    x:      (B, *toy.shape) float32, pixels in -1..1 or latents
    labels: (B, FIELDS) int64
    flops:  of the training step on it
    second: as many samples of the stage's second set, if it has one
    """

    x: Tensor
    labels: Tensor
    flops: float = 0.0
    second: ToyBatch | None = None

    @property
    def tokens(self) -> int:
        return self.x[..., 0].numel()

    def to(self, device: torch.device) -> ToyBatch:
        second = None if self.second is None else self.second.to(device)
        return ToyBatch(self.x.to(device), self.labels.to(device), self.flops, second)


@dataclass(frozen=True, kw_only=True)
class ToyBatches:
    """step -> batch, a function of the step alone."""

    toy: Toy
    batch_size: int
    seed: int = 0
    flops: float = 0.0
    second: Toy | None = None

    def __call__(self, step: int) -> ToyBatch:
        rng = np.random.default_rng((self.seed, step))
        batch = batch_of(self.toy, rng.integers(self.toy.count, size=self.batch_size), flops=self.flops)
        if self.second is None:
            return batch
        return replace(batch, second=batch_of(self.second, rng.integers(self.second.count, size=self.batch_size)))


def random_batch(toy: Toy, count: int, *, second: Toy | None = None) -> ToyBatch:
    """Noise of the shape of a batch, with labels of zero: what needs no data is tried on it."""
    x = torch.randn(count, *toy.shape, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    labels = torch.zeros(count, len(FIELDS), dtype=torch.long)
    return ToyBatch(x, labels, second=random_batch(second, count) if second else None)


def batch_of(
    toy: Toy, rows: NDArray[np.int64] | Sequence[int], *, split: str = "train", flops: float = 0.0
) -> ToyBatch:
    """Samples of a set by their numbers. split: "train" or "held_out" """
    samples, labels = opened(toy, split)
    x = torch.from_numpy(samples[rows])
    return ToyBatch(x.float() if toy.latents else to_float(x), torch.from_numpy(labels[rows]), flops)


def classes_of(labels: Tensor) -> Tensor:
    """Class of each sample: labels (B, FIELDS) -> (B,) in 0..CLASSES-1."""
    return labels[:, COLOUR] * len(SHAPES) + labels[:, SHAPE]


def words_of(labels: Tensor) -> Tensor:
    """Words of each caption, as places in WORDS: labels (B, FIELDS) -> (B, FIELDS)."""
    counts = torch.tensor([0, *map(len, FIELDS.values())][:-1], device=labels.device)
    return labels + counts.cumsum(0)


@cache
def opened(toy: Toy, split: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Samples (N, *shape), uint8 or float16, and labels (N, FIELDS); made if they are missing."""
    folder = prepared(toy)
    samples = np.load(folder / f"{split}.npy", mmap_mode="r")
    return samples, np.load(folder / f"{split}-labels.npy")


def prepared(toy: Toy) -> Path:
    """Folder of the set; renders it if it is not there."""
    of = {"toy": repr(toy), "world": WORLD_VERSION, "fields": list(FIELDS), "seeds": [ZOO.start, ZOO_HELD_OUT.start]}
    if toy.latents:
        from minisora.zoo.frame.codec import fingerprint

        of["vae"] = fingerprint()
    digest = hashlib.sha256(json.dumps(of).encode()).hexdigest()[:8]
    folder = FOLDER / f"{toy.name}-{digest}"
    with one_run(folder, "or wait for it"):
        for split, seeds, count in (("held_out", ZOO_HELD_OUT, HELD_OUT), ("train", ZOO, toy.count)):
            if not (folder / f"{split}.npy").exists():
                _write(toy, folder, split, seeds, count)
    return folder


def rendered(toy: Toy, count: int) -> tuple[Tensor, Tensor]:
    """Frames, uint8, and labels of the first held-out scenes, rendered anew and kept nowhere."""
    frames, labels = _Render(toy)(_seeds_of_one_thing(ZOO_HELD_OUT, count))
    return torch.from_numpy(frames), torch.from_numpy(labels)


def _write(toy: Toy, folder: Path, split: str, seeds: range, count: int) -> None:
    if toy.latents:
        from minisora.zoo.frame.codec import encoded

        frames, labels = opened(toy.of_pixels, split)
        pieces = (encoded(torch.from_numpy(frames[n : n + _AT_ONCE])) for n in range(0, count, _AT_ONCE))
        samples = np.concatenate([each.half().numpy() for each in pieces])
    else:
        wanted = _seeds_of_one_thing(seeds, count)
        made = []
        for piece in ahead(_Render(toy), (wanted[n : n + _AT_ONCE] for n in range(0, count, _AT_ONCE)), workers=2):
            made.append(piece)
            if len(made) % 20 == 0 or len(made) * _AT_ONCE >= count:
                print(f"{toy.name}, {split}: {len(made) * _AT_ONCE} of {count} scenes", file=sys.stderr, flush=True)
        samples, labels = (np.concatenate(each) for each in zip(*made, strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ((f"{split}-labels", labels), (split, samples)):  # the samples last: they say that all is there
        with replacing(folder / f"{name}.npy") as path, path.open("wb") as file:
            np.save(file, array)


def _seeds_of_one_thing(seeds: range, count: int) -> list[int]:
    alone = (seed for seed in seeds if count_of(seed) == 1)
    return [next(alone) for _ in range(count)]


@dataclass(frozen=True)
class _Render:
    toy: Toy

    def __call__(self, seeds: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        scenes = [replace(scene, shots=scene.shots[:1]) for scene in map(playroom.draw, seeds)]  # no cuts
        side, num_frames = self.toy.side, self.toy.num_frames
        frames = playroom.render(scenes, height=side, width=side, fps=FPS, num_frames=num_frames).frames.numpy()
        labels = np.array([_labels(scene) for scene in scenes], dtype=np.int64)
        return (frames if self.toy.is_video else frames[:, 0]), labels


def _labels(scene: playroom.Scene) -> list[int]:
    (thing,) = scene.things
    words = {**vars(thing), "floor": scene.floor, "light": scene.light, "camera": scene.shots[0].move}
    return [words_.index(words[field]) for field, words_ in FIELDS.items()]
