"""Fixtures were written by hand in the exact formats, with the traps that users of each set met."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minisora.curate.importers import IMPORTERS, importer_named
from minisora.curate.table import merged
from minisora.errors import UsageError
from minisora.tables.entry import TEXT, Skipped
from minisora.tables.records import records

FIXTURES = Path(__file__).parent / "fixtures"


def told(name, path):
    """Source, start, stop and captions of each row."""
    rows = merged(importer_named(name)(FIXTURES / path if isinstance(path, str) else path))
    return [(row["source"], row["start"], row["stop"], row["captions"]) for row in rows]


def meta(name, path):
    rows = merged(IMPORTERS[name](FIXTURES / path if isinstance(path, str) else path))
    return [json.loads(row["meta"]) for row in rows]


def test_panda_rows_of_videos_become_rows_of_clips():
    """Byte order mark, CRLF, both quotes, line break in a caption, no clips, no length."""
    knife = """A chef's knife, "Santoku", cuts an onion."""
    crane = """It's a close-up: the "crane shot" of a city, at night."""
    assert told("panda70m", "panda70m/train.csv") == [
        ("--_S9IDQPLg", 19.227, 30.777, [knife]),
        ("--_S9IDQPLg", 142.184, 158.409, [crane]),
        ("qKYbTpFPf8s", 3723.004, 3729.5, ["一个人在\n打篮球, 很高兴"]),
        ("NOtThErE123", 5.0, 5.0, ["A moment without length."]),  # for `pair` to refuse
    ]
    first, second, third, _ = meta("panda70m", "panda70m/train.csv")
    assert (first["matching_score"], first["desirable_filtering"]) == (0.4519, "desirable")
    assert second["shot_boundary_detection"] == [["0:02:22.184", "0:02:30.000"], ["0:02:30.000", "0:02:38.409"]]
    assert [one["clip_file"] for one in (first, second, third)] == [
        *("0000000_00000.mp4", "0000000_00001.mp4", "0000001_00000.mp4")
    ]
    origins = [row["origin"] for row in IMPORTERS["panda70m"](FIXTURES / "panda70m/train.csv")]
    assert origins[0] == "train.csv:2 clip 0" and origins[-1].startswith("train.csv:5")


def test_panda_without_the_newest_columns():
    rows = told("panda70m", "panda70m/first_release.csv")
    assert rows == told("panda70m", "panda70m/train.csv")[:3]
    assert "desirable_filtering" not in meta("panda70m", "panda70m/first_release.csv")[0]


def test_panda_as_it_was_downloaded(tmp_path):
    said = {
        "caption": "a cat",
        "matching_score": "0.45",
        "status": "success",
        "error_message": None,
        "yt_meta_dict": {},
    }
    gone = {"caption": "a dog", "status": "failed_to_download", "error_message": "[Errno 2] No such file"}
    (tmp_path / "00000").mkdir()
    (tmp_path / "00000_stats.json").write_text("{}")
    for name, record in (("0000000_00000", said), ("0000001_00000", gone)):
        (tmp_path / "00000" / f"{name}.json").write_text(json.dumps(record))
    assert told("panda70m", tmp_path) == [
        ("00000/0000000_00000.mp4", None, None, ["a cat"]),
        ("00000/0000001_00000.mp4", None, None, ["a dog"]),
    ]
    assert meta("panda70m", tmp_path)[1] == {"status": "failed_to_download", "error_message": "[Errno 2] No such file"}


def test_panda_splits_in_frames_and_in_seconds():
    assert [one["frame_span"] for one in meta("panda70m", "panda70m/cutscenes.json")] == [[0, 149], [149, 298]]
    assert told("panda70m", "panda70m/events.json") == [
        ("video1.mp4", 0.0, 15.982, []),
        ("video1.mp4", 15.982, 20.0, []),
    ]


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("pretrain", [("videos/pretrain/14111Y1211b-1134b18bAE55.flv", ['妈妈给宝宝听胎心,很"有趣"'])]),
        ("classification", [("videos/cls/a1.mp4", ["街舞比赛"]), ("videos/cls/a2.mp4", [])]),
        ("retrieval", [("videos/r1.mp4", ["一只猫", "猫在睡觉"])]),
        ("caption_train", [("videos/c1.mp4", ["[音乐] 一个女人在唱歌"])]),
        ("caption_val", [("videos/c2.mp4", ["一个男人在说话", "他说：'好'"])]),
        ("caption_test", [("videos/c3.mp4", [])]),
    ],
)
def test_youku_in_its_four_kinds(name, rows):
    found = told("youku", f"youku/{name}.csv")
    assert [(source, captions) for source, _, _, captions in found] == rows
    assert all((start, stop) == (None, None) for _, start, stop, _ in found)


def test_youku_labels_have_names():
    assert meta("youku", "youku/classification.csv") == [{"label": "16", "class": "街舞"}, {"label": "99"}]


def test_msrvtt_sentences_go_to_their_videos():
    rows = told("msrvtt", "msrvtt/videodatainfo.json")
    game = ["a cartoon animals runs through an ice cave in a video game", "a person is playing a video game"]
    url = "https://www.youtube.com/watch?v=9lZi22qLlEo"
    assert rows[0] == (url, 137.72, 149.44, game)
    assert rows[1][3] == ["some one playing a game"]
    assert rows[2] == (url, 20.0, 31.0, [])
    assert meta("msrvtt", "msrvtt/videodatainfo.json")[0] == {
        **{"clip_file": "video0.mp4", "category": 9, "split": "train", "id": 0}
    }


def test_msrvtt_flat_is_the_same_table():
    rows = told("msrvtt", "msrvtt/flat.jsonl")
    assert [captions for *_, captions in rows] == [
        ["a car is shown", "a man drives a vehicle through the countryside"],
        ["a group is dancing"],
    ]
    assert rows[0][:3] == told("msrvtt", "msrvtt/videodatainfo.json")[0][:3]
    assert meta("msrvtt", "msrvtt/flat.jsonl")[0] == meta("msrvtt", "msrvtt/videodatainfo.json")[0]


def test_internvid(tmp_path):
    rows = told("internvid", "internvid/flt.jsonl")
    assert rows[0][:3] == ("qJrOyggIB-w", 453.689, 471.085)
    assert [row[3] for row in rows][1:] == [[], ["a path in place of the name"]]
    assert meta("internvid", "internvid/flt.jsonl")[1] == {
        "Aesthetic_Score": 3.5,
        "clip_file": "qJrOyggIB-w_00:07:51.085_00:08:00.001.mp4",
    }
    records = [json.loads(line) for line in (FIXTURES / "internvid/flt.jsonl").read_text().splitlines()]
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "flt.parquet")
    assert told("internvid", tmp_path / "flt.parquet") == rows


def test_videoinstruct_takes_answers_that_describe_the_whole():
    rows = told("videoinstruct", "videoinstruct/VideoInstruct100K.json")
    assert [(source, captions) for source, _, _, captions in rows] == [
        (
            "v_k_ZXmr8pmrs",
            [
                "A man prepares camera equipment, and others ride a helicopter.",
                'The video shows a man who "sails" a boat.',
            ],
        ),
        ("v_O8wQQzGzR9s", ["Snow lies on the mountains."]),
    ]
    asked = meta("videoinstruct", "videoinstruct/VideoInstruct100K.json")[0]["asked"]
    assert asked[1] == ["Is the man wearing a hat?", "Yes, he is."]


def test_videoinstruct_in_the_form_for_training():
    assert told("videoinstruct", "videoinstruct/train.json") == [("v_k_ZXmr8pmrs", None, None, ["A man sails."])]
    asked = [["What is the video about?", "A man sails."], ["How many boats are there?", "One."]]
    assert meta("videoinstruct", "videoinstruct/train.json")[0]["asked"] == asked


def test_shot2story_wholes_and_shots():
    assert told("shot2story", "shot2story/20k_val.json")[0] == (
        *("Jz2CSZW7_S4", 70.5, 74.9),
        ["A man's hand holds a plate; then he eats."],
    )
    shots = told("shot2story", "shot2story/20k_val.json")[1:3]
    assert shots == [
        ("Jz2CSZW7_S4.7.mp4", None, None, ["A hand holds a plate."]),
        ("Jz2CSZW7_S4.7.mp4", None, None, ["A man eats."]),
    ]
    whole, first, second, last = meta("shot2story", "shot2story/20k_val.json")
    assert whole["clip_file"] == "Jz2CSZW7_S4.7.mp4"
    assert (first["clip_file"], first["frame_span"]) == ("Jz2CSZW7_S4.7_0_36.mp4", [0, 36])
    assert second == {"clip_file": "Jz2CSZW7_S4.7_37_67.mp4", "frame_span": [37, 67], "ASR": "get a nice"}
    assert last == {"id": 1}


def test_no_pickle_is_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path(tmp_path / "went off").touch, ())

    (tmp_path / "20k_split_info.pkl").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "20k_val.json").write_bytes((FIXTURES / "shot2story/20k_val.json").read_bytes())
    assert len(told("shot2story", tmp_path / "20k_val.json")) == 4
    with pytest.raises(UsageError, match="no annotation file that is known"):
        told("shot2story", tmp_path / "20k_split_info.pkl")
    assert not (tmp_path / "went off").exists()


def test_a_folder_with_words_beside_its_videos(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a.mp4", "b.MKV", "deep/c.webm", ".hidden.mp4", "notes.txt", "d.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "a.txt").write_text("a cat\n\n the cat sleeps \r\n", encoding="utf-8-sig")
    (tmp_path / "a.json").write_text('{"caption": ["a cat", "asleep"], "likes": 3}')
    (tmp_path / "deep/c.json").write_text('["一只猫"]')
    assert told("folder", tmp_path) == [
        ("a.mp4", None, None, ["a cat", "the cat sleeps", "asleep"]),
        ("b.MKV", None, None, []),
        ("d.mp4", None, None, []),
        ("deep/c.webm", None, None, ["一只猫"]),
    ]
    assert meta("folder", tmp_path)[0] == {"likes": 3}


@pytest.mark.parametrize(
    "record",
    [
        {"path": "a.mp4", "text": "a cat"},
        {"Video": "a.mp4", "Caption": ["a cat"]},
        {"file_name": " a.mp4", "captions": "['a cat', '']"},
        {"videos": ["a.mp4"], "text": "<__dj__video> a cat <|__dj__eoc|>"},
        {"videos": "a.mp4", "cap": ["a cat", None, "a cat"]},
    ],
)
def test_tables_under_their_usual_names(record, tmp_path):
    (tmp_path / "x.jsonl").write_text(json.dumps(record))
    (tmp_path / "x.json").write_text(json.dumps([record]))
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "x.parquet")
    for name in ("x.jsonl", "x.json", "x.parquet"):
        assert told("table", tmp_path / name) == [("a.mp4", None, None, ["a cat"])]


def test_tables_of_text_with_spans_and_more(tmp_path):
    (tmp_path / "x.tsv").write_text("path\tstart\tend\ttext\tfps\na.mp4\t0:01\t2.5\ta cat\t25\nb.mp4\t\t\t\t30\n")
    assert told("table", tmp_path / "x.tsv") == [("a.mp4", 1.0, 2.5, ["a cat"]), ("b.mp4", None, None, [])]
    assert meta("table", tmp_path / "x.tsv")[0] == {"fps": "25"}


@pytest.mark.parametrize(
    "text",
    [
        "Path;Caption\r\na.mp4;a cat, asleep\r\nb.mp4;a dog\r\n",
        'sep=,\nFile Name,Text\na.mp4,"a cat, asleep"\n\nb.mp4,a dog\n',
        "\ufeffVIDEO_PATH\tPrompt\na.mp4\ta cat, asleep\nb.mp4\ta dog\n",
        "video|description\na.mp4|a cat, asleep\nb.mp4|a dog",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tables_as_programs_write_them(tmp_path, text, encoding):
    (tmp_path / "x.csv").write_bytes(text.encode(encoding))
    assert told("table", tmp_path / "x.csv") == [
        ("a.mp4", None, None, ["a cat, asleep"]),
        ("b.mp4", None, None, ["a dog"]),
    ]


BAD = [
    ("table", "x.csv", b"path,text\na.mp4,a cat\n,x\nb.mp4,caf\xe9\nc.mp4,a,b\n\nd.mp4,a dog\n", [3, 4, 5], 1),
    ("table", "x.csv", b"path,text,start,end\na.mp4,a cat,1,2\nb.mp4,x,1,\nc.mp4,x,y,z\nd.mp4,a dog,,\n", [3, 4], 0),
    (
        "table",
        "x.jsonl",
        b'{"path": "a.mp4"}\n{"path": 5}\n{\n"x"\n \n{"path": "d.mp4"}\n{"text": "x"}',
        [2, 3, 4, 7],
        1,
    ),
    ("youku", "x.csv", b"video_id:FILE,title\na.mp4,a\n ,b\nd.mp4,c\n", [3], 0),
]


@pytest.mark.parametrize(("importer", "name", "data", "broken", "blank"), BAD)
def test_a_broken_row_costs_itself(importer, name, data, broken, blank, tmp_path):
    (tmp_path / name).write_bytes(data)
    skipped = Skipped()
    rows = list(IMPORTERS[importer](tmp_path / name, skipped))
    assert [row["source"] for row in rows] == ["a.mp4", "d.mp4"]
    assert [where for where, _ in skipped.broken] == [f"{name}:{line}" for line in broken] and skipped.blank == blank
    assert all(reason.startswith(where) for where, reason in skipped.broken)


def test_numbers_of_panda_count_broken_rows(tmp_path):
    """The downloader names a clip after the row of its video, whatever is in the rows before."""
    clip = "\"[['0:00:01', '0:00:02']]\",\"['a cat']\","
    (tmp_path / "x.csv").write_text(f"{PANDA}one,u,{clip}\n\ntwo,u,here,,\nthree,u,{clip}\nfour\nfive,u,{clip}\n")
    skipped = Skipped()
    rows = list(IMPORTERS["panda70m"](tmp_path / "x.csv", skipped))
    files = {row["source"]: json.loads(row["meta"])["clip_file"] for row in rows}
    assert files == {"one": "0000000_00000.mp4", "three": "0000002_00000.mp4", "five": "0000004_00000.mp4"}
    assert [where for where, _ in skipped.broken] == ["x.csv:4", "x.csv:6"] and skipped.blank == 1


def test_columns_that_may_be_meant_too_are_said(tmp_path):
    (tmp_path / "x.csv").write_text("source,path,caption,text\nweb,a.mp4,short,long\n")
    (tmp_path / "y.csv").write_text("path,captoin\na.mp4,a cat\n")
    skipped = Skipped()
    (row,) = IMPORTERS["table"](tmp_path / "x.csv", skipped)
    assert (row["source"], row["captions"], json.loads(row["meta"])) == (
        *("a.mp4", ["long"]),
        {"source": "web", "caption": "short"},
    )
    list(IMPORTERS["table"](tmp_path / "y.csv", skipped))
    assert list(skipped.notes) == [
        "x.csv: column 'path' is used, not 'source'.",
        "x.csv: column 'text' is used, not 'caption'.",
        f"y.csv: there is no column of captions ({', '.join(TEXT)}) among path, captoin.",
    ]


def test_words_in_a_folder_are_of_one_video(tmp_path):
    for name in ("clip2.mp4", "clip10.mp4", "clip1.mp4", "a.mp4", "a.mov", "b.mp4", "b.mkv", "c.mp4", "._c.mp4"):
        (tmp_path / name).touch()
    words = {
        "a.txt": b"whose?",
        "b.txt": b"whose?",
        "b.mp4.txt": b"mine",
        "b.mkv.json": b'["mine too"]',
        "c.txt": b"\xe9",
    }
    words |= {"clip1.txt": "one\u2028line\n\ntwo\r\n".encode(), "clip2.json": b"{", "._clip10.txt": b"\0\5\x16\7"}
    for name, data in words.items():
        (tmp_path / name).write_bytes(data)
    skipped = Skipped()
    rows = {row["source"]: row["captions"] for row in IMPORTERS["folder"](tmp_path, skipped)}
    assert rows == {"b.mp4": ["mine"], "clip1.mp4": ["one\u2028line", "two"], "clip10.mp4": []}
    assert list(rows) == ["b.mp4", "clip1.mp4", "clip10.mp4"]
    assert [name for name, _ in skipped.broken] == ["a.mov", "a.mp4", "b.mkv", "c.mp4", "clip2.mp4"]
    with pytest.raises(UsageError, match=r"a\.txt may be that of a\.mov or a\.mp4"):
        list(IMPORTERS["folder"](tmp_path))


def test_data_juicer_chunks_go_to_their_videos(tmp_path):
    sample = {"videos": ["a.mp4", "b.mp4"], "text": "<__dj__video> one <|__dj__eoc|> two <__dj__video> <|__dj__eoc|>"}
    (tmp_path / "x.jsonl").write_text(json.dumps(sample))
    assert [(source, captions) for source, *_, captions in told("table", tmp_path / "x.jsonl")] == [
        ("a.mp4", ["one"]),
        ("b.mp4", ["two"]),
    ]


def test_fastvideo_pair_of_files(tmp_path):
    (tmp_path / "videos.txt").write_text("a.mp4\n\nb.mp4\n")
    (tmp_path / "prompt.txt").write_text("a cat\na dog\n")
    assert [row[3] for row in told("table", tmp_path / "videos.txt")] == [["a cat"], ["a dog"]]
    (tmp_path / "prompt.txt").write_text("a cat\n")
    with pytest.raises(UsageError, match=r"prompt\.txt: expected 2 lines, as many as videos\.txt, found 1"):
        told("table", tmp_path / "videos.txt")


def test_a_long_json_list_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("minisora.tables.objects._CHUNK", 7)
    items = [{"path": f"{n}.mp4", "text": "x" * (n % 40), "nested": [{"}": "]"}]} for n in range(60)]
    (tmp_path / "x.json").write_text("﻿ " + json.dumps(items, indent=1), encoding="utf-8")
    assert [record for _, record in records(tmp_path / "x.json")] == items


PANDA = "videoID,url,timestamp,caption,matching_score\n"
WRONG = [
    (
        "panda70m",
        "x.csv",
        "path,text\na.mp4,b\n",
        r"x\.csv:2: expected the fields videoID, .* no 'videoID' among path",
    ),
    (
        "panda70m",
        "x.csv",
        PANDA + "a,b,\"[['0:00:01', '0:00:02']]\",\"['a', 'b']\",\n",
        "1 of timestamp, 2 of",
    ),
    ("panda70m", "x.csv", PANDA + "a,b,here,\"['a']\",\n", r"x\.csv:2: expected a list in 'timestamp', found here"),
    ("panda70m", "x.csv", PANDA + "a,b,\"[['0:00:01', 'x']]\",\"['a']\",\n", r"x\.csv:2: 'x' is not a time"),
    ("panda70m", "x.csv", PANDA + "a,b\n", r"x\.csv:2: expected 5 cells as in the first row, found 2"),
    ("panda70m", "x.csv", PANDA + "a,b,__import__('os').abort(),[],\n", "expected a list in 'timestamp'"),
    ("panda70m", "x.csv", PANDA + 'a,b,"[{{1}, {2}}]",[],\n', "expected a list in 'timestamp'"),
    ("panda70m", "x.csv", "", "is empty"),
    ("panda70m", "x.json", "[]", "expected an object of lists of spans by video"),
    ("youku", "x.csv", "video_id,title\na.mp4,b\n", r"x\.csv:2: expected video_id:FILE or clip_name:FILE"),
    ("msrvtt", "x.json", "[]", "expected an object with lists of videos and sentences, found list"),
    (
        "msrvtt",
        "x.json",
        '{"videos": [{"video_id": "v", "start_time": 1}], "sentences": []}',
        r"\[0\]: .*'start time'",
    ),
    ("msrvtt", "x.json", '{"videos": [], "sentences": [{"caption": "a", "video_id": "v"}]}', "some of 'v'"),
    ("msrvtt", "x.jsonl", '{"video_id": "v"}\n{', r"x\.jsonl:1: expected .* found no 'url' among video_id"),
    ("internvid", "x.jsonl", '{"YoutubeID": "a"}', "no 'Start_timestamp' among YoutubeID"),
    ("internvid", "x.jsonl", "[1, 2]", r"x\.jsonl:1: expected a JSON object, found \[1, 2\]"),
    ("videoinstruct", "x.json", '[{"question": "a"}]', r"x\.json\[0\]: expected q, a and video_id, or"),
    ("videoinstruct", "x.json", '{"q": "a"}', "expected a JSON list of objects"),
    ("videoinstruct", "x.json", '[{"q": "a", "a": "b", "video_id": "c"}, {"q"', r"x\.json\[1\]: .* found \{\"q\""),
    (
        "shot2story",
        "x.json",
        '[{"video": "a.mp4", "whole_caption": "", "video_names": ["b"], "captions": []}]',
        "1 of video_names",
    ),
    ("table", "x.csv", "name,text\na.mp4,b\n", r"x\.csv:2: expected one of path, video, .* found name, text"),
    ("table", "x.csv", "path,text\n,b\n", "expected a path in 'path', found ''"),
    ("table", "x.csv", "path,start\na.mp4,3\n", "both a start and an end, or neither"),
    ("table", "x.jsonl", '{"videos": ["a"], "text": "<__dj__video> <__dj__video>"}', "expected 1 times <__dj__video>"),
    ("table", "x.txt", "a.mp4\n", "no prompt.txt"),
    ("table", "x.xlsx", "", "no annotation file that is known"),
]


@pytest.mark.parametrize(("importer", "name", "text", "said"), WRONG)
def test_another_layout_is_refused_with_the_row(importer, name, text, said, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        told(importer, tmp_path / name)


def test_files_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "x.csv").write_bytes("path,text\na.mp4,一只猫在睡觉\n".encode("gbk"))
    with pytest.raises(UsageError, match="not UTF-8"):
        told("table", tmp_path / "x.csv")
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        told("table", tmp_path / "x.parquet")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        told("table", tmp_path / "missing.csv")
    with pytest.raises(UsageError, match="not a folder of videos"):
        told("folder", tmp_path / "missing")
    with pytest.raises(UsageError, match="holds no video"):
        told("folder", tmp_path)
    with pytest.raises(UsageError, match="Choose one of: folder, table, panda70m"):
        importer_named("webvid")
