"""What a storyboard's file means, and where a mistake stands in it."""

from __future__ import annotations

import pytest

from minisora.errors import UsageError
from minisora.generate.storyboard import read_storyboard

BOARD = """
fps: 8
shots:
  - prompt: a red ball rolls in
    seconds: 2
    keyframes: {0: a.png, 1.5: b.png}
  - prompt: "another angle: it bounces"
    seconds: 1.5
    same_scene: true
  - prompt: at night
    seconds: 1
"""


def test_shots_of_one_scene_are_one_prompt(tmp_path):
    (tmp_path / "film.yaml").write_text(BOARD)
    board = read_storyboard(tmp_path / "film.yaml")
    assert [len(scene) for scene in board.scenes()] == [2, 1] and board.fps == 8 and board.size is None
    assert board.shots[0].keyframes == {0.0: tmp_path / "a.png", 1.5: tmp_path / "b.png"}
    told = parts(scene_prompt(board.scenes()[0]))
    assert [(part.start, part.text) for part in told] == [
        (0.0, "a red ball rolls in"),
        (2.0, "another angle: it bounces"),
    ]
    assert scene_prompt(board.scenes()[1]) == "at night"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("shots: []", "line 1: a storyboard needs shots"),
        ("shot:\n  - prompt: a", "line 1: a storyboard has no 'shot'. It has: size, fps, shots"),
        ("fps: 8\nshots:\n  - prompt: a\n    secs: 2", "line 4: a shot has no 'secs'"),
        ("shots:\n  - prompt: a", "line 2: shot 1 has no seconds"),
        ("shots:\n  - prompt: a\n    seconds: two", "line 3: seconds: 'two'"),
        ("shots:\n  - prompt: a\n    seconds: -1", "line 2: shot 1 needs words"),
        ("shots:\n  - prompt: a\n    seconds: 2\n    keyframes: {5: a.png}", "line 4: 5: a.png is no moment"),
        ("size: large\nshots:\n  - {prompt: a, seconds: 1}", "line 1: size: 'large' is not WIDTHxHEIGHT"),
        ("fps: 0\nshots:\n  - {prompt: a, seconds: 1}", "line 1: fps: 0 is no rate"),
        ("shots: [", "is not YAML"),
        ("a film", "line 1: a storyboard is a list"),
    ],
)
def test_mistakes_are_said_with_their_line(tmp_path, text, says):
    (tmp_path / "film.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_storyboard(tmp_path / "film.yaml")
    assert says in str(caught.value) and "film.yaml" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_storyboard(tmp_path / "none.yaml")
