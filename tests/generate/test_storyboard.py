"""What a storyboard's file means, and where a mistake stands in it."""

from __future__ import annotations

import pytest
from PIL import Image

from minisora.errors import UsageError
from minisora.generate.schedule import Part
from minisora.generate.storyboard import Board, Shot, Storyboard, read_storyboard
from tests.helpers.tiny import bundle, picture

__all__ = ["bundle"]  # a fixture

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


def test_shots_of_one_scene_are_one_prompt(bundle, tmp_path):
    (tmp_path / "film.yaml").write_text(BOARD)
    for name in ("a.png", "b.png"):
        Image.fromarray(picture(1, 32, 32)[0].numpy()).save(tmp_path / name)
    board = read_storyboard(tmp_path / "film.yaml")
    assert [len(scene) for scene in board.scenes()] == [2, 1] and board.fps == 8 and board.size is None
    assert board.shots[0].keyframes == {0.0: tmp_path / "a.png", 1.5: tmp_path / "b.png"}
    request = Storyboard(board, size=(32, 32)).opened()
    scenes = [request._scene(bundle, request.board, scene)[0] for scene in request.board.scenes()]
    assert scenes[0].prompt.parts == (Part(0.0, "a red ball rolls in"), Part(2.0, "another angle: it bounces"))
    assert [condition.at for condition in scenes[0].conditions] == [0, 12]
    assert scenes[1].prompt.parts == (Part(0.0, "at night"),) and not scenes[1].conditions
    assert [scene.shape.num_frames for scene in scenes] == [1 + 28, 1 + 8]
    assert request.plan(bundle).shape.num_frames == 29 + 9


def test_a_board_of_values_is_that_of_the_file(tmp_path):
    (tmp_path / "film.yaml").write_text(BOARD)
    values = Board(
        (
            Shot(prompt="a red ball rolls in", seconds=2, keyframes={0: tmp_path / "a.png", 1.5: tmp_path / "b.png"}),
            Shot(prompt="another angle: it bounces", seconds=1.5, same_scene=True),
            Shot(prompt="at night", seconds=1),
        ),
        fps=8,
    )
    assert values == read_storyboard(tmp_path / "film.yaml")
    assert Storyboard(str(tmp_path / "film.yaml")).board == tmp_path / "film.yaml"  # read with its pictures


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("shots: []", "line 1: a storyboard needs shots"),
        ("shot:\n  - prompt: a", "line 1: a storyboard has no 'shot'. Did you mean shots?"),
        ("acts:\n  - prompt: a", "line 1: a storyboard has no 'acts'. It has: shots, size, fps"),
        ("1: 2\nshots:\n  - {prompt: a, seconds: 1}", "line 1: a storyboard has no 1. It has: shots, size, fps"),
        ("fps: 8\nshots:\n  - prompt: a\n    secs: 2", "line 4: a shot has no 'secs'. Did you mean seconds?"),
        (
            "shots:\n  - prompt: a\n    seconds: 2\n    7: 2",
            "line 4: a shot has no 7. It has: prompt, seconds, keyframes",
        ),
        ("shots:\n  - prompt: a", "line 2: shot 1 has no seconds"),
        ("shots:\n  - {prompt: a, seconds: 1}\n  - a shot", "line 3: shot 2 is a list of names and values"),
        ("shots: film", "line 1: shots: 'film': give shots, at least one"),
        ("shots:\n  - prompt: a\n    seconds: two", "line 3: seconds: 'two': give seconds above 0"),
        ("shots:\n  - prompt: a\n    seconds: -1", "line 3: seconds: -1: give seconds above 0"),
        ("shots:\n  - prompt: a|b\n    seconds: 1", "line 2: prompt: 'a|b': give words without |"),
        ("shots:\n  - prompt: ' '\n    seconds: 1", "line 2: prompt: ' ': give words"),
        ("shots:\n  - prompt: 5\n    seconds: 1", "line 2: prompt: 5: give words"),
        (
            "shots:\n  - prompt: a\n    seconds: 2\n    keyframes: {5: a.png}",
            "line 4: keyframes: {5: 'a.png'}: give moments",
        ),
        (
            "shots:\n  - prompt: a\n    seconds: 2\n    keyframes: {x: a.png}",
            "line 4: keyframes: 'x': give moments of the",
        ),
        (
            "shots:\n  - prompt: a\n    seconds: 2\n    keyframes: {1: 7}",
            "line 4: keyframes: 7: give moments of the shot",
        ),
        (
            "shots:\n  - prompt: a\n    seconds: 2\n    same_scene: maybe",
            "line 4: same_scene: 'maybe': give true or false",
        ),
        (
            "size: large\nshots:\n  - {prompt: a, seconds: 1}",
            "line 1: size: 'large': give WIDTHxHEIGHT in pixels, both 1",
        ),
        ("size: [96, 64]\nshots:\n  - {prompt: a, seconds: 1}", "line 1: size: [96, 64]: give WIDTHxHEIGHT"),
        ("fps: 0\nshots:\n  - {prompt: a, seconds: 1}", "line 1: fps: 0: give 0.01 to 1000"),
        ("fps: fast\nshots:\n  - {prompt: a, seconds: 1}", "line 1: fps: 'fast': give 0.01 to 1000"),
        ("shots: [", "is not YAML"),
        ("a film", "line 1: a storyboard is a list"),
        ("", "line 1: a storyboard is a list"),
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
