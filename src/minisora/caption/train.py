"""What the captioner is trained on: stretches of playroom scenes, drawn as training goes on, each with one caption.

A scene is drawn once, for four seconds, and gives several stretches: its first half, its second, all of it, a single
moment. The wording is drawn anew each time. A part of the scenes is wider or taller than the square, and squeezed.
Triples that the playroom holds out are never shown.

Words alone teach the encoder slowly to tell a cube from a cone. So while it is trained its tokens are also asked what
lies in them, which the renderer knows: hints, in the manner of deeply supervised nets (Lee et al. 2015,
arXiv:1409.5185). The layer that answers is thrown away with the end of the training.

Here: batches, hints, the loss, and the pieces of a run. Not here: the loop that runs it (train/loop.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.caption.model import STRIDE, Captioner, CaptionerConfig, save_captioner
from minisora.caption.words import Vocabulary, playroom_words
from minisora.video import resize
from minisora.worlds import playroom
from minisora.worlds.playroom.facts import View, watch
from minisora.worlds.playroom.scene import COLOURS, MOTIONS, MOVES, SHAPES, SIZES

FIRST_SEED = 300_000_000  # far from those that models, judges and reports are given
FPS, FRAMES = 8.0, 33  # of a scene as it is drawn: four seconds and the moment at their end
STRETCHES = {  # (start, stop) in seconds: how often; the frames are spread evenly over it
    (0.0, 2.0): 0.3,
    (2.0, 4.0): 0.2,
    (0.0, 4.0): 0.4,
    (0.0, 0.0): 0.05,
    (2.0, 2.0): 0.05,
}
FORMATS = {(64, 64): 0.7, (48, 80): 0.15, (80, 48): 0.15}  # (height, width) as drawn: how often
NOTHING = -1  # where a caption is over, and where nothing is asked
HINTS: dict[str, tuple[str, ...]] = {  # what the tokens of a thing are asked, and its answers
    "shape": ("no thing", *SHAPES),
    "colour": tuple(COLOURS),
    "size": tuple(SIZES),
    "motion": (*MOTIONS, "leaves", "returns", "turns_back", "moves", "none"),
    "direction": ("no direction", "left", "right", "toward", "away"),
}
CAMERA = ("none", *MOVES)  # what all tokens together are asked
_COVERED = 0.15  # share of a token that a thing must cover for it to be asked about
_HINTED = 0.5  # weight of a hint beside the words


@dataclass(frozen=True, eq=False)
class CaptionBatch:
    """
    frames:  (B, T, side, side, 3) uint8
    words:   (B * tellings, S) int64: what a caption begins with, its words, END, then NOTHING; those of a clip together
    hints:   (B, moments * places, HINTS) int64: answers, NOTHING where one is not asked
    camera:  (B,) int64, of CAMERA
    """

    frames: Tensor
    words: Tensor
    hints: Tensor
    camera: Tensor
    flops: float

    @property
    def tokens(self) -> int:
        """Words to be said, ends among them."""
        return int((self.words[:, 1:] != NOTHING).sum())

    def to(self, device: torch.device) -> CaptionBatch:
        frames, words, hints, camera = (x.to(device) for x in (self.frames, self.words, self.hints, self.camera))
        return CaptionBatch(frames, words, hints, camera, self.flops)


@dataclass(frozen=True, kw_only=True)
class CaptionBatches:
    """step -> batch: `scenes` scenes of one size that no other step has, `stretches` of each, each told anew several
    times: a clip costs more to see than to tell.
    """

    config: CaptionerConfig
    scenes: int = 12
    stretches: int = 3
    tellings: int = 3

    def __call__(self, step: int) -> CaptionBatch:
        rng = random.Random(f"captions {step}")
        height, width = rng.choices(list(FORMATS), list(FORMATS.values()))[0]
        first = FIRST_SEED + step * self.scenes
        scenes = [playroom.draw(seed) for seed in range(first, first + self.scenes)]
        rendered = playroom.render(scenes, height=height, width=width, fps=FPS, num_frames=FRAMES, truth=True)
        assert rendered.masks is not None
        side, vocabulary = self.config.side, Vocabulary(self.config.words)
        drawn = resize(rendered.frames, side, side)
        masks = F.interpolate(rendered.masks.float(), (side, side), mode="nearest-exact").long()
        frames, captions, hints, cameras = [], [], [], []
        for number, scene in enumerate(scenes):
            for start, stop in rng.choices(list(STRETCHES), list(STRETCHES.values()), k=self.stretches):
                index = frames_of(start, stop, self.config.num_frames)
                view = watch(scene, start, stop, aspect=width / height)
                frames.append(drawn[number, index])
                hints.append(hints_of(view, masks[number, index], self.config.group))
                cameras.append(CAMERA.index(view.camera))
                for _ in range(self.tellings):
                    long = rng.random() < 0.5
                    said = playroom.captions(
                        scene, seed=rng.randrange(2**31), start=start, stop=stop, aspect=width / height
                    )
                    text = said[1 if long and len(said) > 1 else 0].text  # the first is short, the second long
                    captions.append(torch.tensor(vocabulary.encode(text, long=long)[: self.config.longest + 1]))
        words = torch.nn.utils.rnn.pad_sequence(captions, batch_first=True, padding_value=NOTHING)
        flops = 3 * len(frames) * self.config.flops(words.shape[1] - 1, self.tellings)
        return CaptionBatch(torch.stack(frames), words, torch.stack(hints), torch.tensor(cameras), flops)


def hints_of(view: View, masks: Tensor, group: int) -> Tensor:
    """What each token should answer: about the thing that covers most of it, where that is enough; about no thing only
    that it is none, where there is none at all.

    masks:   (T, side, side) int64, 0 for the background, i + 1 for thing i
    returns  (T / group * (side / STRIDE)**2, HINTS) int64
    """
    things = int(masks.max())
    cells = masks.unflatten(2, (-1, STRIDE)).unflatten(1, (-1, STRIDE)).unflatten(0, (-1, group))
    covered = F.one_hot(cells, things + 1).float().mean((1, 3, 5)).flatten(0, 2)  # (tokens, things + 1)
    hints = torch.full((len(covered), len(HINTS)), NOTHING)
    hints[covered[:, 0] == 1, 0] = 0
    share, most = covered[:, 1:].max(1) if things else (covered[:, 0] * 0, covered[:, 0].long())
    for seen in view.things:
        said = {
            "shape": seen.thing.shape,
            "colour": seen.thing.colour,
            "size": seen.thing.size,
            "motion": seen.motion,
            "direction": seen.direction or "no direction",
        }
        answers = torch.tensor([HINTS[name].index(said[name]) for name in HINTS])
        hints[(most == seen.number) & (share >= _COVERED)] = answers
    return hints


def frames_of(start: float, stop: float, num_frames: int) -> Tensor:
    """(num_frames,) which frames of a scene a stretch shows; one, again and again, of a single moment."""
    moments = start + torch.arange(num_frames, dtype=torch.float64) * (stop - start) / num_frames
    return (moments * FPS + 1e-6).long()


class Taught(Captioner):
    """A captioner whose tokens answer hints too.

    frames, words  as a Captioner takes them
    returns        its logits, (B, tokens, answers of all HINTS), (B, CAMERA)
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        self.hints = nn.Linear(config.width, sum(map(len, HINTS.values())))
        self.camera = nn.Linear(config.width, len(CAMERA))

    def forward(self, frames: Tensor, words: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        video = self.encode(frames)
        return self.next_words(words, video)[0], self.hints(video), self.camera(video.mean(1))

    def captioner(self) -> Captioner:
        """Without what answered hints."""
        plain = Captioner(self.config)
        plain.load_state_dict({name: value for name, value in self.state_dict().items() if name in plain.state_dict()})
        return plain


@dataclass(frozen=True)
class CaptionLoss:
    """Cross-entropy of the next word and of the hints.

    names: words whose share is told apart, as phrasing can only be guessed
    """

    names: tuple[int, ...]

    def __call__(self, captioner: Taught, batch: CaptionBatch, noise: torch.Generator) -> dict[str, Tensor]:
        """`loss`; `words`, its part; `accuracy`, the share of words that were the likeliest; `named`, of `names`; and
        the share of hints that were answered rightly, each by its name.
        """
        logits, hints, camera = captioner(batch.frames, batch.words[:, :-1].clamp(min=0))
        words = batch.words[:, 1:]
        spoken = F.cross_entropy(logits.float().flatten(0, 1), words.flatten(), ignore_index=NOTHING)
        right = (logits.argmax(-1) == words).float()
        names = torch.isin(words, torch.tensor(self.names, device=words.device))
        told = {"words": spoken, "accuracy": right[words != NOTHING].mean(), "named": right[names].mean()}
        asked = hints.float().split([len(answers) for answers in HINTS.values()], -1)
        every = [*zip(HINTS, asked, batch.hints.unbind(-1), strict=True), ("camera", camera.float(), batch.camera)]
        loss = spoken
        for name, answers, true in every:
            known = true != NOTHING
            wrong = F.cross_entropy(answers[known], true[known], reduction="sum") / known.sum().clamp(min=1)
            loss = loss + _HINTED * wrong
            told[name] = (answers.argmax(-1) == true)[known].float().mean()
        return {"loss": loss, **told}


@dataclass(frozen=True, kw_only=True)
class CaptionRun:
    """What a run needs beside its steps and its rate: fields of train.config.RunConfig, by the same names."""

    build: Callable[[], Taught]
    batch: CaptionBatches
    loss: CaptionLoss
    publish: Callable[[Taught, Path], None]


def caption_run(steps: int, config: CaptionerConfig | None = None, *, scenes: int = 12) -> CaptionRun:
    """The captioner of the playroom. Leaves a folder `captioner`; publish says there what it was trained on."""
    shape = config or CaptionerConfig(words=playroom_words())
    batches = CaptionBatches(config=shape, scenes=scenes)

    def publish(taught: Taught, folder: Path) -> None:
        trained = {"data": "playroom, split train", "steps": steps, "clips": steps * scenes * batches.stretches}
        save_captioner(taught.captioner(), folder / "captioner", trained)

    return CaptionRun(
        build=lambda: Taught(shape),
        batch=batches,
        loss=CaptionLoss(Vocabulary(shape.words).numbers([*COLOURS, *SHAPES])),
        publish=publish,
    )
