"""`minisora caption` on files: what is written where, and what is left alone."""

from __future__ import annotations

import json
import os

import pytest
import torch

from minisora.caption.adapters import captions_named
from minisora.caption.files import save_captioner
from minisora.caption.model import Captioner, CaptionerConfig
from minisora.caption.protocol import Failed, caption_each
from minisora.caption.sources import TABLE
from minisora.cli.caption import caption
from minisora.curate.captions import read_captions
from minisora.curate.importers.plain import folder, table
from minisora.curate.write import encode
from minisora.data.shards import ShardWriter
from minisora.errors import UsageError
from minisora.video import Video, write_video

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


def run(films, write=None, out=None, overwrite=False, sources=None, add=False):
    how = {"long": False, "write": write, "out": out, "overwrite": overwrite, "add": add}
    caption(sources=sources or [films], model=str(films.parent / "captioner"), **how)


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


def test_two_videos_of_one_name_have_two_files(films, capsys):
    """As converters leave them; words that may be of either are left alone, and said."""
    frames = torch.randint(256, (6, 16, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(9))
    write_video(films / "one.mkv", frames, fps=8.0)
    (films / "one.txt").write_text("of which?\n")
    (films / "._one.mp4").write_bytes(b"of macOS")
    run(films, "txt", sources=[films / "one.mp4"])  # the other one is not asked for, but there
    assert "one.txt may be that of one.mkv or one.mp4" in capsys.readouterr().err
    run(films, "txt")
    said = capsys.readouterr().err
    assert "1 of 4 have a caption" in said and "2 captioned, 1 failed" in said and "._one" not in said
    assert (films / "one.txt").read_text() == "of which?\n"
    texts = {name: (films / f"{name}.txt").read_text().strip() for name in ("one.mp4", "one.mkv")}
    assert {row["source"]: row["captions"] for row in folder(films)} == {
        **{name: [text] for name, text in texts.items()},
        **{"more/two.mp4": [(films / "more" / "two.txt").read_text().strip()], "broken.mp4": []},
    }
    run(films, "txt", sources=[films / "one.mkv"], add=True)
    assert (films / "one.mp4.txt").read_text().strip() == texts["one.mp4"]


def test_words_that_are_no_text_cost_themselves(films, capsys):
    (films / "one.txt").write_bytes(b"caf\xe9\n")
    run(films, "txt")
    said = capsys.readouterr().err
    assert "one.mp4: no caption: one.txt:1 is not UTF-8 text" in said and "1 captioned, 2 failed" in said
    assert (films / "one.txt").read_bytes() == b"caf\xe9\n"
    run(films, "txt", overwrite=True)
    assert (films / "one.txt").read_text(encoding="utf-8").strip()


def test_lines_of_words_end_at_line_feeds(films):
    (films / "one.txt").write_text("mine\u2028all\n\nmore\x85\r\n", encoding="utf-8", newline="")
    run(films, "txt", add=True)
    assert (films / "one.txt").read_text(encoding="utf-8").split("\n")[:2] == ["mine\u2028all", "more"]
    line = json.dumps({"path": "one.mp4", "text": "mine\u2028all"}, ensure_ascii=False)
    (films / TABLE).write_text(f"{line}\n\n{json.dumps({'path': 'one.mp4', 'text': 'twice'})}\n", encoding="utf-8")
    run(films, "jsonl")
    rows = [json.loads(row) for row in (films / TABLE).read_text(encoding="utf-8").split("\n") if row]
    assert rows[0] == {"path": "one.mp4", "text": ["mine\u2028all", "twice"]} and len(rows) == 2


def test_names_that_are_not_utf_8(films, capsys):
    (films / "one.mp4").rename(films / os.fsdecode(b"caf\xe9.mp4"))
    run(films, "jsonl")
    rows = [json.loads(line) for line in (films / TABLE).read_text(encoding="utf-8").splitlines()]
    assert os.fsencode(rows[0]["path"]) == b"caf\xe9.mp4"
    run(films, "txt")
    assert (films / os.fsdecode(b"caf\xe9.txt")).is_file()
    with pytest.raises(UsageError, match="nothing got a caption"):  # the broken one
        run(films, "jsonl")
    run(films)
    assert r"caf\xe9.mp4: " in capsys.readouterr().out


def test_without_write_they_are_shown(films, capsys):
    run(films, sources=[films / "one.mp4", films / "one.mp4"])
    assert capsys.readouterr().out.count("one.mp4: ") == 1
    assert not list(films.glob("*.txt")) and not (films / TABLE).exists()


@pytest.fixture
def curated(films):
    """What `minisora curate` leaves: two clips in a shard, one of which is broken."""
    out = films.parent / "out"
    pictures = torch.randint(256, (6, 16, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with ShardWriter(out / "clips") as writer:
        for key, mp4 in (("abc-000", encode(iter([pictures]), fps=8.0, codec="h264", crf=17)), ("def", b"no video")):
            about = {"fps": 8.0, "captions": [], "source": "kite.mp4", "start": 2.0, "stop": 2.75}
            writer.add(key, {"mp4": mp4, "json": json.dumps(about).encode()})
    return out


def test_curated_clips_are_captioned_for_their_recipe(films, curated, capsys):
    run(films, "jsonl", sources=[curated])
    assert "def: no caption:" in capsys.readouterr().err
    (row,) = map(json.loads, (curated / TABLE).read_text().splitlines())
    assert {name: row[name] for name in ("key", "path", "start", "stop")} == {
        "key": "abc-000", "path": "kite.mp4", "start": 2.0, "stop": 2.75,
    }  # fmt: skip
    assert read_captions(curated / TABLE).sample("abc-000", 2.0, 2.75, ["own"]) == [row["text"]]
    with pytest.raises(UsageError, match="nothing got a caption"):  # what is left is broken
        run(films, "jsonl", sources=[curated / "clips"])
    assert "1 of 2 have a caption" in capsys.readouterr().err
    with pytest.raises(UsageError, match="Give --write jsonl"):
        run(films, "txt", sources=[curated])


def test_a_sample_that_shows_another_stretch_is_captioned_anew(films, curated, capsys):
    """A clip that is divided anew has samples with the same keys.

    Captions of the earlier ones are not captions of these.
    """
    row = {"key": "abc-000", "path": "kite.mp4", "start": 2.0, "stop": 2.75, "text": "mine"}
    (curated / TABLE).write_text(json.dumps(row) + "\n")
    with pytest.raises(UsageError, match="nothing got a caption"):  # the other one is broken
        run(films, "jsonl", sources=[curated])
    (curated / TABLE).write_text(json.dumps({**row, "start": 0.0, "stop": 4.0}) + "\n")
    run(films, "jsonl", sources=[curated])
    (told,) = map(json.loads, (curated / TABLE).read_text().splitlines())
    assert (told["start"], told["stop"]) == (2.0, 2.75) and told["text"] != "mine"


def test_one_more_beside_what_is_there(films, curated, capsys):
    (films / "one.txt").write_text("mine\n")
    run(films, "txt", add=True)
    mine, other = (films / "one.txt").read_text().splitlines()
    assert mine == "mine" and other
    row = {"key": "abc-000", "text": "mine"}
    (curated / TABLE).write_text(json.dumps(row) + "\n")
    run(films, "jsonl", sources=[curated], add=True)
    (row,) = map(json.loads, (curated / TABLE).read_text().splitlines())
    assert row["text"][0] == "mine" and len(row["text"]) == 2
    with pytest.raises(UsageError, match="--add adds to captions"):
        run(films, add=True)


def test_a_clip_that_a_network_fails_at_costs_itself():
    class Picky:
        name, together = "picky", 4

        def __call__(self, clips, *, long=False):
            if any(len(clip.frames) == 2 for clip in clips):
                raise RuntimeError("two frames are  too few")
            return [f"{len(clip.frames)} frames" for clip in clips]

    clips = [Video(torch.zeros(n, 4, 4, 3, dtype=torch.uint8), 8.0) for n in (1, 2, 3)]
    said = caption_each(Picky(), clips)
    assert said == ["1 frames", Failed("picky failed: RuntimeError: two frames are too few"), "3 frames"]


def test_what_cannot_be_done_is_refused(films):
    with pytest.raises(UsageError, match="no file or folder"):
        run(films, sources=[films / "nowhere.mp4"])
    with pytest.raises(UsageError, match="Add --write jsonl"):
        run(films, "txt", out=films / "table.jsonl")
    with pytest.raises(UsageError, match="nothing got a caption"):
        run(films, sources=[films / "broken.mp4"])
    (films / TABLE).write_text("one.mp4,mine\n")
    with pytest.raises(UsageError, match="Name another file with --out"):
        run(films, "jsonl")
    with pytest.raises(UsageError, match="there is no captioner 'plyroom'"):
        captions_named("plyroom")
