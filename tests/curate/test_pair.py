from __future__ import annotations

import json
import resource
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from minisora.curate.duplicates import near_duplicates
from minisora.curate.importers import IMPORTERS, pair
from minisora.curate.importers.pair import video_files
from minisora.curate.table import annotation
from minisora.curate.words import shared_scores, word_scores
from minisora.errors import UsageError
from minisora.video import write_video

FIXTURES = Path(__file__).parent / "fixtures"


def filled(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("said", "file"),
    [
        ("deep/a.mp4", "deep/a.mp4"),
        ("./a.mp4", "a.mp4"),
        ("a.mp4", "deep/a.mp4"),
        ("videos/deep/a.mp4", "deep/a.mp4"),
        ("deep\\a.mp4", "deep/a.mp4"),
        ("a.mp4", "a.mkv"),
        ("a", "a.WebM"),
        ("v_k_ZXmr8pmrs", "k_ZXmr8pmrs.mkv"),
        ("v_k_ZXmr8pmrs", "v_k_ZXmr8pmrs.mp4"),
        ("Jz2CSZW7_S4.7.mp4", "Jz2CSZW7_S4.7.mkv"),
        ("--_S9IDQPLg", "Cooking [--_S9IDQPLg].mkv"),
        ("--_S9IDQPLg", "Cooking---_S9IDQPLg.mp4"),
        ("https://www.youtube.com/watch?v=w4JM08PDEng&feature=youtu.be", "w4JM08PDEng.mp4"),
        ("https://youtu.be/w4JM08PDEng?t=3", "w4JM08PDEng.mp4"),
        (unicodedata.normalize("NFD", "café.mp4"), unicodedata.normalize("NFC", "café.mp4")),
    ],
)
def test_a_name_finds_its_file(said, file, tmp_path):
    filled(tmp_path, file, "other.mp4", "zzz/aa.mp4")
    found, missing = pair([annotation(said, start=1.0, stop=2.0)], tmp_path)
    assert not missing
    assert (found[0]["source"], found[0]["start"], found[0]["stop"]) == (file, 1.0, 2.0)
    assert found[0]["key"] == annotation(said, start=1.0, stop=2.0)["key"]


def test_an_absolute_path_outside_the_folder(tmp_path):
    filled(tmp_path, "media/a.mp4", "else/b.mp4")
    found, _ = pair([annotation(f"{tmp_path}/else/b.mp4")], tmp_path / "media")
    assert found[0]["source"] == f"{tmp_path}/else/b.mp4"


def test_of_several_files_the_folders_decide_or_nothing_does(tmp_path):
    filled(tmp_path, "x/1/a.mp4", "y/1/a.mp4", "a.mkv", "z/b.mp4", "b.webm")
    rows = [annotation("y/1/a.mp4"), annotation("data/x/1/a.mp4"), annotation("a.mp4"), annotation("b.mp4")]
    found, missing = pair(rows, tmp_path)
    assert [row["source"] for row in found] == ["y/1/a.mp4", "x/1/a.mp4", "z/b.mp4"]
    assert missing[0]["source"] == "a.mp4"
    assert missing[0]["reason"] == "a.mp4 may be any of x/1/a.mp4, y/1/a.mp4: remove all but one, or give the path."


def test_what_is_missing_is_listed_with_its_reason(tmp_path):
    filled(tmp_path, "--_S9IDQPLg.mkv", "NOtThErE123.mp4")
    found, missing = pair(IMPORTERS["panda70m"](FIXTURES / "panda70m/train.csv"), tmp_path)
    assert {row["source"] for row in found} == {"--_S9IDQPLg.mkv"}
    assert [row["start"] for row in found] == [19.227, 142.184]
    assert [row["reason"] for row in missing] == [
        "there is no file called qKYbTpFPf8s, nor one called 0000001_00000.mp4.",
        "a span from 5.0 to 5.0 ends where it starts or before. Mend or drop it.",
    ]


def test_a_file_of_one_clip_is_taken_whole(tmp_path):
    filled(tmp_path, "TrainValVideo/video0.mp4", "TrainValVideo/video1.avi")
    found, missing = pair(IMPORTERS["msrvtt"](FIXTURES / "msrvtt/videodatainfo.json"), tmp_path)
    assert [(row["source"], row["start"], row["stop"]) for row in found] == [
        ("TrainValVideo/video0.mp4", None, None),
        ("TrainValVideo/video1.avi", None, None),
    ]
    assert len(missing) == 1


def test_numbered_clips_of_panda_are_checked_against_the_words_beside_them(tmp_path):
    """The number of a video is its row in the csv: in another split it is another video."""
    filled(tmp_path, "00000/00000000_00000.mp4", "00000/00000000_00001.mp4", "00000/00000001_00000.mp4")  # 8 digits
    (tmp_path / "00000/00000000_00000.txt").write_text("""A chef's knife, "Santoku", cuts an onion.""")
    (tmp_path / "00000/00000000_00001.txt").write_text("A horse runs on a beach.")
    found, missing = pair(IMPORTERS["panda70m"](FIXTURES / "panda70m/train.csv"), tmp_path)
    assert [row["source"] for row in found] == ["00000/00000000_00000.mp4", "00000/00000001_00000.mp4"]
    assert "says 'A horse runs on a beach.'" in missing[0]["reason"]


def test_spans_in_frames_become_seconds_by_the_rate_of_the_file(tmp_path):
    write_video(tmp_path / "Jz2CSZW7_S4.7.mkv", torch.zeros(70, 16, 16, 3, dtype=torch.uint8), fps=12.5)
    filled(tmp_path, "Jz2CSZW7_S4.7_0_36.mp4", "AbCdEfGhIjK.0.mp4")
    found, missing = pair(IMPORTERS["shot2story"](FIXTURES / "shot2story/20k_val.json"), tmp_path)
    assert not missing
    whole, first, second, last = ((row["source"], row["start"], row["stop"]) for row in found)
    assert whole == ("Jz2CSZW7_S4.7.mkv", None, None)
    assert first == ("Jz2CSZW7_S4.7_0_36.mp4", None, None)
    assert second == ("Jz2CSZW7_S4.7.mkv", pytest.approx(37 / 12.5), pytest.approx(67 / 12.5))
    assert last == ("AbCdEfGhIjK.0.mp4", None, None)


def test_a_file_whose_rate_cannot_be_read_is_missing_with_the_error(tmp_path):
    filled(tmp_path, "video1.mp4", "other.mp4")
    rows = [*IMPORTERS["panda70m"](FIXTURES / "panda70m/cutscenes.json"), annotation("other.mp4")]
    found, missing = pair(rows, tmp_path)
    assert len(found) == 1
    assert all("video1.mp4" in row["reason"] for row in missing)


def test_all_missing_is_an_error_that_shows_both_sides(tmp_path):
    filled(tmp_path, "z.mp4")
    with pytest.raises(
        UsageError, match=r"none of the 2 rows .* x\.csv:1: there is no file called a\.mp4\..* there: z\.mp4"
    ):
        pair([annotation("a.mp4", origin="x.csv:1"), annotation("b.mp4")], tmp_path)
    with pytest.raises(UsageError, match="names no clip"):
        pair([], tmp_path)
    (tmp_path / "z.mp4").unlink()
    with pytest.raises(UsageError, match="holds no video"):
        pair([annotation("a.mp4")], tmp_path)


def test_a_name_that_is_not_there_is_told_the_nearest(tmp_path):
    filled(tmp_path, "kites/kite 1.mp4", "kites/kite 2.mp4", "sea.mp4")
    rows = [annotation(name) for name in ("sea.mp4", "kite_1.mp4", "zebra.mp4", f"/{'x' * 300}", "/a\0b.mp4")]
    _, missing = pair(rows, tmp_path)
    assert missing[0]["reason"] == "there is no file called kite_1.mp4. The nearest name is kite 1.mp4."
    assert missing[1]["reason"] == "there is no file called zebra.mp4." and len(missing) == 4


def test_hidden_files_are_none(tmp_path):
    filled(tmp_path, "a.mp4", "._a.mp4", ".trash/b.mp4", "__MACOSX/a.mp4", "@eaDir/a.mp4", "clip10.mp4", "clip9.mp4")
    assert video_files(tmp_path) == ["a.mp4", "clip9.mp4", "clip10.mp4"]
    found, _ = pair([annotation("a.mp4")], tmp_path)
    assert found[0]["source"] == "a.mp4"


def test_links_that_lead_back_up_end(tmp_path):
    filled(tmp_path, "a/1.mp4")
    (tmp_path / "a/up").symlink_to(tmp_path)
    found, _ = pair([annotation("1.mp4")], tmp_path)
    assert found[0]["source"] == "a/1.mp4"


@pytest.mark.long
def test_a_hundred_thousand_rows_in_two_gigabytes(tmp_path):
    """Made-up annotations in Panda's form through import, pairing, caption rules and duplicates."""
    filled(tmp_path, *(f"media/{video % 50}/{video:011d}.mkv" for video in range(25_000)))
    with (tmp_path / "train.csv").open("w") as file:
        file.write("videoID,url,timestamp,caption,matching_score\n")
        for video in range(25_000):
            times = [[f"0:{clip:02d}:00.000", f"0:{clip:02d}:07.500"] for clip in range(4)]
            captions = [f"Clip {clip} of video {video}, in some twenty words or so. " * 3 for clip in range(4)]
            file.write(f'{video:011d},u,"{times}","{captions}","[0.5, 0.5, 0.5, 0.5]"\n')
    found, missing = pair(IMPORTERS["panda70m"](tmp_path / "train.csv"), tmp_path / "media")
    assert (len(found), len(missing)) == (100_000, 0)
    scores = [word_scores(row["captions"]) for row in found]
    shared = shared_scores(row["captions"] for row in found)
    assert len(scores) == 100_000 and set(shared) == {1.0}
    draw = np.random.default_rng(0).integers(0, 2**64, 400_000, np.uint64)
    draw[200_000:] = draw[:200_000]
    hashes = pa.ListArray.from_arrays(pa.array(np.arange(0, 400_001, 4), pa.int32()), pa.array(draw))
    assert (near_duplicates(hashes) >= 0).sum() == 50_000
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"{peak_bytes / 2**30:.2f} GiB at most")
    assert peak_bytes < 2 * 2**30
    assert json.loads(found[0]["meta"])["clip_file"] == "0000000_00000.mp4"
