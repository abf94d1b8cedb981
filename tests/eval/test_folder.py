"""Folders of videos: prompts are found, bad input refused, and real renders reach the ceiling."""

from __future__ import annotations

import json

import pytest
import torch

from minisora.errors import UsageError
from minisora.eval.folder import folder_figures, read_prompts, write_prompts
from minisora.eval.report import prompts, render_all
from minisora.video import Video


def videos(folder, *names):
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    "given",
    [
        {"prompts.txt": "a red ball\n\n a  blue cube \n"},
        {"prompts.csv": 'file,prompt\nb.webm,"a blue cube"\na.mp4,a red ball\nnone.mp4,nothing\n'},
        {"prompts.jsonl": '{"prompt": "a red ball", "file": "a.mp4"}\n{"file": "b.webm", "prompt": "a blue cube"}\n'},
        {"a.txt": "a red ball\n", "b.txt": "a blue cube"},
    ],
)
def test_prompts_are_found(tmp_path, given):
    folder = videos(tmp_path / "clips", "a.mp4", "b.webm", "notes.md")
    for name, text in given.items():
        (folder / name).write_text(text, encoding="utf-8")
    told = [(path.name, prompt) for path, prompt in read_prompts(folder)]
    assert told == [("a.mp4", "a red ball"), ("b.webm", "a blue cube")]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "2 of 2 videos .* have no prompt, such as a.mp4"),
        ({"a.txt": "a ball"}, "1 of 2 videos .* such as b.mp4"),
        ({"prompts.txt": "a ball\n"}, "1 prompts for 2 videos"),
        ({"prompts.csv": "name,text\na.mp4,a ball\n"}, "needs file and prompt"),
        ({"prompts.jsonl": "a ball\n"}, "needs file and prompt"),
    ],
)
def test_videos_without_prompts_are_refused(tmp_path, given, says):
    folder = videos(tmp_path / "clips", "a.mp4", "b.mp4")
    for name, text in given.items():
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=says):
        read_prompts(folder)


def test_a_folder_without_videos_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no video"):
        read_prompts(tmp_path)


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl"])
def test_prompts_that_were_written_are_read(tmp_path, suffix):
    folder = videos(tmp_path / "clips", "0000.mp4", "0001.mp4", "0002.mp4")
    write_prompts(folder / f"prompts{suffix}", 3)
    assert [prompt for _, prompt in read_prompts(folder)] == [one.prompt for one in prompts(3)[1]]
    with pytest.raises(UsageError, match="written as"):
        write_prompts(tmp_path / "prompts.doc", 1)


def test_real_renders_in_a_folder(tmp_path):
    folder = tmp_path / "real"
    folder.mkdir()
    write_prompts(folder / "prompts.jsonl", 8)
    for n, clip in enumerate(render_all(prompts(8)[0], (96, 96))):
        Video(clip, 8.0).save(folder / f"{n:04d}.mp4")
    figures = {(figure.verb, figure.name): figure for figure in folder_figures(folder, tmp_path / "out", count=8)}
    colour = figures["real, prompts", "colour"]
    assert colour.mean > 0.8 and colour.n == 8 and colour.floor < colour.mean
    distance = figures["real", "Frechet distance"]
    assert distance.n == 8 and distance.mean < distance.floor
    assert len(json.loads((tmp_path / "out" / "folder.json").read_text())) == len(figures)


def test_a_video_of_one_frame_is_refused(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    Video(torch.zeros(1, 32, 32, 3, dtype=torch.uint8), 8.0).save(folder / "a.mp4")
    (folder / "a.txt").write_text("a ball")
    with pytest.raises(UsageError, match=r"a\.mp4 has 1 frames"):
        folder_figures(folder, tmp_path / "out")
