"""Batches for the transformer from shards of latents: packs, filled to a token budget.

A sample in a shard:

    latents.safetensors  groups (1 + K, Hz, Wz, Cz) and singles (M, Hz, Wz, Cz), float16
    text.safetensors     tokens (S, Dt) float16 of all captions end to end
    hints.safetensors    content labels of the cells, (1 + K + M, Hz, Wz, questions) int8, if known
    json                 fps, frames in a group, frame numbers of the singles; captions, the seconds
                         they hold for, their lengths, whether they are dense

Here: reading them, and the batch of a step, a pure function of (seed, step). Not here: windows and
their conditioning (windows.py), writing the shards (train/latents.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from minisora.data.order import sample_at
from minisora.data.pack import Pack, distinct_times
from minisora.data.patch import grid_positions, patchify
from minisora.data.shards import BrokenSample, Shards
from minisora.data.windows import StoredClip, Window, WindowConfig, draw_window
from minisora.errors import UsageError
from minisora.worlds.clip import Caption


def to_members(clip: StoredClip, lengths: Sequence[int], truth: Mapping[str, Any]) -> dict[str, bytes]:
    """Encode a sample to bytes by suffix. `lengths`: text tokens of each caption."""
    about = {
        "fps": clip.fps,
        "stride": clip.stride,
        "frames": list(clip.frames),
        "captions": [[c.text, c.start, c.stop, n, c.dense] for c, n in zip(clip.captions, lengths, strict=True)],
        "truth": dict(truth),
    }
    latents = {"groups": clip.groups.half().contiguous(), "singles": clip.singles.half().contiguous()}
    hints = {} if clip.hints is None else {"hints.safetensors": save({"hints": clip.hints.contiguous()})}
    return {
        "latents.safetensors": save(latents),
        "text.safetensors": save({"tokens": torch.cat(clip.texts).half()}),
        **hints,
        "json": json.dumps(about, ensure_ascii=False).encode(),
    }


def from_members(members: Mapping[str, bytes]) -> StoredClip:
    latents, about = load(members["latents.safetensors"]), json.loads(members["json"])
    text = load(members["text.safetensors"])["tokens"].float()
    return StoredClip(
        groups=latents["groups"].float(),
        singles=latents["singles"].float(),
        frames=tuple(about["frames"]),
        fps=about["fps"],
        captions=tuple(Caption(text, start, stop, *dense) for text, start, stop, _, *dense in about["captions"]),
        texts=text.split([length for _, _, _, length, *_ in about["captions"]]),
        hints=load(members["hints.safetensors"])["hints"] if "hints.safetensors" in members else None,
        stride=about.get("stride", 4),  # older files lack the field
    )


@dataclass(frozen=True, eq=False)
class LatentBatch:
    """A pack of clean tokens, and the mask of those that carry loss."""

    clean: Pack
    loss_mask: Tensor  # (L,) bool
    flops: float
    hints: Tensor | None = None  # (L, questions) int64, if known

    @property
    def tokens(self) -> int:
        return len(self.loss_mask)

    def to(self, device: torch.device) -> LatentBatch:
        hints = None if self.hints is None else self.hints.to(device)
        return replace(self, clean=self.clean.to(device), loss_mask=self.loss_mask.to(device), hints=hints)


@dataclass(frozen=True, kw_only=True)
class LatentBatches:
    """step -> LatentBatch. A broken sample is replaced by the next whole one.

    sources:       shards and the weight with which a sample is drawn from them
    budget:        most tokens in a pack; samples are added until the next does not fit
    time_rate:     RoPE positions per second
    flops:         FLOPs of one forward pass, from the lengths of clips and texts
    pictures:      more such sources, of which single frames are taken
    picture_share: share of every budget that is filled from `pictures` first
    hints:         include hints, if all samples of a pack have them
    """

    sources: Sequence[tuple[Shards, float]]
    null_text: Tensor
    windows: WindowConfig
    patch: tuple[int, int, int]
    budget: int
    time_rate: float
    flops: Callable[[tuple[int, ...], tuple[int, ...]], float]
    pictures: Sequence[tuple[Shards, float]] = ()
    picture_share: float = 0.0
    hints: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        assert 0 <= self.picture_share <= 1 and bool(self.pictures) == (self.picture_share > 0), self.picture_share

    def __call__(self, step: int) -> LatentBatch:
        room = round(self.picture_share * self.budget)
        single = replace(self.windows, lengths=((1, 1.0),))
        chosen = self._filled(step, self.pictures, single, room, 0) if self.pictures else []
        if self.picture_share < 1:
            taken = sum(window.loss_mask.numel() for window in chosen)
            chosen += self._filled(step, self.sources, self.windows, self.budget - taken, len(chosen))
        if not chosen:
            raise UsageError(
                f"a window of these clips has more tokens than a pack may, {self.budget}: "
                f"raise `budget` in the recipe, or give smaller or shorter clips."
            )
        # attention takes neighbours of equal length in one call
        chosen.sort(key=lambda window: window.loss_mask.numel())
        return self._laid_out(chosen)

    def _filled(
        self, step: int, sources: Sequence[tuple[Shards, float]], windows: WindowConfig, room: int, place: int
    ) -> list[Window]:
        """Draw windows of at most `room` tokens in all, from `place` of the step on."""
        chosen: list[Window] = []
        while True:
            rng = Random(f"{self.seed}/{step}/{place + len(chosen)}")
            shards, _ = rng.choices(sources, [weight for _, weight in sources])[0]
            # a place's position among all draws; the stride only has to exceed the places of a step
            index = sample_at(self.seed, step * 4096 + place + len(chosen), len(shards))
            window = draw_window(shards.read_whole(index, _stored), self.null_text, windows, self.patch[1:], rng)
            if window.loss_mask.numel() > room:
                return chosen
            room -= window.loss_mask.numel()
            chosen.append(window)

    def _laid_out(self, windows: list[Window]) -> LatentBatch:
        lengths = tuple(window.loss_mask.numel() for window in windows)
        text_lengths = tuple(len(window.text) for window in windows)
        times, index = distinct_times(torch.cat([window.times.flatten() for window in windows]))
        pack = Pack(
            tokens=torch.cat([patchify(window.latents[None], self.patch)[0] for window in windows]),
            times=times,
            time_index=index,
            positions=torch.cat([grid_positions(w.seconds * self.time_rate, *w.loss_mask.shape[1:]) for w in windows]),
            single=torch.cat([window.single.repeat_interleave(window.loss_mask[0].numel()) for window in windows]),
            lengths=lengths,
            text=torch.cat([window.text for window in windows]),
            text_lengths=text_lengths,
        )
        loss_mask = torch.cat([window.loss_mask.flatten() for window in windows])
        known = [window.hints.flatten(0, 2) for window in windows if window.hints is not None]
        hints = torch.cat(known).long() if self.hints and len(known) == len(windows) else None
        return LatentBatch(pack, loss_mask, 3 * self.flops(lengths, text_lengths), hints)


def _stored(key: str, members: Mapping[str, bytes]) -> StoredClip:
    try:
        return from_members(members)
    except (KeyError, RuntimeError, TypeError, ValueError, SafetensorError) as error:
        raise BrokenSample(f"sample {key} holds no latents: {type(error).__name__}: {error}.") from error
