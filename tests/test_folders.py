"""Order, hidden files, and whose words are whose."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisora.errors import UsageError
from minisora.folders import Beside, files_in, is_hidden, natural, nearest

NAMES = st.text("ab01 29._-Äé²٣", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))


@given(numbers=st.lists(st.integers(0, 10**20), unique=True), before=st.text("ab ", max_size=3))
def test_numbers_sort_as_numbers(numbers, before):
    names = [f"{before}{number}.mp4" for number in numbers]
    assert sorted(names, key=natural) == [f"{before}{number}.mp4" for number in sorted(numbers)]


@given(names=st.lists(NAMES, unique=True), seed=st.integers(0, 99))
def test_the_order_depends_on_the_names_alone(names, seed):
    shuffled = random.Random(seed).sample(names, len(names))
    assert sorted(shuffled, key=natural) == sorted(names, key=natural)


def test_an_order_as_people_expect_it():
    names = [
        "1.mp4",
        "01.mp4",
        "2.mov",
        "2.mp4",
        "010.mp4",
        "a/9.mp4",
        "a/10.mp4",
        "B 1.mp4",
        "b 2.mp4",
        "c.mp4",
        "c2.mp4",
    ]
    mixed = random.Random(0).sample(names, len(names))
    assert sorted(mixed, key=natural) == ["01.mp4", "1.mp4", *names[2:]]  # alike as numbers: by their signs


def test_hidden_files_are_not_listed(tmp_path):
    hidden = [".a.mp4", "._1.mp4", ".DS_Store", "Thumbs.db", "desktop.ini"]
    for name in (*hidden, "10.mp4", "9.MP4", "n.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.mp4").symlink_to("nowhere")
    assert [path.name for path in files_in(tmp_path, (".mp4",))] == ["9.MP4", "10.mp4", "link.mp4"]
    assert all(map(is_hidden, hidden)) and is_hidden("__MACOSX") and not is_hidden("a.b")
    with pytest.raises(UsageError, match="cannot be read"):
        files_in(tmp_path / "nowhere")


def test_words_are_of_one_video(tmp_path):
    videos = ["a.mp4", "a.mov", "b.mp4", "c.mp4", "c.mp4.mkv", "d.x.mp4", "E.mp4", "e.mov"]
    beside = Beside(tmp_path, videos)
    names = {video: beside.to_write(video, ".txt").name for video in videos}
    assert names == {
        **{"a.mp4": "a.mp4.txt", "a.mov": "a.mov.txt", "b.mp4": "b.txt", "c.mp4": "c.txt"},
        **{"c.mp4.mkv": "c.mp4.mkv.txt", "d.x.mp4": "d.x.txt", "E.mp4": "E.mp4.txt", "e.mov": "e.mov.txt"},
    }
    assert all(beside.find(video, ".txt") is None for video in videos)
    for name in ("a.txt", "b.txt", "c.mp4.txt", "E.txt", "e.txt"):
        (tmp_path / name).touch()
    found = {video: beside.find(video, ".txt") for video in videos if not video.startswith("a.")}
    assert {video: path and path.name for video, path in found.items()} == {
        **{"b.mp4": "b.txt", "c.mp4": "c.mp4.txt", "c.mp4.mkv": None, "d.x.mp4": None},
        **{"E.mp4": "E.txt", "e.mov": "e.txt"},  # two files, where capitals count
    }
    for video in ("a.mp4", "a.mov"):
        with pytest.raises(UsageError, match=r"a\.txt may be that of a\.mov or a\.mp4\. Name it .* a\.mov\.txt"):
            beside.find(video, ".txt")
        assert beside.to_write(video, ".txt").name == f"{video}.txt"
    (tmp_path / "a.mp4.txt").touch()
    found_own = beside.find("a.mp4", ".txt")
    assert found_own is not None and found_own.name == "a.mp4.txt"


@given(videos=st.sets(NAMES.map(lambda name: f"x{name}"), min_size=1))
def test_no_two_videos_write_one_file(videos):
    from pathlib import Path

    beside = Beside(Path("/nowhere"), videos)
    written = [beside.to_write(video, ".txt").name.casefold() for video in videos]
    assert len(set(written)) >= len({video.casefold() for video in videos})


def test_the_nearest_name():
    names = ["clip1.mp4", "clip22.mp4", "kite.mov"]
    assert nearest("clip2.mp4", names) == " The nearest name is clip22.mp4."
    assert nearest("zebra.mp4", names) == ""
