import json
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webdataset

from minisora.data.shards import BrokenSample, Shards, ShardWriter
from minisora.errors import UsageError


def sample(i: int) -> dict[str, bytes]:
    return {"json": json.dumps({"i": i}).encode(), "latents.bin": bytes([i % 256]) * (i * 37 % 3000)}


def write(folder: Path, count: int, max_bytes: int = 20_000) -> Path:
    with ShardWriter(folder, max_bytes=max_bytes) as writer:
        for i in range(count):
            if f"clip-{i:04d}" not in writer.keys_done:
                writer.add(f"clip-{i:04d}", sample(i), columns={"i": i, "caption": f"球 {i}", "boxes": [[i, 1]]})
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_reads_what_was_written(tmp_path):
    shards = Shards(write(tmp_path, 50))
    assert len(shards) == 50 and len(list(tmp_path.glob("*.tar"))) > 3
    assert all(path.stat().st_size <= 30_720 for path in tmp_path.glob("*.tar"))  # tar pads to a multiple of 10,240
    assert shards.keys == [f"clip-{i:04d}" for i in range(50)]
    assert shards.columns("i") == list(range(50)) and shards.columns("boxes")[7] == [[7, 1]]
    for i in (49, 0, 13):
        assert shards.read(i) == sample(i)
    with pytest.raises(UsageError, match="boxes, caption, i"):
        shards.columns("captions")


def test_webdataset_and_tarfile_read_the_same(tmp_path):
    write(tmp_path, 30)
    tars = sorted(str(path) for path in tmp_path.glob("*.tar"))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert [s["__key__"] for s in samples] == [f"clip-{i:04d}" for i in range(30)]
    assert all(
        s["json"] == sample(i)["json"] and s["latents.bin"] == sample(i)["latents.bin"] for i, s in enumerate(samples)
    )
    with tarfile.open(tars[0]) as tar:
        assert all((m.mtime, m.uid, m.gid, m.uname) == (0, 0, 0, "") for m in tar.getmembers())


def test_an_interrupted_writer_leaves_whole_shards_and_the_next_makes_the_same_bytes(tmp_path):
    whole = contents(write(tmp_path / "whole", 40))
    broken = tmp_path / "broken"
    for stop in (0, 3, 17, 18, 31):
        with pytest.raises(KeyboardInterrupt), ShardWriter(broken, max_bytes=20_000) as writer:
            done = len(writer.keys_done)
            for i in range(done, 40):
                if i == max(stop, done):
                    raise KeyboardInterrupt
                writer.add(f"clip-{i:04d}", sample(i), columns={"i": i, "caption": f"球 {i}", "boxes": [[i, 1]]})
        assert contents(broken).items() <= whole.items()
    killed = ShardWriter(broken, max_bytes=20_000)  # never closed: as after a kill
    killed.add("other", {"bin": bytes(100)})
    (broken / "shard-000009.tar").write_bytes(b"renamed, but its index was not written")
    (broken / ".shard-000009.77.part.parquet").write_bytes(b"half")
    assert contents(write(broken, 40)) == whole


def test_writers_share_a_folder_under_their_prefixes(tmp_path):
    for prefix in ("b", "a", "a-1"):
        with ShardWriter(tmp_path, prefix=prefix) as writer:
            writer.add(f"{prefix}-x", {"bin": b""})
    assert Shards(tmp_path).keys == ["a-x", "a-1-x", "b-x"]
    with ShardWriter(tmp_path, prefix="c") as writer:
        writer.add("b-x", {"bin": b""})
    with pytest.raises(UsageError, match="'b-x' twice"):
        Shards(tmp_path)


def test_threads_and_copies_read_alike(tmp_path):
    shards = pickle.loads(pickle.dumps(Shards(write(tmp_path, 60))))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(shards.read, [i % 60 for i in range(600)])) == [sample(i % 60) for i in range(600)]


def test_damage_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"holds no shards.*Check the folder's name"):
        Shards(tmp_path)
    write(tmp_path / "above" / "clips", 3)
    with pytest.raises(UsageError, match=r"above holds no shards.*Give .*above/clips\."):
        Shards(tmp_path / "above")
    write(tmp_path, 40)
    tar, index = tmp_path / "shard-000001.tar", tmp_path / "shard-000001.parquet"
    whole, rows = tar.read_bytes(), index.read_bytes()
    shards = Shards(tmp_path)
    tar.write_bytes(whole[:5000])
    with pytest.raises(UsageError, match=r"shard-000001.tar is cut short"):
        Shards(tmp_path)
    with pytest.raises(UsageError, match=r"shard-000001.tar ends before"):
        for i in range(40):
            shards.read(i)
    tar.unlink()
    with pytest.raises(UsageError, match=r"shard-000001.tar is missing"):
        Shards(tmp_path)
    tar.write_bytes(whole)
    for cut in (0, 3, 100, len(rows) // 2, len(rows) - 1):
        index.write_bytes(rows[:cut])
        with pytest.raises(UsageError, match=r"shard-000001.parquet"):
            Shards(tmp_path)


def test_changed_bytes_are_told_and_an_index_of_the_first_format_is_read(tmp_path):
    shards = Shards(write(tmp_path, 3))
    marks = [shards.mark(i) for i in range(3)]
    tar, index = tmp_path / "shard-000000.tar", tmp_path / "shard-000000.parquet"
    data = bytearray(tar.read_bytes())
    data[data.rindex(b'{"i": 1}') + 6] ^= 1
    tar.write_bytes(data)
    with pytest.raises(BrokenSample, match=r"shard-000000\.tar was changed where its sample 'clip-0001' is"):
        shards.read(1)
    assert shards.read(2) == sample(2)
    first = pq.read_table(index).drop_columns("crc").replace_schema_metadata({"minisora_shards": "1"})
    pq.write_table(first, index)
    old = Shards(tmp_path)
    assert old.read(1)["json"] == b'{"i": 0}' and old.read(2) == sample(2)  # it had no sums
    assert all(old.mark(i) != marks[i] for i in range(3)) and len(set(marks)) == 3
    with ShardWriter(tmp_path) as writer:
        writer.add("later", {"bin": b"x"})
    assert Shards(tmp_path).keys == [*shards.keys, "later"]


def test_a_full_or_missing_disk_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not written"):
        ShardWriter(tmp_path / "file")
