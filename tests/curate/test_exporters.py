from __future__ import annotations

import csv
import json

import pytest

from minisora.curate.exporters import EXPORTERS, exporter_named
from minisora.curate.importers.plain import table
from minisora.curate.table import annotation, merged
from minisora.errors import UsageError

ROWS = [
    {
        **annotation("a/1.mp4", captions=['a "cat", asleep', "一只猫"], meta={"split": "train"}),
        **{"width": 640.0, "height": 480.0, "fps": 25.0, "duration": 2.0, "motion": 0.5},
    },
    {**annotation("a/2.mkv", start=1.5, stop=4.0, captions=["two\nlines"]), "fps": 30.0, "width": None, "motion": None},
    annotation("b.mp4"),
]
NAMES = {"datajuicer": "clips.jsonl", "opensora": "clips.csv", "fastvideo": "videos2caption.json"}


@pytest.mark.parametrize("name", EXPORTERS)
def test_the_importer_reads_back_what_was_exported(name, tmp_path):
    path = tmp_path / NAMES[name]
    exporter_named(name)(path, iter(ROWS))
    told = ("key", "source", "start", "stop", "captions")
    assert [[row[name] for name in told] for row in merged(table(path))] == [
        [row[name] for name in told] for row in ROWS
    ]


@pytest.mark.parametrize("name", EXPORTERS)
def test_nothing_kept_is_a_whole_file_too(name, tmp_path):
    path = tmp_path / NAMES[name]
    exporter_named(name)(path, [])
    assert list(table(path)) == []


def test_data_juicer_has_a_sample_for_each_caption(tmp_path):
    EXPORTERS["datajuicer"](tmp_path / "x.jsonl", ROWS)
    samples = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [len(samples), samples[1]["text"]] == [4, "<__dj__video> 一只猫 <|__dj__eoc|>"]
    assert all(sample["text"].count("<__dj__video>") == len(sample["videos"]) == 1 for sample in samples)
    assert samples[0]["meta"] == {"split": "train"}
    assert samples[0]["stats"] == {"width": 640.0, "height": 480.0, "fps": 25.0, "duration": 2.0, "motion": 0.5}


def test_open_sora_has_its_columns_and_its_aspect(tmp_path):
    EXPORTERS["opensora"](tmp_path / "x.csv", ROWS)
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ["path", "text", "num_frames", "height", "width", "aspect_ratio", "resolution", "fps"]
    assert list(rows[0])[:8] == columns
    assert [rows[0][name] for name in columns[2:]] == ["50", "480", "640", "0.75", "307200", "25.0"]
    assert [rows[2][name] for name in columns[1:]] == ["two\nlines", "75", "", "", "", "", "30.0"]


def test_fastvideo_has_an_entry_for_each_clip(tmp_path):
    EXPORTERS["fastvideo"](tmp_path / "x.json", ROWS)
    entries = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert entries[0] == {
        "path": "a/1.mp4",
        "resolution": {"width": 640, "height": 480},
        "fps": 25.0,
        "duration": 2.0,
        "cap": ['a "cat", asleep', "一只猫"],
    }
    assert entries[1] == {
        **{"path": "a/2.mkv", "fps": 30.0, "duration": 2.5, "start": 1.5, "stop": 4.0, "cap": ["two\nlines"]}
    }


def test_an_unknown_export_is_refused():
    with pytest.raises(UsageError, match="datajuicer, opensora, fastvideo"):
        exporter_named("tfrecord")
