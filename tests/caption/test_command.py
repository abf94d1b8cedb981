"""`minisora caption` on files: what is written where, and what is left alone."""

from __future__ import annotations

import json

import pytest
import torch

from minisora.caption.adapters import captions_named
from minisora.caption.command import TABLE, caption
from minisora.caption.model import Captioner, CaptionerConfig, save_captioner
from minisora.curate.importers.plain import folder, table
from minisora.errors import UsageError
from minisora.video import write_video

TINY = CaptionerConfig(
    words=("a", "ball"), num_frames=2, group=2, side=16, width=24, num_heads=2, encoder_depth=1, longest=8
)


@pytest.fixture
def films(tmp_path):
    """Two videos, a file that is none, and a captioner that has learned nothing."""
    torch.manual_seed(2)
    model = Captioner(TINY)
    save_captioner(model, tmp_path / "captioner", {})
    videos = tmp_path / "films"
    (videos / "more").mkdir(parents=True)
    for number, name in enumerate(("one.mp4", "more/two.mp4")):
        frames = torch.randint(256, (6, 16, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
        write_video(videos / name, frames, fps=8.0)
    (videos / "broken.mp4").write_bytes(b"no video")
    return videos


def run(films, write=None, out=None, overwrite=False, sources=None):
    caption(sources or [films], str(films.parent / "captioner"), False, write, out, overwrite)


def test_captions_are_written_where_the_importers_read_them(films, capsys):
    run(films, "txt")
    said = capsys.readouterr().err
    assert "2 captioned, 1 failed" in said and "broken.mp4: no caption:" in said
    found = {row["source"]: row["captions"] for row in folder(films)}
    assert found["one.mp4"] == [(films / "one.txt").read_text().strip()] and found["more/two.mp4"]
    run(films, "jsonl")
    rows = {row["source"]: row["captions"] for row in table(films / TABLE)}
    assert rows == {name: texts for name, texts in found.items() if name != "broken.mp4"}


def test_what_is_there_is_left_alone_unless_asked(films, capsys):
    (films / "one.txt").write_text("mine\n")
    run(films, "txt")
    assert (films / "one.txt").read_text() == "mine\n"
    assert "1 of 3 have a caption" in capsys.readouterr().err
    run(films, "txt", overwrite=True)
    assert (films / "one.txt").read_text() != "mine\n"
    (films / TABLE).write_text(json.dumps({"path": "one.mp4", "text": "mine", "stars": 5}) + "\n")
    run(films, "jsonl")
    first, second = map(json.loads, (films / TABLE).read_text().splitlines())
    assert first == {"path": "one.mp4", "text": "mine", "stars": 5} and second["path"] == "more/two.mp4"
    run(films, "jsonl", overwrite=True)
    first = json.loads((films / TABLE).read_text().splitlines()[0])
    assert first["text"] != "mine" and first["stars"] == 5


def test_without_write_they_are_shown(films, capsys):
    run(films, sources=[films / "one.mp4", films / "one.mp4"])
    assert capsys.readouterr().out.count("one.mp4: ") == 1
    assert not list(films.glob("*.txt")) and not (films / TABLE).exists()


def test_what_cannot_be_done_is_refused(films):
    with pytest.raises(UsageError, match="no file or folder"):
        run(films, sources=[films / "nowhere.mp4"])
    with pytest.raises(UsageError, match="Add --write jsonl"):
        run(films, "txt", out=films / "table.jsonl")
    with pytest.raises(UsageError, match="no video got a caption"):
        run(films, sources=[films / "broken.mp4"])
    (films / TABLE).write_text("one.mp4,mine\n")
    with pytest.raises(UsageError, match="Name another file with --out"):
        run(films, "jsonl")
    with pytest.raises(UsageError, match="there is no captioner 'plyroom'"):
        captions_named("plyroom")
