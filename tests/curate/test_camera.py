"""Camera words on films that move as a camera would, and on renders whose camera is known."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from minisora.curate.camera import CAMERA_COLUMNS, fit, median_rates, shake, words
from minisora.video import Shape
from minisora.worlds.playroom.clips import clips
from minisora.worlds.playroom.draw import draw
from tests.helpers import films

SECONDS = 0.25  # between the frames that are compared


def told(frames):
    """Rates and words of frames, and the figures of each pair of them."""
    scale = 256 / max(frames.shape[1:3])
    size = (round(frames.shape[2] * scale), round(frames.shape[1] * scale))
    looks = [cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size) for frame in frames]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    pairs = np.array([fit(search.calc(a, b, None), a) for a, b in pairwise(looks)]) / SECONDS
    columns = dict(zip(CAMERA_COLUMNS, pairs.T, strict=True))
    rates = median_rates(columns)
    return rates, words(rates, shake(columns)), columns


MOVES = {
    "pan right": lambda: films.pan(0, 5, right=4.0),
    "pan left": lambda: films.pan(0, 5, right=-4.0),
    "tilt down": lambda: films.pan(0, 5, right=0.0, down=3.0),
    "tilt up": lambda: films.pan(0, 5, right=0.0, down=-3.0),
    "zoom in": lambda: films.turning(0, 5, zoom=1.04),
    "zoom out": lambda: films.turning(0, 5, zoom=1 / 1.04),
    "roll right": lambda: films.turning(0, 5, roll=2.0),
    "roll left": lambda: films.turning(0, 5, roll=-2.0),
    "static": lambda: films.pan(0, 5, right=0.0),
}


@pytest.mark.parametrize("move", MOVES)
def test_words_of_plain_moves(move):
    assert told(MOVES[move]())[1] == move


def test_rates_are_those_of_the_film():
    rates = told(films.pan(0, 5, right=4.0))[0]
    assert rates["pan"] == pytest.approx(4.0 / SECONDS / 128, rel=0.1)
    assert told(films.turning(0, 5, zoom=1.04))[0]["zoom"] == pytest.approx(np.log(1.04) / SECONDS, rel=0.1)
    assert told(films.turning(0, 5, roll=2.0))[0]["roll"] == pytest.approx(np.radians(2.0) / SECONDS, rel=0.15)


def test_a_shaken_camera_is_handheld():
    rng = np.random.default_rng(0)
    ground = films.texture(0, 160, 200)
    places = rng.integers(0, 16, (9, 2))
    frames = np.stack([ground[y : y + 96, x : x + 128] for y, x in places])
    assert told(frames)[1] == "handheld"


def test_what_moves_before_a_camera_is_not_the_camera():
    """A patch that crosses a picture that stands, and one that crosses a picture that pans."""
    for right, word in ((0.0, "static"), (4.0, "pan right")):
        frames = films.pan(0, 5, right=right).copy()
        patch = films.texture(9, 32, 32)
        for number, frame in enumerate(frames):
            frame[30:62, 10 + 10 * number : 42 + 10 * number] = patch
        _, said, columns = told(frames)
        assert said == word
        assert columns["object_motion"].mean() > 0.01


def test_a_plain_wall_gives_no_answer():
    rates, said, _ = told(np.full((5, 96, 128, 3), 120, np.uint8))
    assert said in ("", "static") and not any(abs(rate) > 0 for rate in rates.values() if np.isfinite(rate))


def playroom(each, num_frames):
    """Clips of one shot `each` of every move."""
    seeds: dict[str, list[int]] = {}
    for seed in range(200):
        scene_shots = draw(seed).shots
        if len(scene_shots) == 1:
            seeds.setdefault(scene_shots[0].move, []).append(seed)
    shape = Shape(num_frames=num_frames, height=96, width=128, fps=1 / SECONDS)
    chosen = [seed for of_move in seeds.values() for seed in of_move[:each]]
    for at in range(0, len(chosen), 7):
        yield from clips(chosen[at : at + 7], shape)


def share_right(each, num_frames):
    right = []
    for clip in playroom(each, num_frames):
        move = clip.truth["scene"]["shots"][0]["move"].replace("_", " ")
        right.append(told(clip.frames.numpy())[1].split(", ")[0] == move)
    return float(np.mean(right))


def test_words_of_playroom_cameras():
    assert share_right(2, 5) >= 0.8


@pytest.mark.long
def test_words_of_many_playroom_cameras():
    assert share_right(6, 9) >= 0.85
