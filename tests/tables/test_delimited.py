"""csv as Python's own module reads it where the two agree; delimiters, blank and broken rows."""

from __future__ import annotations

import csv
import io
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minisora.errors import UsageError
from minisora.tables import delimited
from minisora.tables.entry import Skipped
from minisora.tables.records import entries, records

HERE = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
LETTERS = st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"])
CELL = st.text(LETTERS | st.sampled_from(",;|\t\"' \n\r\u2028\x85\x0b"), max_size=12)
HEADER = ["path", "text", "more"]


def read(path):
    return [record for _, record in records(path)]


@HERE
@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=6),
    delimiter=st.sampled_from(delimited.DELIMITERS),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]),
)
def test_tables_are_read_as_by_the_csv_module(tmp_path, rows, delimiter, end, encoding):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerow(HEADER)
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    path = tmp_path / "x.csv"
    path.write_bytes(("\ufeff" * (encoding == "utf-16-le") + text.getvalue()).encode(encoding))
    expected = [row for row in csv.DictReader(text.getvalue().splitlines(keepends=True), delimiter=delimiter)]
    text.seek(0)
    expected = [row for row in csv.DictReader(text, delimiter=delimiter) if any(map(str.strip, row.values()))]
    assert read(path) == expected


@HERE
@given(rows=st.lists(st.lists(CELL.map(lambda cell: cell.strip().replace("\r", "")), min_size=3, max_size=3)))
def test_quotes_are_needed_for_special_signs_only(tmp_path, rows):
    path = tmp_path / "x.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    assert read(path) == [dict(zip(HEADER, row, strict=True)) for row in rows if any(row)]


BROKEN = [
    b"only one cell",
    b"five,of,them,are,here",
    b'9.mp4,"never closed,x',
    b"9.mp4,caf\xe9,x",
    b"9.mp4,half\rline,x",
    b'9.mp4,"two\nlines",and,more',
]
GOOD = [
    b"1.mp4,a ball,1",
    b'2.mp4,"a cube, red",2',
    b'3.mp4,"a ""cone""",3',
    b'"4.mp4",a torus\xe2\x80\xa8,4',
    b",,",
    b"",
]


@HERE
@given(good=st.lists(st.sampled_from(GOOD), max_size=8), where=st.integers(0, 8), broken=st.sampled_from(BROKEN))
def test_a_broken_row_costs_itself(tmp_path, good, where, broken):
    path, skipped = tmp_path / "x.csv", Skipped()
    path.write_bytes(b"\n".join([b"path,text,more", *good, b""]))
    whole = read(path)
    path.write_bytes(b"\r\n".join([b"path,text,more", *good[:where], broken, *good[where:], b""]))
    assert [record for _, record in records(path, (), skipped)] == whole
    ((place, _),) = skipped.broken
    assert place == f"x.csv:{min(where, len(good)) + 2}"
    assert skipped.blank == sum(not row.strip(b",") for row in good)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("file;prompt\na.mp4;red, blue, and green\n", [{"file": "a.mp4", "prompt": "red, blue, and green"}]),
        ("sep=|\na|b\n1|2;3\n", [{"a": "1", "b": "2;3"}]),
        ('"sep=;"\r\na;b\r\n1;2\r\n', [{"a": "1", "b": "2"}]),
        ("a\tb\n1,5\t2,5\n", [{"a": "1,5", "b": "2,5"}]),
        ("prompt\na ball, red\na; b\n\n", [{"prompt": "a ball, red"}, {"prompt": "a; b"}]),
        ('File, Prompt\na.mp4, "a ball, red"\n', [{"File": "a.mp4", "Prompt": "a ball, red"}]),
        ("a;b;;\n1;2;;\n3;4;;\n", [{"a": "1", "b": "2", "": ""}, {"a": "3", "b": "4", "": ""}]),
        ("a,b\n1,2,,\n", [{"a": "1", "b": "2"}]),
        ("\n \na,b\n1,2", [{"a": "1", "b": "2"}]),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_delimiters_are_found(tmp_path, text, rows, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_text(text, encoding="utf-8", newline="")
    assert read(path) == rows


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b,a\n", "two columns are named 'a'"),
        (b"caf\xe9,b\n1,2\n", "x.csv:1 is not UTF-8 text.* The first row names the columns"),
        (b"path,text\ra.mp4,b\r", r"x.csv:1 has a \\r inside a line"),
    ],
)
def test_files_without_a_header_are_refused(tmp_path, text, says):
    (tmp_path / "x.csv").write_bytes(text)
    with pytest.raises(UsageError, match=says):
        read(tmp_path / "x.csv")


def test_an_open_quote_holds_no_more_than_a_row_may(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_LONGEST", 1000)
    path = tmp_path / "x.csv"
    with path.open("w") as file:
        file.write('path,text\n0.mp4,"open\n')
        file.writelines(f"{n}.mp4,a ball\n" for n in range(1, 5000))
    found = entries(path)
    first = list(islice(found, 3))
    assert "not closed" in first[0].problem and [one.value["path"] for one in first[1:]] == ["1.mp4", "2.mp4"]
    assert sum(1 for _ in found) == 4997


def test_a_table_of_another_layout_is_refused_early(tmp_path):
    path, skipped = tmp_path / "x.csv", Skipped()
    path.write_text("path,text\n" + "only one\n" * 3000)
    with pytest.raises(UsageError, match=r"x\.csv:2: expected 2 cells .* So are the 999 entries after it"):
        list(records(path, (), skipped))
