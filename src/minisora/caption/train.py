"""Training data and loss of the captioner: captioned stretches of playroom scenes.

A stretch is the first half of four seconds, the second, all of it, or a single moment. The wording
is drawn again each time. Some scenes are wider or taller than the square, and squeezed; most are
degraded (worlds/wear.py), as the captioner also ranks generated clips. The playroom's held-out
triples are never shown.

Words alone teach the encoder slowly to distinguish a cube from a cone. So an auxiliary head
predicts the content of each token, the hints (worlds/playroom/hints.py). It is dropped when
training ends.

Here: batches, the loss, and the pieces of a run. Not here: the loop that runs it (train/loop.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.caption.files import load_captioner, save_captioner
from minisora.caption.model import STRIDE, Captioner, CaptionerConfig
from minisora.caption.words import Vocabulary, playroom_words
from minisora.video import resize
from minisora.worlds import playroom
from minisora.worlds.playroom.facts import watch
from minisora.worlds.playroom.hints import HINTS, NOTHING, hints_of
from minisora.worlds.playroom.scene import COLOURS, FLOORS, LIGHTS, MOVES, SHAPES
from minisora.worlds.seeds import CAPTIONER
from minisora.worlds.wear import wear

STRETCHES = {  # (start, stop) in seconds: how often
    (0.0, 2.0): 0.3,
    (2.0, 4.0): 0.2,
    (0.0, 4.0): 0.4,
    (0.0, 0.0): 0.05,
    (2.0, 2.0): 0.05,
}
_AHEAD = 0.15  # share of steps that show only the first frame, with captions of the two seconds that follow
FORMATS = {(64, 64): 0.7, (48, 80): 0.15, (80, 48): 0.15}  # (height, width) as drawn: how often
WHOLE: dict[str, tuple[str, ...]] = {  # hints of a whole clip, and their classes
    "camera": ("none", *MOVES),
    "floor": tuple(FLOORS),
    "light": tuple(LIGHTS),
}
_FARTHEST = 32.0  # pixels: largest motion between neighbouring frames; more is a cut
_LONG = 1 / 3  # share of steps whose captions are long
_HINTED = 0.5  # weight of each hint's loss, relative to that of the words


@dataclass(frozen=True, eq=False)
class CaptionBatch:
    """
    frames:  (B, T, side, side, 3) uint8
    words:   (B * captions_per_clip, S) int64: start token, words, END, then NOTHING; captions of a
        clip are adjacent
    hints:   (B, moments * places, HINTS) int64 labels, NOTHING where a hint does not apply
    flow:    (B, moments * places, 2) backward flow at each token's centre, right and down in
        pixels; NaN across a cut
    whole:   (B, WHOLE) int64 labels
    """

    frames: Tensor
    words: Tensor
    hints: Tensor
    flow: Tensor
    whole: Tensor
    flops: float

    @property
    def tokens(self) -> int:
        """Number of target words, ends included."""
        return int((self.words[:, 1:] != NOTHING).sum())

    def to(self, device: torch.device) -> CaptionBatch:
        tensors: dict[str, Any] = {name: x.to(device) for name, x in vars(self).items() if isinstance(x, Tensor)}
        return replace(self, **tensors)


@dataclass(frozen=True, kw_only=True)
class CaptionBatches:
    """step -> batch: new `scenes` in every step, of one size and stretch.

    Each clip has several captions, as encoding it costs more than decoding them; all of a batch are
    short or all long, to avoid padding.
    """

    config: CaptionerConfig
    scenes: int = 24
    captions_per_clip: int = 3
    seen: int = 0  # scenes that the initial weights were trained on; they are skipped

    def __call__(self, step: int) -> CaptionBatch:
        rng, side = random.Random(f"captions {step}"), self.config.side
        height, width = rng.choices(list(FORMATS), list(FORMATS.values()))[0]
        start, stop = rng.choices(list(STRETCHES), list(STRETCHES.values()))[0]
        long, ahead = rng.random() < _LONG, rng.random() < _AHEAD
        if ahead:
            start, stop = 0.0, 2.0
        first, vocabulary = self.seen + step * self.scenes, Vocabulary(self.config.words)
        scenes = [playroom.draw(CAPTIONER[first + n]) for n in range(self.scenes)]
        drawn = draw_stretch(scenes, height, width, start, start if ahead else stop, self.config.num_frames)
        assert drawn.masks is not None
        masks = F.interpolate(drawn.masks.float(), (side, side), mode="nearest-exact").long()
        captions, hints, flows, whole = [], [], [], []
        middle = torch.arange(self.config.num_frames)[self.config.middle_frames]
        for number, scene in enumerate(scenes):
            view = watch(scene, start, stop, aspect=width / height)
            hints.append(hints_of(view, masks[number, middle]).flatten(0, 2).long())
            flows.append(flow_of(drawn, number, middle, (middle - 1).clamp(min=0), side // STRIDE))
            answers = {"camera": "none" if ahead else view.camera, "floor": scene.floor, "light": scene.light}
            whole.append([WHOLE[name].index(answers[name]) for name in WHOLE])
            for _ in range(self.captions_per_clip):
                texts = playroom.captions(
                    scene, seed=rng.randrange(2**31), start=start, stop=stop, aspect=width / height
                )
                text = texts[1 if long and len(texts) > 1 else 0].text  # the first is short, the second long
                captions.append(
                    torch.tensor(vocabulary.encode(text, long=long, ahead=ahead)[: self.config.longest + 1])
                )
        words = torch.nn.utils.rnn.pad_sequence(captions, batch_first=True, padding_value=NOTHING)
        flops = 3 * len(scenes) * self.config.flops(words.shape[1] - 1, self.captions_per_clip)
        generator = torch.Generator().manual_seed(step)
        frames = torch.stack([wear(resize(clip, side, side), generator) for clip in drawn.frames])
        return CaptionBatch(frames, words, torch.stack(hints), torch.stack(flows), torch.tensor(whole), flops)


def draw_stretch(
    scenes: Sequence[playroom.Scene], height: int, width: int, start: float, stop: float, num_frames: int
) -> playroom.Rendered:
    """Render frames spread over a stretch as in `Captioner.fitted`, with their truth.

    For a moment the frames are identical.
    """
    size: dict[str, Any] = {"height": height, "width": width, "start": start, "truth": True}
    if start < stop:
        return playroom.render(scenes, fps=num_frames / (stop - start), num_frames=num_frames, **size)
    one = playroom.render(scenes, num_frames=1, **size)
    return playroom.Rendered(**{name: value.repeat_interleave(num_frames, 1) for name, value in vars(one).items()})


def flow_of(drawn: playroom.Rendered, number: int, here: Tensor, there: Tensor, cells: int) -> Tensor:
    """Optical flow at the centre of each cell, from frames `here` to frames `there` of one scene.

    here, there: (M,) numbers of frames
    returns      (M * cells**2, 2) right and down, in pixels; NaN where a cut lies between
    """
    assert drawn.masks is not None and drawn.depth is not None
    height, width = drawn.masks.shape[2:]
    middle = (torch.arange(cells) + 0.5) / cells
    x, y = middle.repeat(cells), middle.repeat_interleave(cells)
    rows, columns = (y * height).long(), (x * width).long()
    owner = drawn.masks[number, here][:, rows, columns].long()  # (M, places)
    depth = drawn.depth[number, here][:, rows, columns].clamp(max=1e3)
    pose, focal = drawn.pose[number], drawn.focal[number]
    seen = torch.stack([(x - 0.5) * width, (y - 0.5) * height], -1) / focal[here, None, None]
    points = torch.cat([seen * depth[..., None], depth[..., None], torch.ones_like(depth)[..., None]], -1)
    moved = points @ (pose[there] @ torch.linalg.inv(pose[here])).mT
    size = torch.tensor([width, height]) * 1.0
    ends = moved[..., :2] / moved[..., 2:3].clamp(min=1e-3) * focal[there, None, None] / size + 0.5
    flow = (ends - torch.stack([x, y], -1)) * cells * STRIDE
    paths = (drawn.screen[number, there] - drawn.screen[number, here]) * cells * STRIDE  # (M, N, 2)
    own = paths.gather(1, (owner - 1).clamp(min=0)[..., None].expand(-1, -1, 2)) if paths.shape[1] else flow
    flow = torch.where(owner[..., None] > 0, own, flow)
    return torch.where(flow.abs().amax(-1, keepdim=True) < _FARTHEST, flow, torch.nan).flatten(0, 1)


class HintedCaptioner(Captioner):
    """A captioner with heads that predict the hints, from the tokens before and after the blocks.

    The stem learns from the hints alone: with the gradients of the words, which are large and
    uninformative at first, it could not distinguish a cube from a cone after 3,800 scenes; without
    them it began to after 1,200.

    frames, words  as for a Captioner
    returns        its logits, and early and late (B, tokens, logits of all HINTS and the flow),
        (B, logits of WHOLE)
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        answers, whole = sum(map(len, HINTS.values())) + 2, sum(map(len, WHOLE.values()))
        self.entered = nn.LayerNorm(config.width)
        self.early, self.early_whole = nn.Linear(config.width, answers), nn.Linear(config.width, whole)
        self.late, self.late_whole = nn.Linear(config.width, answers), nn.Linear(config.width, whole)

    # returns more than a Captioner does; only the loss calls it
    def forward(self, frames: Tensor, words: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:  # type: ignore[override]
        patches = self.patches(frames)
        video = self.attend(patches.detach())
        entered = self.entered(patches).flatten(1, 2)
        early = self.early(entered), self.early_whole(entered.mean(1))
        late = self.late(video), self.late_whole(video.mean(1))
        return self.next_words(words, video)[0], [early, late]

    def captioner(self) -> Captioner:
        """A plain captioner with the same weights, without the heads of the hints."""
        plain = Captioner(self.config)
        plain.load_state_dict({name: value for name, value in self.state_dict().items() if name in plain.state_dict()})
        return plain


@dataclass(frozen=True)
class CaptionLoss:
    """Cross-entropy of the next word and of the hints.

    names: words whose accuracy is also logged separately, as phrasing can only be guessed
    """

    names: tuple[int, ...]

    def __call__(self, captioner: HintedCaptioner, batch: CaptionBatch, noise: torch.Generator) -> dict[str, Tensor]:
        """Loss and accuracies of a batch, by name.

        `loss`; `words`, the words' part; `accuracy` of the next word; `named`, the same over
        `names`; accuracy of each late hint by name; `flow`, the error of the flow.
        """
        logits, hints = captioner(batch.frames, batch.words[:, :-1].clamp(min=0))
        words = batch.words[:, 1:]
        spoken = F.cross_entropy(logits.float().flatten(0, 1), words.flatten(), ignore_index=NOTHING)
        right = (logits.argmax(-1) == words).float()
        names = torch.isin(words, torch.tensor(self.names, device=words.device))
        losses = {"words": spoken, "accuracy": right[words != NOTHING].mean(), "named": right[names].mean()}
        loss, moved = spoken, batch.flow.isfinite().all(-1)
        for tokens, whole in hints:
            *asked, flow = tokens.float().split([*map(len, HINTS.values()), 2], -1)
            asked += whole.float().split([*map(len, WHOLE.values())], -1)
            true = [*batch.hints.unbind(-1), *batch.whole.unbind(-1)]
            for name, answers, right_ones in zip([*HINTS, *WHOLE], asked, true, strict=True):
                wrong, losses[name] = _asked(answers, right_ones)
                loss = loss + _HINTED * wrong
            losses["flow"] = F.smooth_l1_loss(flow[moved], batch.flow[moved], beta=0.5)
            loss = loss + _HINTED * losses["flow"]
        return {"loss": loss, **losses}


def _asked(answers: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and accuracy where there is a label."""
    known = true != NOTHING
    wrong = F.cross_entropy(answers[known], true[known], reduction="sum") / known.sum().clamp(min=1)
    return wrong, (answers.argmax(-1) == true)[known].float().mean()


@dataclass(frozen=True, kw_only=True)
class CaptionRun:
    """Fields of train.config.RunConfig that do not depend on steps and learning rate, by name."""

    build: Callable[[], HintedCaptioner]
    batch: CaptionBatches
    loss: CaptionLoss
    published: Callable[[HintedCaptioner], Captioner]
    publish: Callable[[Captioner, Path, int], None]


def caption_run(config: CaptionerConfig | None = None, *, scenes: int = 24, base: Path | None = None) -> CaptionRun:
    """The run of the playroom's captioner, which publishes a folder `captioner`.

    base: folder of a captioner whose weights, shape and vocabulary initialise it; may be of another
        world version
    """
    begun = None if base is None else load_captioner(base).with_words(playroom_words())
    shape = begun.config if begun else config or CaptionerConfig(words=playroom_words())
    before = begun.trained if begun and begun.trained.get("world", 1) == playroom.WORLD_VERSION else {}
    batches = CaptionBatches(config=shape, scenes=scenes, seen=before.get("clips", 0))

    def build() -> HintedCaptioner:
        taught = HintedCaptioner(shape)
        if begun:
            taught.load_state_dict(begun.state_dict(), strict=False)
        return taught

    def publish(captioner: Captioner, folder: Path, taken: int) -> None:
        done = {"steps": before.get("steps", 0) + taken, "clips": batches.seen + taken * scenes}
        data = {"data": "playroom, split train", "world": playroom.WORLD_VERSION}
        save_captioner(captioner, folder / "captioner", {**data, **done})

    return CaptionRun(
        build=build,
        batch=batches,
        loss=CaptionLoss(Vocabulary(shape.words).numbers([*COLOURS, *SHAPES])),
        published=HintedCaptioner.captioner,
        publish=publish,
    )
