"""What is prepared ahead is the same with any number of processes, whatever fails in them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from minisora.data.order import sample_at
from minisora.data.shards import BrokenSample, Shards, ShardWriter
from minisora.errors import UsageError
from minisora.workers.ahead import ahead

SAMPLES = 12
GARBAGE, HANGS, UNDECODABLE = 5, 3, 8


def double(item: tuple[int, Path | None, str]) -> int:
    """Twice a number.

    Before, where a file is given that is not there yet, `how` befalls the process once.
    """
    number, once, what = item
    if what and (once is None or not once.exists()):
        if once is not None:
            once.touch()
        if what == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)
    return 2 * number


@pytest.mark.long
@pytest.mark.parametrize(
    ("what", "says"), [("killed", "ended by SIGKILL"), ("hangs", r"not done after 5 s")], ids=["killed", "hangs"]
)
def test_a_lost_process_is_replaced_and_makes_the_same(tmp_path, what, says, capfd):
    items = [(0, None, ""), (1, tmp_path / "once", what), (2, None, ""), (3, None, what)]
    made = ahead(double, items, workers=1, timeout_seconds=5)
    assert [next(made) for _ in range(3)] == [0, 2, 4]
    assert capfd.readouterr().err.count("another begins again") == 1
    with pytest.raises(UsageError, match=rf"\(3, None, '{what}'\) could not be made ahead, twice: {says}"):
        next(made)


@dataclass(frozen=True)
class Batches:
    """step -> three keys and what the samples hold"""

    shards: Shards

    def __call__(self, step: int) -> list[tuple[str, bytes]]:
        numbers = [sample_at(1, 3 * step + n, len(self.shards)) for n in range(3)]
        # a loaded machine is slow with whole ones too
        return [self.shards.read_whole(n, decode, timeout_seconds=5) for n in numbers]


def decode(key: str, members: Mapping[str, bytes]) -> tuple[str, bytes]:
    if int(members["txt"]) == UNDECODABLE:
        raise BrokenSample(f"sample {key} is of no use.")
    return key, members["txt"]


@pytest.fixture
def shards(tmp_path) -> Shards:
    """Twelve samples in shards of their own.

    One was changed, one is of no use, the disk that holds one hangs.
    """
    with ShardWriter(tmp_path, max_bytes=1) as writer:
        for n in range(SAMPLES):
            writer.add(f"clip-{n}", {"txt": f"{n:03d}".encode()})
    found = Shards(tmp_path)
    garbage = tmp_path / f"shard-{GARBAGE:06d}.tar"
    garbage.write_bytes(garbage.read_bytes().replace(b"005", b"105"))
    hangs = tmp_path / f"shard-{HANGS:06d}.tar"
    hangs.unlink()
    os.mkfifo(hangs)  # opening it waits for a writer
    return found


@pytest.mark.long
def test_any_number_of_processes_gives_the_same_batches_and_passes_over_the_same(shards, monkeypatch, capfd):
    made, said = {}, {}
    for workers in (0, 1, 3):
        monkeypatch.setattr(sys.modules["minisora.workers.ahead"], "_skipped", {})
        made[workers] = list(ahead(Batches(shards), range(4), workers=workers))
        said[workers] = capfd.readouterr().err
    keys = [f"clip-{sample_at(1, position, SAMPLES)}" for position in range(12)]  # each once
    instead = {f"clip-{n}": f"clip-{n + 1}" for n in (GARBAGE, HANGS, UNDECODABLE)}
    assert [key for batch in made[0] for key, _ in batch] == [instead.get(key, key) for key in keys]
    assert all(int(content) == int(key.partition("-")[2]) for batch in made[0] for key, content in batch)
    assert made[0] == made[1] == made[3]
    assert said[0] == said[1] == said[3] and said[0].count("skipped") == 3
    for part in ("changed where its sample 'clip-5' is", "sample clip-3 was not read in 5 s", "clip-8 is of no use"):
        assert part in said[0], said[0]
    assert "(3 so far)" in said[0]
    assert list(ahead(Batches(shards), range(2, 4), workers=0)) == made[0][2:]  # going on takes the step alone


def test_where_all_are_broken_it_is_said(shards):
    def never(key: str, members: Mapping[str, bytes]) -> None:
        raise BrokenSample(f"sample {key} is of no use.")

    with pytest.raises(UsageError, match=r"12 samples in a row of .* are broken, from clip-4"):
        shards.read_whole(4, never, timeout_seconds=0.2)
    (shards.folder / "shard-000007.tar").unlink()
    with pytest.raises(UsageError, match=r"shard-000007\.tar is gone"):
        shards.read_whole(7, decode)
