"""Which files may be replaced unasked: those that name minisora, and no input."""

from __future__ import annotations

import json
import os
import shutil

import av
import numpy as np
import pytest
import torch
from PIL import Image

from minisora.errors import UsageError
from minisora.pages import write_page
from minisora.runs.page import write_page as write_runs
from minisora.video import Video, read_video
from minisora.video.origin import check_apart, check_replaceable, is_ours
from minisora.video.write import write_picture


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.mkv", "a.png"])
@pytest.mark.parametrize("request_", ["", '{"format": 1, "minisora": "0.1.0", "verb": "é"}'])
def test_what_is_written_names_us(tmp_path, scene, name, request_):
    Video(scene(1 if name == "a.png" else 3, 16, 16), 8.0, request=request_).save(tmp_path / name)
    assert is_ours(tmp_path / name)
    check_replaceable([tmp_path / name])


def test_pictures_of_a_sequence_sheets_and_pages_name_us_too(tmp_path, scene):
    video = Video(scene(3, 16, 16), 8.0)
    video.save(tmp_path / "a-%02d.png")
    video.contact_sheet(tmp_path / "sheet.PNG")
    write_picture(tmp_path / "picture.png", Image.new("RGB", (4, 4)))
    write_runs([], tmp_path / "page.htm")
    assert len(list(tmp_path.iterdir())) == 6 and all(map(is_ours, tmp_path.iterdir()))
    with pytest.raises(UsageError, match=r"sheet\.jpg: such a picture is a \.png"):
        video.contact_sheet(tmp_path / "sheet.jpg")


def test_other_files_are_kept(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "moving.gif", save_all=True, comment=b"mine")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "about.json").write_text('{"name": "minisora"}')
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "page.html").write_text("<!doctype html><p>minisora")
    (tmp_path / "cut.mp4").write_bytes(b"\0\0\0 ftypisom")
    (tmp_path / "text.mp4").write_text('{"minisora": "0.1.0"}')
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        container.metadata["comment"] = "holiday"
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 16
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    for path in tmp_path.iterdir():
        assert not is_ours(path), path
        with pytest.raises(UsageError, match=rf"{path.name} is there, and minisora did not make it.*add --force"):
            check_replaceable([path])
        check_replaceable([path], force=True)
    (tmp_path / "empty.mp4").touch()  # as mktemp leaves it
    (tmp_path / "request.json").write_text(json.dumps({"minisora": "0.1.0"}))
    check_replaceable([tmp_path / name for name in ("empty.mp4", "request.json", "not-there.mp4")])


def test_a_gif_shows_the_same_with_a_long_comment(tmp_path):
    frames = torch.randint(0, 256, (4, 9, 7, 3), dtype=torch.uint8)
    Video(frames, 10.0).save(tmp_path / "short.gif")
    Video(frames, 10.0, request=json.dumps({"minisora": "x" * 1000})).save(tmp_path / "long.gif")
    one, other = (Image.open(tmp_path / f"{name}.gif") for name in ("short", "long"))
    assert one.n_frames == other.n_frames == 4
    for n in range(4):
        one.seek(n)
        other.seek(n)
        assert np.array_equal(np.asarray(one.convert("RGB")), np.asarray(other.convert("RGB")))
    assert torch.equal(read_video(tmp_path / "long.gif").frames, read_video(tmp_path / "short.gif").frames)


def test_one_file_by_two_names_is_seen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip = tmp_path / "clip.mp4"
    clip.write_text("x")
    (tmp_path / "link.mp4").symlink_to("clip.mp4")
    os.link(clip, tmp_path / "hard.mp4")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling.mp4").symlink_to("folder/new.mp4")
    shutil.copy(clip, tmp_path / "copy.mp4")
    for name in ("clip.mp4", "./clip.mp4", "folder/../clip.mp4", "link.mp4", "hard.mp4"):
        with pytest.raises(UsageError, match="would replace the input"):
            check_apart([tmp_path / "new.mp4", tmp_path / name], [clip])
        check_apart([tmp_path / name], [clip], force=True)
        with pytest.raises(UsageError, match="would replace the output"):
            check_apart([clip, tmp_path / name], [], force=True)
    with pytest.raises(UsageError, match="would replace the output"):
        check_apart([tmp_path / "dangling.mp4", tmp_path / "folder" / "new.mp4"], [])
    check_apart([tmp_path / "copy.mp4", tmp_path / "new.mp4"], [clip])


def test_a_page_is_marked_by_its_template(tmp_path):
    write_page(tmp_path / "a.html", "runs.html", name="x", runs=[], charts=[])
    assert is_ours(tmp_path / "a.html")
