"""Batches of latents: the same from any number of processes.

Broken samples are replaced, pictures keep their share.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minisora.data.latents import LatentBatch, LatentBatches, from_members, to_members
from minisora.data.shards import Shards, ShardWriter
from minisora.data.windows import StoredClip, WindowConfig
from minisora.workers.ahead import ahead
from minisora.worlds.clip import Caption

WINDOWS = WindowConfig(lengths=((2, 0.4), (3, 0.6)), begin_later=0.0, extra_frame=0.0)
BUDGET = 96


def flops(lengths: tuple[int, ...], text_lengths: tuple[int, ...]) -> float:
    return float(sum(lengths) + sum(text_lengths))


def stored(folder: Path, count: int, latents: int, mark: float) -> Shards:
    """Clips of (latents, 2, 4) cells whose values name source and clip: mark + n."""
    with ShardWriter(folder, max_bytes=20_000) as writer:
        for n in range(count):
            clip = StoredClip(
                groups=torch.full((latents, 2, 4, 3), mark + n),
                singles=torch.full((latents, 2, 4, 3), mark + n),
                frames=tuple(range(0, 4 * latents, 4)),
                fps=8.0,
                captions=(Caption(f"clip {n}", 0.0, (latents - 1) / 2),),
                texts=(torch.full((2 + n % 3, 5), float(n)),),
            )
            writer.add(f"clip-{n}", to_members(clip, [2 + n % 3], {}))
    return Shards(folder)


@pytest.fixture
def batches(tmp_path: Path) -> LatentBatches:
    """Two sources of clips, one and three."""
    sources = [(stored(tmp_path / "a", 10, 3, 0.0), 0.25), (stored(tmp_path / "b", 30, 3, 100.0), 0.75)]
    return LatentBatches(
        sources=sources,
        null_text=torch.zeros(1, 5),
        windows=WINDOWS,
        patch=(1, 1, 1),
        budget=BUDGET,
        time_rate=2.0,
        flops=flops,
    )


def flat(batch: LatentBatch) -> list[object]:
    return [value.tolist() if isinstance(value, torch.Tensor) else value for value in vars(batch.clean).values()] + [
        batch.loss_mask.tolist(),
        batch.flops,
    ]


def clips_in(batch: LatentBatch) -> list[float]:
    """The mark of each window."""
    return [float(part[0, 0]) for part in batch.clean.tokens.split(batch.clean.lengths)]


def test_any_number_of_processes_makes_the_same_and_goes_on_from_a_step(batches, capfd):
    tar = batches.sources[1][0].folder / "shard-000001.tar"
    data = bytearray(tar.read_bytes())
    data[700:800] = bytes(100)
    tar.write_bytes(data)
    alone = [flat(batches(step)) for step in range(12)]
    assert "skipped: " in capfd.readouterr().err
    for workers in (1, 3):
        assert [flat(batch) for batch in ahead(batches, range(4, 12), workers=workers)] == alone[4:]


def test_a_sample_that_holds_something_else_gives_way_to_the_next(batches, tmp_path, capfd):
    before = [clips_in(batches(step)) for step in range(6)]
    with ShardWriter(tmp_path / "c") as writer:
        for n in range(30):
            members = batches.sources[1][0].read(n)
            writer.add(f"clip-{n}", {**members, "latents.safetensors": b"garbage"} if n == 7 else members)
    broken = replace(batches, sources=[batches.sources[0], (Shards(tmp_path / "c"), 0.75)])
    after = [clips_in(broken(step)) for step in range(6)]
    assert any(107.0 in row for row in before)
    assert [sorted(108.0 if mark == 107.0 else mark for mark in row) for row in before] == [
        sorted(row) for row in after
    ]
    assert "sample clip-7 holds no latents: SafetensorError" in capfd.readouterr().err


def test_sources_come_by_their_weights(batches):
    drawn = Counter(mark >= 100 for step in range(150) for mark in clips_in(batches(step)))
    assert drawn[True] / drawn.total() == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_pictures_have_the_same_share_of_every_step(batches, tmp_path, share):
    pictures = [(stored(tmp_path / "p", 8, 1, 200.0), 0.5), (batches.sources[0][0], 0.5)]
    mixed = replace(batches, pictures=pictures, picture_share=share)
    for step in range(40):
        batch = mixed(step)
        single = batch.clean.single & (torch.tensor([n == 8 for n in batch.clean.lengths for _ in range(n)]))
        assert int(single.sum()) == share * BUDGET
        assert batch.tokens <= BUDGET and all(n in (8, 16, 24) for n in batch.clean.lengths)
        marks = clips_in(batch)
        assert all(n == 8 for n, mark in zip(batch.clean.lengths, marks, strict=True) if mark >= 200)
    assert {mark >= 200 for step in range(20) for mark in clips_in(mixed(step))} == {False, True}


def test_hints_and_dense_captions_are_kept_and_may_be_left_out(batches, tmp_path):
    clip = StoredClip(
        groups=torch.ones(1, 2, 4, 3),
        singles=torch.ones(1, 2, 4, 3),
        frames=(0,),
        fps=8.0,
        captions=(Caption("a ball", 0.0, 0.0), Caption("a ball; on sand", 0.0, 0.0, dense=True)),
        texts=(torch.ones(2, 5), torch.ones(3, 5)),
        hints=torch.arange(2 * 8 * 2, dtype=torch.int8).view(2, 2, 4, 2),
    )
    read = from_members(to_members(clip, [2, 3], {}))
    assert read.captions == clip.captions and [len(text) for text in read.texts] == [2, 3]
    assert read.hints is not None and torch.equal(read.hints, clip.hints)
    with ShardWriter(tmp_path / "hinted") as writer:
        writer.add("clip", to_members(clip, [2, 3], {}))
    asked = replace(batches, sources=[(Shards(tmp_path / "hinted"), 1.0)])
    hints = asked(0).hints
    assert hints is not None and hints.shape == (BUDGET, 2) and hints.dtype == torch.int64
    assert replace(asked, hints=False)(0).hints is None and batches(0).hints is None
