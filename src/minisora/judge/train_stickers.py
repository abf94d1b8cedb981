"""Training of the stickers' judge, on pictures and clips of single stickers, degraded by wear.

    python -m minisora.judge stickers

writes `stickers.safetensors`; run it again after a change of the stickers' look.

Here: examples, losses, the fit and its accuracy. Not here: the network (stickers.py).
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisora.device import has_fast_bf16
from minisora.judge.network import save_judge
from minisora.judge.stickers import (
    BEST,
    CELL,
    FPS,
    NUM_FRAMES,
    SIDE,
    SURE,
    TONE_CLASSES,
    StickerJudge,
    looks,
    rendered,
    singles,
    words,
)
from minisora.workers.ahead import ahead
from minisora.worlds import stickers
from minisora.worlds.seeds import STICKER_JUDGE, STICKER_JUDGE_UNSEEN
from minisora.worlds.stickers.backdrop import backdrop
from minisora.worlds.stickers.names import Sticker, split_keys
from minisora.worlds.stickers.staging import PIVOT
from minisora.worlds.stickers.store import LONG_SIDES, load
from minisora.worlds.wear import wear

STEPS = 2400
PICTURES, CLIPS = 128, 12  # of a step: names are learnt from single pictures for the most part


@dataclass(frozen=True, eq=False)
class Examples:
    """Pictures and clips of one sticker each, with wear, and their labels."""

    pictures: Tensor  # (PICTURES, SIDE, SIDE, 3) uint8
    cover: Tensor  # (PICTURES, SIDE / CELL, SIDE / CELL) share of a cell that the sticker covers
    clips: Tensor  # (CLIPS, NUM_FRAMES, SIDE, SIDE, 3) uint8
    names: Tensor  # (PICTURES + CLIPS,) of `words`
    tones: Tensor  # (PICTURES + CLIPS,) of TONE_CLASSES
    forward: Tensor  # (CLIPS,) 1, or -1 where the frames are in reverse order


def examples(seed: int) -> Examples:
    """Examples of both splits, as the judge must also read held-out combinations.

    Clips begin anywhere in the first PIVOT seconds. The motion on the stage (slides to the middle
    and away from it, every phase of a bob) is as likely in reverse: only the sticker's own motion
    distinguishes forward from backward.
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
        cover.append(F.avg_pool2d(alpha, CELL)[0])
    for split, number in (("train", CLIPS - CLIPS // 4), ("held_out", CLIPS // 4)):
        for _, staging in singles(seed, number, split=split):
            clip = rendered(staging, SIDE, SIDE, start=random.uniform(0, PIVOT))
            forward.append(random.choice((1.0, -1.0)))  # turned round before it is worn: wear smears forward
            clips.append(wear(clip if forward[-1] > 0 else clip.flip(0), generator))
            shown.append(stickers.sticker(staging.actors[0].key))
    names = torch.tensor([words().index(each.words) for each in shown])
    tones = torch.tensor([TONE_CLASSES.index(each.tone or TONE_CLASSES[0]) for each in shown])
    return Examples(torch.stack(pictures), torch.stack(cover), torch.stack(clips), names, tones, torch.tensor(forward))


def _picture(shown: Sticker, ground: Tensor, random: Random) -> tuple[Tensor, Tensor]:
    """Draw a frame of a sticker like `render` does at some moment, but faster.

    ground:  (1, 3, 2 * SIDE, 2 * SIDE) float 0..255; a crop of it is the backdrop
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
    """Every fourth animation, (T, h, 4, w), held in memory.

    Opening the file again costs more than drawing it.
    """
    return torch.from_numpy(load(key, LONG_SIDES[-1])[::4].copy())


def losses(judge: StickerJudge, batch: Examples) -> Tensor:
    """Losses (4,) of names, tones, mask and order; all but the last see one frame of a clip."""
    frames = torch.cat([batch.pictures, batch.clips[:, int(torch.randint(NUM_FRAMES, ()))]])
    names, tones, seen, cover = judge.what(frames[:, None])
    where = F.binary_cross_entropy_with_logits(cover[:PICTURES], batch.cover)
    order = F.softplus(-batch.forward * judge.when(batch.clips, seen[PICTURES:])).mean()
    return torch.stack([F.cross_entropy(names, batch.names), F.cross_entropy(tones, batch.tones), where, order])


def train(path: Path | None = None, *, steps: int = STEPS) -> StickerJudge:
    """Render, fit, save, check. Rendering runs ahead in as many processes as there are cores.

    path:  of the weights; None: the package's own, which are replaced
    steps: each with new PICTURES and CLIPS; STEPS take about 12 minutes on two quiet cores
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
            figures = " ".join(f"{value:.3f}" for value in mean.tolist())
            print(f"step {step + 1} of {steps}: losses of names, tones, where, order {figures}", flush=True)
    judge.eval().requires_grad_(False)
    save_judge(judge, path)
    for worn in (False, True):
        figures = ", ".join(f"{name} {value:.3f}" for name, value in accuracies(judge, worn=worn).items())
        print(f"unseen real stagings{', worn' if worn else ''}: {figures}", flush=True)
    return judge


def accuracies(judge: StickerJudge, *, number: int = 200, worn: bool = False) -> dict[str, float]:
    """Accuracy on `number` unseen stagings of each split, with one sticker each.

    person, activity, tone: on the held-out combinations
    order: on the clips whose order the judge is sure of
    """
    drawn = [one for split in ("train", "held_out") for one in singles(STICKER_JUDGE_UNSEEN.start, number, split=split)]
    generator = torch.Generator().manual_seed(0)
    clips = [looks(rendered(staging, 96, 96), FPS) for _, staging in drawn]
    readings = judge.read([wear(clip, generator) for clip in clips] if worn else clips)
    pairs = list(zip(readings, (stickers.sticker(staging.actors[0].key) for _, staging in drawn), strict=True))
    sure = [reading.forward for reading in readings if max(reading.forward, 1 - reading.forward) >= SURE]
    return {
        "name": sum(reading.names[0] == shown.words for reading, shown in pairs) / len(pairs),
        f"name in {BEST}": sum(shown.words in reading.names for reading, shown in pairs) / len(pairs),
        "person": sum(reading.person == shown.person for reading, shown in pairs[number:]) / number,
        "activity": sum(reading.activity == shown.activity for reading, shown in pairs[number:]) / number,
        "tone": sum(reading.tone == shown.tone for reading, shown in pairs[number:]) / number,
        "order sure": len(sure) / len(pairs),
        "order": sum(forward > 0.5 for forward in sure) / max(1, len(sure)),
    }
