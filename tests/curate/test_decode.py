"""Decoding in processes equals decoding here; a hanging or crashing sample costs only itself."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from minisora.curate.decode import Decode, decoded
from minisora.curate.write import encode
from minisora.data.clips import on_grid, to_clip
from minisora.data.shards import Shards, ShardWriter
from minisora.errors import UsageError
from minisora.workers.pool import Pool
from minisora.worlds.clip import Clip

HANGS, CRASHES, GARBAGE, SILENT, SMALL = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Unlucky(Decode):
    """Some samples take their process with them."""

    def __call__(self, rows: pa.Table, /) -> pa.Table:
        if HANGS in rows.column("index").to_pylist():
            time.sleep(600)
        if CRASHES in rows.column("index").to_pylist():
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().__call__(rows)


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    with ShardWriter(tmp_path) as writer:
        for n in range(7):
            side = 4 if n == SMALL else 20 + 2 * n
            frames = torch.randint(0, 256, (7, side, 32, 3), generator=torch.Generator().manual_seed(n)).byte()
            video = encode(iter([frames]), fps=8.0, codec="lossless", crf=0)
            captions = [] if n == SILENT else [{"text": f"clip {n}", "start": 0.0, "stop": 0.75}]
            about = json.dumps({"fps": 8.0, "captions": captions}).encode()
            writer.add(f"clip-{n}", {"mp4": bytes(900) if n == GARBAGE else video, "json": about})
    return Shards(tmp_path)


def test_what_can_be_decoded_is_and_the_rest_is_named(shards):
    stage = Unlucky(shards, side=8, group=4)
    found: dict[int, Clip | str] = {}
    for chosen, seconds in (([HANGS], 1), ([n for n in range(7) if n != HANGS], 300)):
        with Pool(stage, workers=1, timeout_seconds=seconds) as pool:
            rows = [each for result in pool.run(stage.rows(chosen)) for each in decoded(result)]
        assert [n for n, _ in rows] == chosen
        found.update(rows)
    for n in (0, 6):
        alone, clip = on_grid(to_clip(f"clip-{n}", shards.read(n)), side=8, group=4), found[n]
        assert isinstance(clip, Clip) and torch.equal(clip.frames, alone.frames) and len(clip.frames) == 5
        assert (clip.key, clip.fps, clip.captions) == (alone.key, alone.fps, alone.captions)
    for n, says in {
        HANGS: "sample clip-1: timeout, not done after 1 s",
        CRASHES: "sample clip-2: crashed, its process was ended by SIGSEGV",
        GARBAGE: "sample clip-3 is not a curated clip: InvalidDataError",
        SILENT: "clip clip-4 has no caption",
        SMALL: "clip clip-5 of 32x4 is smaller than 8 pixels",
    }.items():
        assert isinstance(found[n], str) and says in found[n], found[n]


def test_a_shard_that_is_gone_ends_it(shards):
    (shards.folder / "shard-000000.tar").unlink()
    stage = Decode(shards, side=8, group=4)
    with Pool(stage, workers=1, timeout_seconds=60) as pool, pytest.raises(UsageError, match="is gone"):
        list(pool.run(stage.rows([0])))
