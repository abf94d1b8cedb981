"""Names and words from outside: home folders, and characters that a terminal obeys."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from minisora.errors import UsageError
from minisora.outside import as_path, check_text, printable


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def test_home_folders_are_expanded_in_text_and_in_paths(home):
    assert as_path("~") == as_path(Path("~")) == home
    assert as_path("~/a/b.mp4") == as_path(Path("~/a/b.mp4")) == home / "a" / "b.mp4"
    me = pwd.getpwuid(os.getuid())
    assert as_path(f"~{me.pw_name}/b.mp4") == Path(me.pw_dir) / "b.mp4"
    for plain in ("a~.mp4", "a/~/b.mp4", "~nobody-has-this-name/b.mp4", "~$b.mp4", "/a/~"):
        assert as_path(plain) == Path(plain)


def test_a_file_called_tilde_is_reached(home, tmp_path):
    assert as_path("./~") == tmp_path / "~" and as_path("./~/b.mp4") == tmp_path / "~" / "b.mp4"
    (tmp_path / "~").touch()
    assert as_path(Path("./~")) == tmp_path / "~"  # a Path has lost its "./"


@pytest.mark.parametrize("name", ["~", "~/a", "./~", "./~/a", "~nobody-has-this-name", "a", "."])
def test_twice_is_once(name):
    assert as_path(as_path(name)) == as_path(name)


def test_names_in_a_file_are_relative_to_its_folder(home, tmp_path):
    assert as_path("a.png", Path("films")) == Path("films/a.png")
    assert as_path("~/a.png", Path("films")) == home / "a.png"
    assert as_path("/a.png", Path("films")) == Path("/a.png")
    assert as_path("./~", tmp_path / "films") == tmp_path / "films" / "~"


@pytest.mark.parametrize("name", ["a\0b.mp4", "\ud800.mp4"])
def test_what_no_file_is_called_is_refused(name):
    with pytest.raises(UsageError, match=r"no file can be called"):
        as_path(name)
    with pytest.raises(UsageError, match=r"no file can be called"):
        as_path(Path(name))


@pytest.mark.parametrize(
    "text", ["a ball", "", "a\tball\non grass\r\n", "un ballon «rouge»; 红球 👩‍👩‍👧", "كرة\u200f حمراء", "a\u2028b"]
)
def test_words_pass(text):
    check_text(text, "it")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a caf\udce9", r'it is not UTF-8: after "a caf" stands \\xe9\.'),
        ("\ud800a", r"it is not UTF-8: at its beginning stands \\ud800\."),
        ("a\0b", r'it holds the control character U\+0000 after "a"'),
        ("a\rb", r"U\+000D"),
        ("a\r\nb\r", r"U\+000D"),
        ("\x07", r"U\+0007 at its beginning"),
        ("a\x1b[31m", r"U\+001B"),
        ("a\x9b31m", r"U\+009B"),
        ("a\x7f", r"U\+007F"),
        ("a\u202eb", r"U\+202E"),
        ("a\u2066b", r"U\+2066"),
        (f"{'x' * 100}\x1b", rf'after "{"x" * 30}"'),
    ],
)
def test_other_characters_are_refused_by_name(text, says):
    with pytest.raises(UsageError, match=says):
        check_text(text, "it")


def test_what_is_printed_steers_nothing():
    assert printable("a ball, 红球, é") == "a ball, 红球, é"
    assert printable("\x1b[2J\x07\x9b\r\n\t") == r"\x1b[2J\x07\x9b\x0d\x0a\x09"
    assert printable("\udce9\ud800\u202e\u2028\u200f") == r"\xe9\ud800\u202e\u2028\u200f"
    assert printable("a\nb\tc\x1b", keep="\n\t") == "a\nb\tc\\x1b"
    every = "".join(map(chr, (*range(0x3000), *range(0xD800, 0xE000))))
    assert printable(every).encode() and not any(ord(letter) < 32 for letter in printable(every))
