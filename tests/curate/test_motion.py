"""Motion of films that move by a known amount."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minisora.curate.scores import Scored
from minisora.curate.signals import Reading, read_signals
from tests.helpers import films

DIAGONAL = math.hypot(96, 128)


def scores(path, span=(0.0, 1.0)):
    return Scored(read_signals(path), ()).scores(span)


@pytest.mark.parametrize(("pixels", "fps"), [(1.0, 24), (2.0, 12), (0.5, 30)])
def test_motion_is_by_the_second_whatever_the_rate(tmp_path, pixels, fps):
    path = films.write(tmp_path / "film.mp4", films.pan(0, fps, right=pixels), fps=fps)
    assert scores(path)["motion"] == pytest.approx(pixels * fps / DIAGONAL, rel=0.1)


def test_motion_is_the_same_at_another_size(tmp_path):
    small = films.pan(0, 24, right=1.0)
    large = np.repeat(np.repeat(small, 3, axis=1), 3, axis=2)
    one, other = (
        scores(films.write(tmp_path / f"{number}.mp4", frames))["motion"]
        for number, frames in enumerate((small, large))
    )
    assert one == pytest.approx(other, rel=0.1)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_vectors_of_the_codec_tell_the_motion(tmp_path, codec):
    found = []
    for pixels in (0.0, 1.0, 3.0):
        frames = films.pan(0, 24, 192, 256, right=pixels)
        options = {"preset": "veryfast"} if codec == "libx264" else {"b": "4M"}
        found.append(
            scores(films.write(tmp_path / f"{pixels}.mp4", frames, codec=codec, options=options))["codec_motion"]
        )
    expected = [pixels * 24 / (2 * DIAGONAL) for pixels in (0.0, 1.0, 3.0)]
    np.testing.assert_allclose(found, expected, rtol=0.25, atol=0.002)


def test_flow_is_searched_for_where_the_codec_tells_of_motion(tmp_path):
    still, moving = (
        films.write(tmp_path / f"{pixels}.mp4", films.pan(0, 24, 192, 256, right=pixels)) for pixels in (0.02, 3.0)
    )
    whole, spared = (
        Scored(read_signals(moving, Reading(flow_above=least)), ()).scores((0, 1)) for least in (0.0, 0.05)
    )
    assert whole == spared
    skipped = Scored(read_signals(still, Reading(flow_above=0.05)), ()).scores((0, 1))
    assert skipped["motion"] == skipped["codec_motion"] < 0.05 and skipped["pan"] is None and skipped["camera"] == ""


def test_a_codec_without_vectors_gives_no_answer(tmp_path):
    path = films.write(tmp_path / "film.mkv", films.pan(0, 24), codec="ffv1", options={})
    clip = scores(path)
    assert clip["codec_motion"] is None and clip["motion"] > 0


def test_one_look_gives_no_answer(tmp_path):
    path = films.write(tmp_path / "film.mp4", films.pan(0, 24))
    assert scores(path, (0.5, 0.7))["motion"] is None
