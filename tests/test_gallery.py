"""`minisora gallery`: a page of the videos in a folder."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

from minisora.generate import saved
from minisora.generate.verbs import Generate
from minisora.video import read_image, write_video
from tests.helpers.command import elsewhere, refused, run

__all__ = ["elsewhere"]  # a fixture

FRAMES = torch.arange(5, dtype=torch.uint8)[:, None, None, None].mul(30).expand(5, 32, 48, 3).contiguous()


def video(name: str, prompt: str | None = None, frames: torch.Tensor = FRAMES) -> Path:
    path = Path("videos", name)
    path.parent.mkdir(exist_ok=True)
    comment = "" if prompt is None else saved.written(Generate(prompt, seed=7, steps=4), None)
    write_video(path, frames=frames, fps=8.0, comment=comment)
    return path


def page() -> str:
    return Path("site/index.html").read_text(encoding="utf-8")


def test_a_page_of_the_videos_with_their_prompts(elsewhere):
    first = video("2 <b>&.mp4", "a red <i>ball</i> & 'more'")
    video("10.mp4")
    video("still.png", frames=FRAMES[:1])
    result = run("gallery", "videos", "-o", "site", "--title", "Balls & more")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "shows 3 of 3 files" in result.stdout
    text = page()
    assert re.findall(r"<b dir=\"auto\">(.*?)</b>", text) == [
        html.escape("a red <i>ball</i> & 'more'", quote=True).replace("&#x27;", "&#39;"),
        "10.mp4",
        "still.png",
    ]
    assert "generate, seed 7, steps 4" in text and "Balls &amp; more</h1>" in text and "<script" not in text
    assert not re.search(r'(?:src|href|poster)="(?:https?:)?//', text)
    for address in re.findall(r'(?:src|poster)="([^"]+)"', text):
        assert (Path("site") / unquote(address)).is_file(), address
    assert Path("site/media", first.name).read_bytes() == first.read_bytes()
    poster = read_image(f"site/posters/{first.name}.jpg")
    assert poster.shape == (32, 48, 3) and poster.float().mean() < 10  # the first frame


def test_again_replaces_the_page_and_no_other(elsewhere):
    video("one.mp4", "a red ball")
    assert run("gallery", "videos", "-o", "site").exit_code == 0
    video("two.mp4", "a blue ball")
    assert run("gallery", "videos", "-o", "site").exit_code == 0
    assert "a blue ball" in page()
    Path("other").mkdir()
    Path("other/index.html").write_text("my own page", encoding="utf-8")
    assert "did not make it" in refused("gallery", "videos", "-o", "other")
    assert Path("other/index.html").read_text(encoding="utf-8") == "my own page"


def test_what_cannot_be_shown_is_left_out_and_said(elsewhere):
    video("one.mp4", "a red ball")
    Path("videos/broken.mp4").write_bytes(b"no video " * 50)
    Path("videos/film.mkv").write_bytes(b"x")
    Path("videos/notes.txt").write_text("x", encoding="utf-8")
    result = run("gallery", "videos", "-o", "site")
    assert result.exit_code == 0 and "shows 1 of 4 files" in result.stdout
    assert "broken.mp4" in result.stderr and "film.mkv" in result.stderr and "notes.txt" not in result.output
    assert "broken" not in page()


def test_a_comment_of_another_program_is_no_prompt(elsewhere):
    path = Path("videos/a.mp4")
    path.parent.mkdir()
    write_video(path, frames=FRAMES, fps=8.0, comment=json.dumps({"request": {"prompt": "not ours"}}))
    assert run("gallery", "videos", "-o", "site").exit_code == 0
    assert "not ours" not in page()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("nowhere", "-o", "site"), "no folder"),
        (("empty", "-o", "site"), "holds no videos"),
        (("videos", "-o", "videos"), "folder of the videos"),
    ],
)
def test_refusals(elsewhere, command, said):
    video("one.mp4", "a red ball")
    Path("empty").mkdir()
    assert said in refused("gallery", *command)
