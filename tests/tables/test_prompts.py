"""Lists of prompts in all their forms, and the names that people give to columns."""

from __future__ import annotations

import pytest

from minisora.errors import UsageError
from minisora.tables.entry import FILE, TEXT, Skipped, column, columns
from minisora.tables.prompts import read_prompts_file


def written(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.txt", "a ball\n\n a cube \n"),
        ("x.TXT", "a ball\r\na cube".encode("utf-16")),
        ("x.csv", "prompt\na ball\n\na cube\n"),
        ("x.csv", "Seed;The Prompt;Prompt\n1;x;a ball\n2;y;a cube\n"),
        ("x.tsv", "CAPTION\tseed\na ball\t1\na cube\t2\n"),
        ("x.json", '["a ball", {"text": "a cube"}]'),
        ("x.jsonl", '"a ball"\n{"Prompt": "a cube", "caption": "never"}\n'),
    ],
)
def test_prompts_in_the_order_of_the_file(tmp_path, name, text):
    found = read_prompts_file(written(tmp_path / name, text))
    assert [row.text for row in found.rows] == ["a ball", "a cube"] and not found.named
    assert not any(row.problem or row.file for row in found.rows)


def test_a_row_that_is_broken_stays_in_its_place(tmp_path):
    text = b"file,prompt\n1.mp4,a ball\n\n2.mp4,\n3.mp4,caf\xe9\n4.mp4,a,b\n,a cone\n5.mp4,a cube\n"
    found = read_prompts_file(written(tmp_path / "x.csv", text))
    assert [row.text for row in found.rows] == ["a ball", "", "", "", "a cone", "a cube"]
    assert [row.file for row in found.rows] == ["1.mp4", "", "", "", "", "5.mp4"]
    assert [bool(row.problem) for row in found.rows] == [False, True, True, True, False, False]
    assert found.rows[2].problem.startswith("x.csv:5 is not UTF-8") and found.blank == 1 and found.named
    assert found.columns == ("file", "prompt")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.doc", "a ball", "a list of prompts is a .txt, .csv"),
        ("x.txt", "\n \n", "holds no prompt"),
        ("x.csv", "seed\n1\n", "expected a column named prompt, prompts, text"),
        ("x.csv", "a red ball\na cube\n", "found a red ball"),
        ("x.jsonl", '{"prompt": ""}\n', "expected text in 'prompt'"),
        ("x.csv", "Prompt,prompt\na,b\n", "two columns have one name: 'Prompt' and 'prompt'"),
    ],
)
def test_lists_without_prompts_are_refused(tmp_path, name, text, says):
    with pytest.raises(UsageError, match=says):
        read_prompts_file(written(tmp_path / name, text))


@pytest.mark.parametrize(
    "name",
    ["file", "File", " FILE ", "fileName", "file_name", "File-Name", "filename", "Video Path", "video_path", "path"],
)
def test_names_of_columns_as_people_write_them(name):
    assert columns(["n", name, "prompt"], FILE) == [name]


def test_a_choice_among_columns_is_noted():
    skipped = Skipped()
    assert column("x.csv", ["caption", "Text", "n"], TEXT, skipped) == "Text"
    assert column("x.csv", ["n"], TEXT, skipped) is None
    assert list(skipped.notes) == ["x.csv: column 'Text' is used, not 'caption'."]
