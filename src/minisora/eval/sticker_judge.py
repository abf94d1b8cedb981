"""The judge of stickers: frames to names, skin tone and the direction of time, learnt from the real art alone.

    python -m minisora.eval.sticker_judge

makes `sticker_judge.safetensors` anew; whoever changes how the stickers look runs it again. The judge sees no prompt
and no model. Its own mistakes are measured on real stagings, beside every score it gives (stickers.py).

Here: the network, what is made of its logits, and the fit. Not here: what is asked, the table (stickers.py).
"""

from __future__ import annotations

import argparse
import functools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from random import Random

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.device import has_fast_bf16
from minisora.errors import WeightsError
from minisora.video import fit, to_float
from minisora.video.files import save_tensors
from minisora.workers.ahead import ahead
from minisora.worlds import stickers
from minisora.worlds.seeds import STICKER_JUDGE, STICKER_JUDGE_UNSEEN
from minisora.worlds.stickers.backdrop import backdrop
from minisora.worlds.stickers.names import TONES, Sticker, split_keys
from minisora.worlds.stickers.staging import PIVOT, Staging
from minisora.worlds.stickers.store import LONG_SIDES, load
from minisora.worlds.wear import wear

WEIGHTS: Path = Path(__file__).parent / "sticker_judge.safetensors"
SIDE, NUM_FRAMES, FPS = 64, 17, 8.0  # what the judge looks at
TONES_TOLD = ("none", *TONES.values())
SURE = 0.9  # of the direction of time; stickers that move the same way forward and backward stay below
BEST = 5  # names that are told
PICTURES, CLIPS = 128, 12  # of a step of the fit: names are learnt from single pictures for the most part
BATCH = 48  # clips that are read at once
_WIDTH, _TIME_WIDTH = 192, 128
_CELL = 8  # pixels of a cell's side, of the map that says where something is shown


@functools.cache
def words() -> tuple[str, ...]:
    """The names that are told apart, in a fixed order: one for all skin tones of a sticker."""
    return tuple(dict.fromkeys(each.words for each in stickers.names()))


@functools.cache
def _people() -> dict[int, tuple[str, str]]:
    """The number of each name that has both -> its person and activity."""
    found = {each.words: (each.person, each.activity) for each in stickers.names() if each.person and each.activity}
    return {n: (str(found[name][0]), str(found[name][1])) for n, name in enumerate(words()) if name in found}


@dataclass(frozen=True)
class Reading:
    """What the judge says of a clip."""

    names: tuple[str, ...]  # the best BEST, best first
    person: str  # these two are of the best name that has them
    activity: str
    tone: str  # one of TONES_TOLD
    forward: float  # probability that the frames are in the order in which they were filmed


def reading(names: Tensor, tones: Tensor, forward: float) -> Reading:
    """names: (words,) logits; tones: (TONES_TOLD,) logits"""
    people = _people()
    person, activity = people[max(people, key=names.tolist().__getitem__)]
    best = tuple(words()[n] for n in names.topk(BEST).indices.tolist())
    return Reading(best, person, activity, TONES_TOLD[int(tones.argmax())], forward)


def looks(frames: Tensor, fps: float) -> Tensor:
    """A clip as the judge looks at it: (T, H, W, 3) uint8 -> (NUM_FRAMES, SIDE, SIDE, 3) uint8, the nearest frames.

    A clip that ends early stands still at its end.
    """
    moments = torch.arange(NUM_FRAMES) / FPS
    return fit(frames[(moments * fps).round().long().clamp(max=len(frames) - 1)], SIDE, SIDE)[0]


class StickerJudge(nn.Module):
    """(B, NUM_FRAMES, SIDE, SIDE, 3) uint8 -> logits: (B, words), (B, TONES_TOLD), (B,) of forward in time.

    The last is g(frames) - g(frames backwards): a clip and its reverse get opposite answers, and a still clip none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(
            _conv(3, 32, kernel=4, stride=2), _conv(32, 64, stride=2), _conv(64, 64), _conv(64, 128, stride=2),
            _conv(128, 128),
        )  # fmt: skip
        self.cover = nn.Conv2d(128, 1, 1)
        self.deep = nn.Sequential(_conv(128, _WIDTH, stride=2), _conv(_WIDTH, _WIDTH))
        self.names = nn.Linear(2 * _WIDTH, len(words()))
        self.tones = nn.Linear(2 * _WIDTH, len(TONES_TOLD))
        # three neighbouring frames at once, at half the size
        self.step = nn.Sequential(_conv(9, 48, kernel=4, stride=2), _conv(48, 64, stride=2), _conv(64, 96, stride=2))
        self.time = nn.Conv1d(2 * 96, _TIME_WIDTH, 3, padding=1)
        self.moves = nn.Linear(2 * _WIDTH, 2 * _TIME_WIDTH)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        names, tones, shown, _ = self.what(frames[:, ::2])
        return names, tones, self.when(frames, shown)

    def what(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, T, SIDE, SIDE, 3) uint8, any T -> logits of names and of tones, each the mean of the frames' own;
        (B, 2 * _WIDTH) of what is seen; and (B * T, SIDE / _CELL, SIDE / _CELL) logits of where it is."""
        x = self.look(_planes(_scaled(frames)))
        cover = self.cover(x)
        seen = _pooled(self.deep(x * cover.sigmoid())).unflatten(0, frames.shape[:2]).mean(1)
        return self.names(seen).float(), self.tones(seen).float(), seen, cover[:, 0].float()

    def when(self, frames: Tensor, seen: Tensor) -> Tensor:
        """(B, NUM_FRAMES, SIDE, SIDE, 3) uint8 and what is seen in them -> (B,) logits of forward in time."""
        x = F.avg_pool2d(_planes(_scaled(frames)), 2).unflatten(0, frames.shape[:2])
        x = torch.cat([x, x.flip(1)])
        steps = self.step(_planes(torch.cat([x[:, :-2:2], x[:, 1:-1:2], x[:, 2::2]], 2)))
        times = F.relu(self.time(_pooled(steps).unflatten(0, (len(x), -1)).mT))
        forward, backward = torch.cat([times.mean(2), times.amax(2)], 1).chunk(2)
        # what is shown tells how it should move, but must not be seen otherwise for that: detach
        told: Tensor = ((forward - backward) * self.moves(seen.detach())).float().sum(1)
        return told / math.sqrt(forward.shape[1])  # as attention scales: without it the loss begins above chance

    @torch.inference_mode()
    def read(self, clips: Sequence[Tensor]) -> list[Reading]:
        """What clips show, each as `looks` gives it."""
        readings: list[Reading] = []
        for first in range(0, len(clips), BATCH):
            names, tones, order = self(torch.stack(list(clips[first : first + BATCH])))
            readings += map(reading, names, tones, order.sigmoid().tolist())
        return readings


def _conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _scaled(frames: Tensor) -> Tensor:
    """(B, T, H, W, 3) uint8 -> (B, T, 3, H, W) float"""
    return to_float(frames.permute(0, 1, 4, 2, 3))


def _planes(x: Tensor) -> Tensor:
    return x.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _pooled(x: Tensor) -> Tensor:
    return torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)


def load_sticker_judge(path: Path = WEIGHTS) -> StickerJudge:
    """The judge that comes with the package. Raises WeightsError where its weights are missing or do not fit."""
    judge = StickerJudge()
    try:
        weights = {name: value.float() for name, value in load_file(path).items()}
        # norms count their batches in whole numbers, which only training needs
        counted = {name: value for name, value in judge.state_dict().items() if not value.is_floating_point()}
        judge.load_state_dict({**counted, **weights})
    except (OSError, RuntimeError, SafetensorError) as error:
        raise WeightsError(
            f"{path} is missing or damaged. Make it again: python -m minisora.eval.sticker_judge."
        ) from error
    return judge.eval().requires_grad_(False)


def save_sticker_judge(judge: StickerJudge, path: Path = WEIGHTS) -> None:
    """Weights in float16."""
    state = {name: value.half().contiguous() for name, value in judge.state_dict().items() if value.is_floating_point()}
    save_tensors(state, path)


def singles(first_seed: int, number: int, *, split: str) -> list[tuple[int, Staging]]:
    """The first stagings of a single sticker from a seed on, each with its seed."""
    drawn = ((seed, stickers.draw(seed, split=split)) for seed in count(first_seed))
    return list(islice((one for one in drawn if len(one[1].actors) == 1), number))


@dataclass(frozen=True, eq=False)
class Examples:
    """Worn pictures and clips of one sticker each, and what is true of them."""

    pictures: Tensor  # (PICTURES, SIDE, SIDE, 3) uint8
    cover: Tensor  # (PICTURES, SIDE / _CELL, SIDE / _CELL) share of a cell that the sticker covers
    clips: Tensor  # (CLIPS, NUM_FRAMES, SIDE, SIDE, 3) uint8
    names: Tensor  # (PICTURES + CLIPS,) of `words`
    tones: Tensor  # (PICTURES + CLIPS,) of TONES_TOLD
    forward: Tensor  # (CLIPS,) 1, or -1 where the frames are in reverse order


def examples(seed: int) -> Examples:
    """Both splits: what training never shows must be read as well as the rest.

    Each clip is a stretch that begins anywhere in the first PIVOT seconds. All the stretches together are as likely in
    reverse, as far as the stage goes (a slide to the middle and one away from it, every height of a bob): only the
    sticker's own motion tells forward from backward.
    """
    random, generator = Random(f"judged {seed}"), torch.Generator().manual_seed(seed)
    pictures, cover, clips, forward, shown = [], [], [], [], []
    for n in range(PICTURES):
        if n % 8 == 0:  # one backdrop for several: each shows its own part of it
            ground = backdrop(stickers.draw(seed + n).background, SIDE, SIDE)[None] * 255
            ground = F.interpolate(ground, (2 * SIDE, 2 * SIDE), mode="bilinear")
        shown.append(stickers.sticker(random.choice(random.choice(split_keys("train" if n % 4 else "held_out")))))
        picture, alpha = _picture(shown[-1], ground, random)
        pictures.append(wear(picture, generator)[0])
        cover.append(F.avg_pool2d(alpha, _CELL)[0])
    for split, number in (("train", CLIPS - CLIPS // 4), ("held_out", CLIPS // 4)):
        for _, staging in singles(seed, number, split=split):
            clip = rendered(staging, SIDE, SIDE, start=random.uniform(0, PIVOT))
            forward.append(random.choice((1.0, -1.0)))  # turned round before it is worn: wear smears forward
            clips.append(wear(clip if forward[-1] > 0 else clip.flip(0), generator))
            shown.append(stickers.sticker(staging.actors[0].key))
    names = torch.tensor([words().index(each.words) for each in shown])
    tones = torch.tensor([TONES_TOLD.index(each.tone or TONES_TOLD[0]) for each in shown])
    return Examples(torch.stack(pictures), torch.stack(cover), torch.stack(clips), names, tones, torch.tensor(forward))


def _picture(shown: Sticker, ground: Tensor, random: Random) -> tuple[Tensor, Tensor]:
    """A frame of a sticker, as `render` might show it at some moment, but drawn quickly.

    ground:  (1, 3, 2 * SIDE, 2 * SIDE) float 0..255; a part of it is behind the sticker
    returns  (1, SIDE, SIDE, 3) uint8, and alpha as (1, SIDE, SIDE) in 0..1
    """
    frames = _frames(shown.key)
    frame = frames[random.randrange(len(frames))].permute(1, 0, 2)[None].float()
    scale = random.uniform(0.33, 0.9) * SIDE / LONG_SIDES[-1]  # as long as the actors of `draw` become
    height, width = (max(1, round(scale * side)) for side in frame.shape[2:])
    frame = F.interpolate(frame, (height, width), mode="bilinear", antialias=True)
    top = round(SIDE * random.uniform(0.35, 0.65) - height / 2)
    left = round(SIDE * (0.5 + random.uniform(-0.3, 0.3) * random.random()) - width / 2)
    frame = F.pad(frame, (left, SIDE - width - left, top, SIDE - height - top))  # less than none cuts off
    alpha = frame[:, 3:] / 255
    behind = ground.narrow(2, random.randint(0, SIDE), SIDE).narrow(3, random.randint(0, SIDE), SIDE)
    picture = behind * (1 - alpha) + frame[:, :3]
    return picture.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1), alpha[:, 0]


@functools.cache
def _frames(key: str) -> Tensor:
    """(T, h, 4, w): every fourth, held in memory: opening the file anew costs more than drawing it."""
    return torch.from_numpy(load(key, LONG_SIDES[-1])[::4].copy())


def rendered(staging: Staging, height: int, width: int, *, start: float = 0.0) -> Tensor:
    """(NUM_FRAMES, height, width, 3) uint8, from `start` seconds on."""
    return stickers.render([staging], height=height, width=width, fps=FPS, num_frames=NUM_FRAMES, start=start)[0]


def losses(judge: StickerJudge, batch: Examples) -> Tensor:
    """(4,) of names, tones, where and order: the last from the clips, of which the others see one frame each."""
    frames = torch.cat([batch.pictures, batch.clips[:, int(torch.randint(NUM_FRAMES, ()))]])
    names, tones, seen, cover = judge.what(frames[:, None])
    where = F.binary_cross_entropy_with_logits(cover[:PICTURES], batch.cover)
    order = F.softplus(-batch.forward * judge.when(batch.clips, seen[PICTURES:])).mean()
    return torch.stack([F.cross_entropy(names, batch.names), F.cross_entropy(tones, batch.tones), where, order])


def fit_judge(path: Path = WEIGHTS, *, steps: int = 2400) -> StickerJudge:
    """Render, fit, save, check. Renders are made ahead, as many at once as there are cores.

    steps: each of PICTURES and CLIPS that are new; 2400 are about 12 minutes of two quiet cores
    """
    torch.manual_seed(0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, cores // 2))  # rendering takes more of the time than fitting
    judge = StickerJudge()
    judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    optimizer = torch.optim.AdamW(judge.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.15)
    seeds = STICKER_JUDGE[: 2 * PICTURES * steps : 2 * PICTURES]  # examples take those that follow
    mean = torch.zeros(4)
    for step, batch in enumerate(ahead(examples, seeds, workers=cores)):
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bf16(torch.device("cpu"))):
            parts = losses(judge, batch)
        optimizer.zero_grad()
        parts.sum().backward()
        nn.utils.clip_grad_norm_(judge.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        mean = parts.detach().lerp(mean, 0.95 if step else 0.0)
        if step % 20 == 19 or step + 1 == steps:
            told = " ".join(f"{value:.3f}" for value in mean.tolist())
            print(f"step {step + 1} of {steps}: losses of names, tones, where, order {told}", flush=True)
    judge.eval().requires_grad_(False)
    save_sticker_judge(judge, path)
    for worn in (False, True):
        told = ", ".join(f"{name} {value:.3f}" for name, value in accuracies(judge, worn=worn).items())
        print(f"unseen real stagings{', worn' if worn else ''}: {told}", flush=True)
    return judge


def accuracies(judge: StickerJudge, *, number: int = 200, worn: bool = False) -> dict[str, float]:
    """Shares read rightly of `number` stagings of each split, one sticker each, that the fit did not see.

    person, activity, tone: of the held-out combinations; order: of the clips whose order it is sure of
    """
    drawn = [one for split in ("train", "held_out") for one in singles(STICKER_JUDGE_UNSEEN.start, number, split=split)]
    generator = torch.Generator().manual_seed(0)
    clips = [looks(rendered(staging, 96, 96), FPS) for _, staging in drawn]
    readings = judge.read([wear(clip, generator) for clip in clips] if worn else clips)
    pairs = list(zip(readings, (stickers.sticker(staging.actors[0].key) for _, staging in drawn), strict=True))
    sure = [told.forward for told in readings if max(told.forward, 1 - told.forward) >= SURE]
    return {
        "name": sum(told.names[0] == shown.words for told, shown in pairs) / len(pairs),
        f"name in {BEST}": sum(shown.words in told.names for told, shown in pairs) / len(pairs),
        "person": sum(told.person == shown.person for told, shown in pairs[number:]) / number,
        "activity": sum(told.activity == shown.activity for told, shown in pairs[number:]) / number,
        "tone": sum(told.tone == shown.tone for told, shown in pairs[number:]) / number,
        "order sure": len(sure) / len(pairs),
        "order": sum(forward > 0.5 for forward in sure) / max(1, len(sure)),
    }


def _main() -> None:
    parser = argparse.ArgumentParser(description="Fit the judge of stickers anew.")
    parser.add_argument("--steps", type=int, default=2400, help=f"of {PICTURES} pictures and {CLIPS} clips each")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the weights' file")
    chosen = parser.parse_args()
    fit_judge(chosen.out, steps=chosen.steps)


if __name__ == "__main__":
    from minisora.eval import sticker_judge  # under its own name: what workers are sent must not be of __main__

    sticker_judge._main()
