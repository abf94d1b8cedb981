"""The judge of stickers: frames to names, skin tone and the direction of time, learnt from real stagings alone.

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
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from random import Random

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.data.ahead import ahead
from minisora.device import has_fast_bf16
from minisora.errors import WeightsError
from minisora.eval.segment import wear
from minisora.video import fit
from minisora.worlds import stickers
from minisora.worlds.stickers.names import TONES
from minisora.worlds.stickers.staging import PIVOT, Staging

WEIGHTS: Path = Path(__file__).parent / "sticker_judge.safetensors"
FIRST_SEED = 600_000_000  # the report's own begin elsewhere: stickers.FIRST_SEED
UNSEEN_SEED = 650_000_000  # of the stagings on which the fit is checked
SIDE, NUM_FRAMES, FPS = 64, 17, 8.0  # what the judge looks at
TONES_TOLD = ("none", *TONES.values())
SURE = 0.9  # of the direction of time; stickers that move the same way forward and backward stay below
BEST = 5  # names that are told
BATCH = 48
_WIDTH, _STEP_WIDTH, _TIME_WIDTH = 192, 96, 64


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
            _conv(3, 32, kernel=4, stride=2),
            _conv(32, 64, stride=2),
            _conv(64, 64),
            _conv(64, 128, stride=2),
            _conv(128, 128),
            _conv(128, _WIDTH, stride=2),
            _conv(_WIDTH, _WIDTH),
        )
        self.names = nn.Linear(2 * _WIDTH, len(words()))
        self.tones = nn.Linear(2 * _WIDTH, len(TONES_TOLD))
        self.step = nn.Sequential(  # three neighbouring frames at once
            _conv(9, 48, kernel=6, stride=4), _conv(48, 64, stride=2), _conv(64, 64), _conv(64, _STEP_WIDTH, stride=2)
        )
        self.time = nn.Conv1d(2 * _STEP_WIDTH, _TIME_WIDTH, 3, padding=1)
        self.shown = nn.Linear(2 * _WIDTH, _TIME_WIDTH)
        self.order = nn.Sequential(nn.Linear(3 * _TIME_WIDTH, 64), nn.ReLU(inplace=True), nn.Linear(64, 1))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        names, tones, shown = self.what(frames[:, ::2])
        return names, tones, self.when(frames, shown)

    def what(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, SIDE, SIDE, 3) uint8, any T -> logits of names and of tones, each the mean of the frames' own; and
        (B, 2 * _WIDTH) of what is seen."""
        x = self.look(_planes(_scaled(frames)))
        seen = torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1).unflatten(0, frames.shape[:2]).mean(1)
        return self.names(seen).float(), self.tones(seen).float(), seen

    def when(self, frames: Tensor, seen: Tensor) -> Tensor:
        """(B, NUM_FRAMES, SIDE, SIDE, 3) uint8 and what is seen in them -> (B,) logits of forward in time."""
        x = _scaled(frames)
        # what is shown tells how it should move, but must not be seen otherwise for that: detach
        forward, backward = self._order(torch.cat([x, x.flip(1)]), seen.detach().repeat(2, 1)).chunk(2)
        return (forward - backward).float()

    def _order(self, x: Tensor, seen: Tensor) -> Tensor:
        """(B, T, 3, H, W) and (B, 2 * _WIDTH) -> (B,)"""
        threes = torch.cat([x[:, :-2:2], x[:, 1:-1:2], x[:, 2::2]], 2)
        steps = self.step(_planes(threes))
        steps = torch.cat([steps.amax((2, 3)), steps.mean((2, 3))], 1).unflatten(0, threes.shape[:2])
        times = F.relu(self.time(steps.mT))
        told: Tensor = self.order(torch.cat([times.mean(2), times.amax(2), F.relu(self.shown(seen))], 1))
        return told[:, 0]

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
    return frames.permute(0, 1, 4, 2, 3).float() / 127.5 - 1


def _planes(x: Tensor) -> Tensor:
    return x.flatten(0, 1).contiguous(memory_format=torch.channels_last)


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
    save_file(state, path)


def singles(first_seed: int, number: int, *, split: str) -> list[tuple[int, Staging]]:
    """The first stagings of a single sticker from a seed on, each with its seed."""
    drawn = ((seed, stickers.draw(seed, split=split)) for seed in count(first_seed))
    return list(islice((one for one in drawn if len(one[1].actors) == 1), number))


@dataclass(frozen=True, eq=False)
class Examples:
    """Worn clips and what is true of them. Where several stickers are shown, each has its share of the answer."""

    frames: Tensor  # (B, NUM_FRAMES, SIDE, SIDE, 3) uint8
    names: Tensor  # (B, words) shares
    tones: Tensor  # (B, TONES_TOLD) shares
    forward: Tensor  # (B,) 1, or -1 where the frames are in reverse order


def examples(seeds: Sequence[int]) -> Examples:
    """Both splits: what training never shows must be read as well as the rest.

    Each is a stretch that begins anywhere in the first PIVOT seconds. All the stretches together are as likely in
    reverse, as far as the stage goes (a slide to the middle and one away from it, every height of a bob): only the
    sticker's own motion tells forward from backward.
    """
    frames, forward = [], []
    names, tones = torch.zeros(len(seeds), len(words())), torch.zeros(len(seeds), len(TONES_TOLD))
    for n, seed in enumerate(seeds):
        random, generator = Random(f"judged {seed}"), torch.Generator().manual_seed(seed)
        staging = stickers.draw(seed, split="held_out" if seed % 4 == 0 else "train")
        clip = rendered(staging, SIDE, SIDE, start=random.uniform(0, PIVOT))
        forward.append(random.choice((1.0, -1.0)))  # turned round before it is worn: wear smears forward
        frames.append(wear(clip if forward[-1] > 0 else clip.flip(0), generator))
        for actor in staging.actors:
            shown = stickers.sticker(actor.key)
            names[n, words().index(shown.words)] += 1 / len(staging.actors)
            tones[n, TONES_TOLD.index(shown.tone or TONES_TOLD[0])] += 1 / len(staging.actors)
    return Examples(torch.stack(frames), names, tones, torch.tensor(forward))


def rendered(staging: Staging, height: int, width: int, *, start: float = 0.0) -> Tensor:
    """(NUM_FRAMES, height, width, 3) uint8, from `start` seconds on."""
    return stickers.render([staging], height=height, width=width, fps=FPS, num_frames=NUM_FRAMES, start=start)[0]


def loss(judge: StickerJudge, batch: Examples) -> Tensor:
    """Names and tones from three frames of each clip, the order from every second clip: more clips in the same time."""
    first = int(torch.randint(5, ()))
    names, tones, seen = judge.what(batch.frames[:, first::6])
    order = judge.when(batch.frames[::2], seen[::2])
    wrong = F.softplus(-batch.forward[::2] * order).mean()  # -log of the probability given to what is true
    return F.cross_entropy(names, batch.names) + F.cross_entropy(tones, batch.tones) + wrong


def fit_judge(path: Path = WEIGHTS, *, steps: int = 1300, seed: int = 0) -> StickerJudge:
    """Render, fit, save, check. Renders are made ahead, as many at once as there are cores.

    steps: each of BATCH new stagings; 1300 are about 12 minutes of two quiet cores
    """
    torch.manual_seed(seed)
    began = time.perf_counter()

    def tell(line: str) -> None:
        print(f"{time.perf_counter() - began:5.0f} s  {line}", file=sys.stderr, flush=True)

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, cores // 2))  # rendering takes more of the time than fitting
    judge = StickerJudge()
    judge.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks this form
    optimizer = torch.optim.AdamW(judge.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.15)
    first = FIRST_SEED + seed * steps * BATCH
    chunks = [range(first + n * BATCH, first + (n + 1) * BATCH) for n in range(steps)]
    mean = math.nan
    for step, batch in enumerate(ahead(examples, chunks, workers=cores)):
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bf16(torch.device("cpu"))):
            value = loss(judge, batch)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(judge.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        mean = value.item() if math.isnan(mean) else 0.95 * mean + 0.05 * value.item()
        if step % 20 == 19 or step + 1 == steps:
            tell(f"step {step + 1} of {steps}: loss {mean:.3f}")
    judge.eval().requires_grad_(False)
    save_sticker_judge(judge, path)
    for worn in (False, True):
        told = ", ".join(f"{name} {value:.3f}" for name, value in accuracies(judge, worn=worn).items())
        tell(f"unseen real stagings{', worn' if worn else ''}: {told}")
    return judge


def accuracies(judge: StickerJudge, *, number: int = 200, worn: bool = False) -> dict[str, float]:
    """Shares read rightly of `number` stagings of each split, one sticker each, that the fit did not see.

    person, activity, tone: of the held-out combinations; order: of the clips whose order it is sure of
    """
    drawn = [one for split in ("train", "held_out") for one in singles(UNSEEN_SEED, number, split=split)]
    generator = torch.Generator().manual_seed(0)
    clips = [looks(rendered(staging, 96, 96), FPS) for _, staging in drawn]
    readings = judge.read([wear(clip, generator) for clip in clips] if worn else clips)
    pairs = [
        (told, stickers.sticker(staging.actors[0].key)) for told, (_, staging) in zip(readings, drawn, strict=True)
    ]
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
    parser.add_argument("--steps", type=int, default=1300, help=f"of {BATCH} stagings each")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the weights' file")
    chosen = parser.parse_args()
    fit_judge(chosen.out, steps=chosen.steps)


if __name__ == "__main__":
    from minisora.eval import sticker_judge  # under its own name: what workers are sent must not be of __main__

    sticker_judge._main()
