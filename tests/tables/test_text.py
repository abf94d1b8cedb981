r"""Lines end at \n and \r\n; encodings are told by the first bytes."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minisora.errors import UsageError
from minisora.tables.text import lines, raw_lines, text_lines

HERE = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(
    st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"]) | st.sampled_from("\n\r\u2028\x85਀")
)


@HERE
@given(text=TEXT, encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be"]))
def test_lines_end_at_line_feeds_alone(tmp_path, text, encoding):
    path = tmp_path / "x.txt"
    path.write_bytes(("\ufeff" * (encoding == "utf-16-be") + text).encode(encoding))
    assert [line for _, line, _ in raw_lines(path)] == re.findall(r"[^\n]*\n|[^\n]+", text)
    assert text_lines(path) == [line.strip() for line in re.split(r"\r?\n", text) if line.strip()]


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r"])
def test_no_other_sign_ends_a_line(tmp_path, sign):
    (tmp_path / "x.txt").write_text(f"one{sign}two\r\nthree", encoding="utf-8", newline="")
    assert text_lines(tmp_path / "x.txt") == [f"one{sign}two", "three"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_latin_letters_of_utf_16_need_no_mark(tmp_path, encoding):
    (tmp_path / "x.txt").write_bytes("a red ball\r\n一只猫 rests\r\n".encode(encoding))
    assert text_lines(tmp_path / "x.txt") == ["a red ball", "一只猫 rests"]


def test_a_zero_byte_makes_no_utf_16(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"a red\0 ball\n" + b"\0" * 40)
    assert text_lines(tmp_path / "x.txt")[0] == "a red\0 ball"


@pytest.mark.parametrize(
    ("data", "places"),
    [
        (b"one\ncaf\xe9\n\nfour", ["x.txt:2"]),
        ("one\n二\n".encode("gbk"), ["x.txt:2"]),
        (b"\xff\xfeo\0n\0e\0\n\0\x00\xd8x\0\n\0t\0w\0o\0", ["x.txt:2"]),  # half of a letter
        ("one\ntwo".encode("utf-16")[:-1], ["x.txt:2"]),  # cut short
    ],
)
def test_what_cannot_be_decoded_is_said(tmp_path, data, places):
    (tmp_path / "x.txt").write_bytes(data)
    found = list(lines(tmp_path / "x.txt"))
    assert [one.where for one in found if one.problem] == places
    assert found[0].value == "one" and all("is not UTF-" in one.problem for one in found if one.problem)
    with pytest.raises(UsageError, match=r"x\.txt:2 is not UTF-"):
        text_lines(tmp_path / "x.txt")


def test_files_that_were_put_behind_each_other(tmp_path):
    (tmp_path / "x.txt").write_bytes(2 * "one\n".encode("utf-8-sig"))
    assert text_lines(tmp_path / "x.txt") == ["one", "one"]


def test_what_cannot_be_opened_is_refused(tmp_path):
    (tmp_path / "x.txt").write_bytes("one".encode("utf-32"))
    for path, says in ((tmp_path / "x.txt", "UTF-32"), (tmp_path, "cannot be read"), (tmp_path / "no.txt", "No such")):
        with pytest.raises(UsageError, match=says):
            text_lines(path)
