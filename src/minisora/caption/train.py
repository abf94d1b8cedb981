"""What the captioner is trained on: stretches of playroom scenes, drawn as training goes on, each with one caption.

A scene is drawn once, for four seconds, and gives several stretches: its first half, its second, all of it, a single
moment. The wording is drawn anew each time. A part of the scenes is wider or taller than the square, and squeezed.
Triples that the playroom holds out are never shown.

Here: batches, the loss, and the pieces of a run. Not here: the loop that runs it (train/loop.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora.caption.model import Captioner, CaptionerConfig, save_captioner
from minisora.caption.words import Vocabulary, playroom_words
from minisora.video import resize
from minisora.worlds import playroom
from minisora.worlds.playroom.scene import COLOURS, SHAPES

FIRST_SEED = 300_000_000  # far from those that models, judges and reports are given
FPS, FRAMES = 8.0, 33  # of a scene as it is drawn: four seconds and the moment at their end
STRETCHES = {  # (start, stop) in seconds: how often; the frames are spread evenly over it
    (0.0, 2.0): 0.3,
    (2.0, 4.0): 0.2,
    (0.0, 4.0): 0.4,
    (0.0, 0.0): 0.05,
    (2.0, 2.0): 0.05,
}
SIZES = {(64, 64): 0.7, (48, 80): 0.15, (80, 48): 0.15}  # (height, width) as drawn: how often
NOTHING = -1  # where a caption is over


@dataclass(frozen=True, eq=False)
class CaptionBatch:
    """
    frames:  (B, T, side, side, 3) uint8
    words:   (B, S) int64: what a caption begins with, its words, END, then NOTHING
    """

    frames: Tensor
    words: Tensor
    flops: float

    @property
    def tokens(self) -> int:
        """Words to be said, ends among them."""
        return int((self.words[:, 1:] != NOTHING).sum())

    def to(self, device: torch.device) -> CaptionBatch:
        return CaptionBatch(self.frames.to(device), self.words.to(device), self.flops)


@dataclass(frozen=True, kw_only=True)
class CaptionBatches:
    """step -> batch: `scenes` scenes of one size that no other step has, `stretches` of each."""

    config: CaptionerConfig
    scenes: int = 12
    stretches: int = 3

    def __call__(self, step: int) -> CaptionBatch:
        rng = random.Random(f"captions {step}")
        height, width = rng.choices(list(SIZES), list(SIZES.values()))[0]
        first = FIRST_SEED + step * self.scenes
        scenes = [playroom.draw(seed) for seed in range(first, first + self.scenes)]
        drawn = playroom.render(scenes, height=height, width=width, fps=FPS, num_frames=FRAMES).frames
        drawn = resize(drawn, self.config.side, self.config.side)
        vocabulary = Vocabulary(self.config.words)
        frames, captions = [], []
        for number, scene in enumerate(scenes):
            for start, stop in rng.choices(list(STRETCHES), list(STRETCHES.values()), k=self.stretches):
                long = rng.random() < 0.5
                said = playroom.captions(
                    scene, seed=rng.randrange(2**31), start=start, stop=stop, aspect=width / height
                )
                text = said[1 if long and len(said) > 1 else 0].text  # the first is short, the second long
                frames.append(drawn[number, frames_of(start, stop, self.config.num_frames)])
                captions.append(torch.tensor(vocabulary.encode(text, long=long)[: self.config.longest + 1]))
        words = torch.nn.utils.rnn.pad_sequence(captions, batch_first=True, padding_value=NOTHING)
        flops = 3 * len(frames) * self.config.flops(words.shape[1] - 1)
        return CaptionBatch(torch.stack(frames), words, flops)


def frames_of(start: float, stop: float, num_frames: int) -> Tensor:
    """(num_frames,) which frames of a scene a stretch shows; one, again and again, of a single moment."""
    moments = start + torch.arange(num_frames, dtype=torch.float64) * (stop - start) / num_frames
    return (moments * FPS + 1e-6).long()


@dataclass(frozen=True)
class CaptionLoss:
    """Cross-entropy of the next word. names: words whose share is told apart, as phrasing can only be guessed"""

    names: tuple[int, ...]

    def __call__(self, captioner: Captioner, batch: CaptionBatch, noise: torch.Generator) -> dict[str, Tensor]:
        """`loss`; `accuracy`, the share of words that were the likeliest; `named`, the same of `names`."""
        logits = captioner(batch.frames, batch.words[:, :-1].clamp(min=0)).float()
        words = batch.words[:, 1:]
        loss = F.cross_entropy(logits.flatten(0, 1), words.flatten(), ignore_index=NOTHING)
        right = (logits.argmax(-1) == words).float()
        names = torch.isin(words, torch.tensor(self.names, device=words.device))
        return {"loss": loss, "accuracy": right[words != NOTHING].mean(), "named": right[names].mean()}


@dataclass(frozen=True, kw_only=True)
class CaptionRun:
    """What a run needs beside its steps and its rate: fields of train.config.RunConfig, by the same names."""

    build: Callable[[], Captioner]
    batch: CaptionBatches
    loss: CaptionLoss
    publish: Callable[[Captioner, Path], None]


def caption_run(steps: int, config: CaptionerConfig | None = None, *, scenes: int = 12) -> CaptionRun:
    """The captioner of the playroom. Leaves a folder `captioner`; publish says there what it was trained on."""
    shape = config or CaptionerConfig(words=playroom_words())
    batches = CaptionBatches(config=shape, scenes=scenes)

    def publish(captioner: Captioner, folder: Path) -> None:
        trained = {"data": "playroom, split train", "steps": steps, "clips": steps * scenes * batches.stretches}
        save_captioner(captioner, folder / "captioner", trained)

    return CaptionRun(
        build=lambda: Captioner(shape),
        batch=batches,
        loss=CaptionLoss(Vocabulary(shape.words).numbers([*COLOURS, *SHAPES])),
        publish=publish,
    )
