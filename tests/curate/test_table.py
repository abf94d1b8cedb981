from __future__ import annotations

import datetime
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minisora.curate.table import SCHEMA, annotation, merged, read_table, write_table
from minisora.errors import UsageError


def test_a_key_tells_source_and_span_and_nothing_else():
    row = annotation("a.mp4", start=1.0, stop=2.0, captions=["one"], origin="x.csv:2", meta={"split": "train"})
    again = annotation("a.mp4", start=1.0, stop=2.0, captions=["other"], origin="y.csv:9")
    assert row["key"] == again["key"]
    others = [
        annotation("b.mp4", start=1.0, stop=2.0),
        annotation("a.mp4", start=1.0, stop=2.5),
        annotation("a.mp4"),
        annotation("a.mp4", meta={"frame_span": [0, 30]}),
        annotation("a.mp4", meta={"frame_span": [30, 60]}),
    ]
    assert len({row["key"], *(other["key"] for other in others)}) == 6
    assert row["key"].isalnum()  # fit for a shard


def test_what_is_written_is_read_with_scores_that_came_later(tmp_path):
    rows = [
        {
            **annotation("猫.mp4", captions=["一只猫", 'a "cat"'], origin="a.csv:2", meta={"标": [1, None]}),
            "motion": 0.5,
        },
        {**annotation("b.mp4", start=0.0, stop=1.5), "hashes": [2**64 - 1, 0], "motion": None},
        annotation("c.mp4"),
    ]
    write_table(tmp_path / "clips.parquet", iter(rows))
    found = read_table(tmp_path / "clips.parquet")
    assert found == [{**row, "motion": row.get("motion"), "hashes": row.get("hashes")} for row in rows]
    assert json.loads(found[0]["meta"]) == {"标": [1, None]}
    write_table(tmp_path / "again.parquet", found)
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "clips.parquet").read_bytes()


def test_a_table_without_rows(tmp_path):
    write_table(tmp_path / "none.parquet", [])
    assert read_table(tmp_path / "none.parquet") == []


def test_rows_of_one_key_are_merged_where_the_first_stood():
    rows = [annotation("a", captions=["1"]), annotation("b"), annotation("a", captions=["2", "1"])]
    assert [(row["source"], row["captions"]) for row in merged(rows)] == [("a", ["1", "2"]), ("b", [])]


def test_whatever_stands_in_meta_can_be_written(tmp_path):
    """Dates and bytes of a user's table, and halves of characters in any of its fields."""
    odd = {"when": datetime.date(2026, 1, 2), "image": {"bytes": b"\xff"}, "title": "half \ud83d a face"}
    write_table(tmp_path / "odd.parquet", [annotation("a.mp4", meta=odd)])
    (row,) = read_table(tmp_path / "odd.parquet")
    assert json.loads(row["meta"])["when"] == "2026-01-02" and "half ? a face" in row["meta"]


def test_what_is_no_table_is_refused(tmp_path):
    newer = tmp_path / "newer.parquet"
    columns = SCHEMA.empty_table().append_column("more", pa.array([], pa.int8()))
    for table in (SCHEMA.empty_table(), columns.select(["more", *SCHEMA.names])):
        pq.write_table(table.replace_schema_metadata({"minisora_clips": "2"}), newer)
        with pytest.raises(UsageError, match="format 2, newer than 1"):
            read_table(newer)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"path": ["a"]}), other)
    with pytest.raises(UsageError, match="not a table of clips"):
        read_table(other)
    (tmp_path / "text.parquet").write_text("path,text\n")
    with pytest.raises(UsageError, match="not a readable table"):
        read_table(tmp_path / "text.parquet")
    with pytest.raises(UsageError, match="not a readable table"):
        read_table(tmp_path / "missing.parquet")
