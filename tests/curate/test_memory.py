"""A hundred thousand annotations in flat memory: a run in its own process, on synthetic scores.

Only decoding and coding are left out: the engine says at once what a million seconds of video would
have. Run alone, it takes a folder and a number of annotations: python tests/curate/test_memory.py
FOLDER 100000
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from minisora.curate.measure import Measure, columns
from minisora.curate.recipe import read_recipe
from minisora.curate.runner import run
from minisora.curate.table import Row
from minisora.curate.write import Cut
from minisora.device import peak_memory_bytes
from minisora.workers.pool import Stage

COUNT, EACH = 100_000, 100  # annotations, and of each file
MOST_BYTES = 2 * 2**30
RECIPE = """
out: out
input: {media: media, importer: table, annotations: clips.csv}
thresholds: {duration: [2, 9], sharpness: [0.2, null], caption_words: [3, 200]}
captions: {required: true}
duplicates: {distance: 6}
export: [datajuicer]
"""
SAID = {"height": 480.0, "width": 640.0, "fps": 24.0}


def prepare(folder: Path, count: int) -> None:
    (folder / "media").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    words = ["kite", "boat", "dog", "waves", "beach", "glides", "runs", "red", "long", "the", "over", "and"]
    draw = np.random.default_rng(1)
    with (folder / "clips.csv").open("w") as file:
        file.write("path,start,end,text,channel\n")
        for number in range(count):
            if number % EACH == 0:
                (folder / "media" / f"{number // EACH:06d}.mp4").touch()
            start = number % EACH * 10
            text = " ".join(draw.choice(words, draw.integers(2, 40)))
            stop = start + draw.integers(1, 10)
            file.write(f"{number // EACH:06d}.mp4,{start},{stop},{text},channel {number % 977}\n")


def made_up(stage: Stage, rows: pa.Table) -> Iterator[pa.Table]:
    """The engine of a world where every file is read at once.

    A third of its clips repeat one before, nearly.
    """
    draw = np.random.default_rng(0)
    names = ("key", "mp4", "reason", "message")
    coded = pa.schema([(name, pa.binary() if name == "mp4" else pa.string()) for name in names])
    for n in range(rows.num_rows):
        row = rows.slice(n, 1)
        if isinstance(stage, Measure):
            yield scored(stage, row.to_pylist()[0], draw)
        elif isinstance(stage, Cut):
            yield pa.Table.from_pylist([{"key": row.column("key")[0].as_py(), "mp4": b"no film"}], schema=coded)
        else:
            yield stage.failed(row, "none", "there is no film")


def scored(stage: Measure, unit: Row, draw: np.random.Generator) -> pa.Table:
    starts, stops, keys = (np.array(unit[name]) for name in ("starts", "stops", "rows"))
    count = len(starts)
    hashes = draw.integers(0, 2**64, (count, 4), np.uint64)
    hashes[2::3] = hashes[1::3][: len(hashes[2::3])] ^ np.uint64(5)
    given = {
        **{name: draw.random(count) for name in stage.scores},
        **{name: np.full(count, value) for name, value in SAID.items()},
        "duration": stops - starts,
        "work": [unit["work"]] * count,
        "row": keys,
        "key": keys,
        "source": [unit["source"]] * count,
        "start": starts,
        "stop": stops,
        "hashes": hashes.tolist(),
        "notes": [json.dumps({"crop": [0, 0, 0, 0], "camera": "static"})] * count,
        "error": [None] * count,
        "message": [None] * count,
    }
    held = columns(stage.scores)
    return pa.table({field.name: pa.array(given[field.name], field.type) for field in held}, schema=held)


@pytest.mark.long
def test_a_hundred_thousand_annotations_in_two_gigabytes(tmp_path):
    ended = subprocess.run([sys.executable, __file__, tmp_path / "run", str(COUNT)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    print(told)
    assert told["rows"] == COUNT and 0 < told["kept"] < told["rows"] and told["near-duplicate"] > 0
    assert told["peak_bytes"] < MOST_BYTES


if __name__ == "__main__":
    at, how_many = Path(sys.argv[1]), int(sys.argv[2])
    prepare(at, how_many)
    before, began = peak_memory_bytes(), time.perf_counter()
    ledger = run(read_recipe(at / "recipe.yaml"), made_up)
    seconds = round(time.perf_counter() - began, 1)
    found = {"rows": ledger.rows, "kept": ledger.kept, **ledger.dropped.get("duplicates", {})}
    print(json.dumps({**found, "before_bytes": before, "peak_bytes": peak_memory_bytes(), "seconds": seconds}))
