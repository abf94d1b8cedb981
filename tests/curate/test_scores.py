"""Scores of films that were made to have them."""

from __future__ import annotations

import numpy as np
import pytest

from minisora.curate.lost import MediaError
from minisora.curate.scores import HASHES, LABELS, SCORES, Scored
from minisora.curate.signals import read_signals
from tests.helpers import colours, films


def scored(path, cuts=()):
    return Scored(read_signals(path), cuts)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A gliding shot that fades out, black, a still picture: 24 frames each, at 24 fps."""
    shot, still = films.pan(1, 24), np.repeat(films.pan(2, 1), 24, axis=0)
    frames = np.concatenate([films.faded(shot, out=12), np.zeros_like(shot), still])
    return scored(films.write(tmp_path_factory.mktemp("films") / "mixed.mp4", frames), [48])


def test_every_score_has_a_description_and_no_other_is_given(mixed):
    assert set(mixed.scores((0.0, 1.0))) == {*SCORES, *LABELS}


def test_stretches_count_where_they_are(mixed):
    first, second, third = (mixed.scores((start, start + 1.0)) for start in (0.0, 1.0, 2.0))
    assert [clip["frames"] for clip in (first, second, third)] == [24, 24, 24]
    assert second["black_share"] == 1 and third["black_share"] == 0 and first["black_share"] <= 3 / 24
    assert first["faded_share"] == pytest.approx(10 / 24, abs=2 / 24) and third["faded_share"] == 0
    assert third["frozen_share"] >= 22 / 24 and first["frozen_share"] == 0
    assert third["motion"] == 0 and first["motion"] > 0
    assert first["brightness"] > 0.1 > second["brightness"]


def test_cuts_inside_a_span_are_counted_and_motion_is_not_told_over_them(mixed):
    over = mixed.scores((1.5, 2.5))
    assert over["cuts"] == 1 and over["motion"] == 0
    assert mixed.scores((2.0, 3.0))["cuts"] == 0  # its own beginning is none


def test_a_span_beyond_the_end_is_said_to_be_missing(mixed):
    late = mixed.scores((2.5, 4.5))
    assert late["duration"] == pytest.approx(0.5, abs=1e-3) and late["missing_share"] == pytest.approx(0.75, abs=1e-3)
    never = mixed.scores((10.0, 12.0))
    assert (never["duration"], never["missing_share"], never["frames"]) == (0, 1, 0)
    assert never["brightness"] is None and never["motion"] is None and never["hashes"] == []


def test_a_new_span_decodes_nothing(tmp_path):
    path = films.write(tmp_path / "film.mp4", films.pan(0, 12))
    film = scored(path)
    path.unlink()
    assert film.scores((0.1, 0.32))["frames"] == 5


def test_bars_are_those_that_every_frame_has(tmp_path):
    frames = films.boxed(films.pan(0, 24, 120, 160), top=12, bottom=18)
    frames[:8] = films.boxed(frames[:8], left=40)  # a thing that is dark for a while
    clip = scored(films.write(tmp_path / "film.mp4", frames)).scores((0.0, 1.0))
    assert clip["crop"] == pytest.approx([12, 0, 18, 0], abs=1)
    assert clip["bars_share"] == pytest.approx(0.25, abs=0.02)


def test_shape_is_that_of_the_picture_as_shown(tmp_path):
    clip = scored(films.write(tmp_path / "film.mp4", films.pan(0, 6, 96, 162), fps=30, rotation=-90)).scores((0, 0.2))
    assert (clip["width"], clip["height"], clip["short_side"], clip["fps"]) == (96, 162, 96, 30)
    assert clip["aspect"] == pytest.approx(96 / 162)


def test_flicker_is_that_of_a_lamp_and_not_of_a_sunrise(tmp_path):
    shot = films.pan(0, 24).astype(np.float64)
    lamp = shot * np.where(np.arange(24) % 2, 0.9, 1.0)[:, None, None, None]
    sunrise = shot * np.linspace(0.6, 1.0, 24)[:, None, None, None]
    flicker = [
        scored(films.write(tmp_path / f"{number}.mp4", film.astype(np.uint8))).scores((0, 1))["flicker"]
        for number, film in enumerate((shot, sunrise, lamp))
    ]
    mean = shot.mean() / 255
    assert flicker[2] == pytest.approx(0.1 * mean, rel=0.1)
    assert max(flicker[:2]) < flicker[2] / 10


def test_copies_of_a_clip_have_near_hashes(tmp_path):
    frames = films.pan(4, 48, 120, 160)
    smaller = np.stack([frame[::2, ::2] for frame in frames])
    one = scored(films.write(tmp_path / "a.mp4", frames)).scores((0, 2))["hashes"]
    copy = films.write(tmp_path / "b.mp4", smaller, options={"preset": "veryfast", "crf": "30"})
    other = scored(copy).scores((0, 2))["hashes"]
    assert len(one) == len(other) == HASHES
    assert max((a ^ b).bit_count() for a, b in zip(one, other, strict=True)) <= 8
    assert all(0 <= number < 2**64 for number in one)


def hdr_film(path, transfer, matrix=9):
    """Six frames of HDR, 10 bits: 18 % of white, 203 cd/m2, beside it."""
    signal = {16: (0.4109, 0.5807), 18: (0.4362, 0.75)}[transfer]
    columns = np.round(64 + 876 * np.array(signal)[:, None] * [1, 0, 0] + [0, 448, 448]).astype(np.uint16)
    planes = colours.stripes(columns, 64, 48)
    tags = {"primaries": 9, "transfer": transfer, "matrix": matrix}
    return colours.write(path, [colours.frame_of(planes, "yuv444p10le", **tags) for _ in range(6)])


@pytest.mark.parametrize(("transfer", "name"), [(16, "bt2020/pq/bt2020nc"), (18, "bt2020/hlg/bt2020nc")])
def test_hdr_is_told_and_measured_as_it_is_shown(tmp_path, transfer, name):
    clip = scored(hdr_film(tmp_path / "film.mkv", transfer)).scores((0, 0.2))
    assert (clip["hdr"], clip["colour"]) == (1, name)
    assert clip["brightness"] == pytest.approx((118 + 254) / 2 / 255, abs=0.01)
    plain = scored(films.write(tmp_path / "plain.mp4", films.pan(0, 6))).scores((0, 0.2))
    assert (plain["hdr"], plain["colour"], plain["interlaced"]) == (0, "unknown/unknown/unknown", 0)


def test_colours_that_are_not_read_are_an_error_of_the_file(tmp_path):
    with pytest.raises(MediaError, match=r"film\.mkv.*bt2020/hlg/ictcp") as caught:
        scored(hdr_film(tmp_path / "film.mkv", 18, matrix=14))
    assert caught.value.reason == "unreadable"


def test_interlaced_frames_are_counted_and_measured_without_their_comb(tmp_path):
    frames = films.pan(1, 24, right=4.0)
    woven = frames[0::2].copy()
    woven[:, 1::2] = frames[1::2, 1::2]
    options = {"preset": "veryfast", "crf": "10", "x264-params": "tff=1"}
    path = films.write(tmp_path / "film.mp4", woven, fps=12, options=options)
    clip = scored(path).scores((0, 1))
    plain = scored(films.write(tmp_path / "plain.mp4", frames[0::2], fps=12)).scores((0, 1))
    assert (clip["interlaced"], clip["frames"]) == (1, 12)
    assert clip["motion"] == pytest.approx(plain["motion"], rel=0.15)
    assert clip["sharpness"] == pytest.approx(plain["sharpness"], rel=0.35)
