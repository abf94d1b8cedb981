"""Folders of videos: where prompts are found, what costs itself, and real renders that get what
real renders get.
"""

from __future__ import annotations

import json
import os

import pytest
import torch

from minisora.errors import UsageError
from minisora.eval.compare import read_report
from minisora.eval.folder import MEASURING, READING, folder_figures, write_prompts
from minisora.eval.no_reference import flicker
from minisora.eval.page import write_page
from minisora.eval.prompted import read_prompts
from minisora.eval.report import prompts, render_all
from minisora.progress import Event
from minisora.tables.entry import Skipped
from minisora.video import Video, read_video


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
        {"prompts.txt": "a red ball\r\n\u2028\r\na\u2028blue cube"},
        {"prompts.csv": "\ufeffsep=;\r\nPrompt;File\r\na red ball;a.mp4\r\n;\r\na blue cube;b.webm\r\n"},
        {"prompts.csv": "prompt\na red ball\na blue cube\n"},
        {"prompts.tsv": "Video Path\tCaption\nclips/a.mp4\ta red ball\n./b\ta blue cube\n"},
        {"prompts.jsonl": '{"file": "b.mp4", "prompt": "a\u2028blue\u2028cube"}\n{"file": "A", "text": "x"}\n'
                          '{"video": "a.mp4", "text": "a red ball"}\n'},
        {"prompts.json": '["a red ball", "a blue cube"]'},
        {"Prompts.TXT": "a red ball\na blue cube\n", ".prompts.csv": "x"},
        {"a.mp4.txt": "a red ball", "a.txt": "something else", "b.webm.txt": "a blue cube"},
    ],
)  # fmt: skip
def test_prompts_are_found(tmp_path, given):
    folder = videos(tmp_path / "clips", "a.mp4", "b.webm", "notes.md", "._a.mp4", ".b.webm", "Thumbs.db")
    for name, text in given.items():
        (folder / name).write_text(text, encoding="utf-8")
    told = [(path.name, prompt) for path, prompt in read_prompts(folder)]
    assert told == [("a.mp4", "a red ball"), ("b.webm", "a blue cube")]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "2 of 2 videos .* have no prompt, such as a.mp4"),
        ({"prompts.txt": "a ball\n"}, "1 prompts for 2 videos"),
        ({"prompts.csv": "name,text\na.mp4,a ball\n"}, "needs file and prompt: none of name, text"),
        ({"prompts.jsonl": "a ball\n"}, r"prompts\.jsonl:1: expected a JSON object in each line"),
        ({"prompts.csv": "File,file,text\na.mp4,b.mp4,a ball\n"}, "two columns have one name: 'File' and 'file'"),
        ({"prompts.csv": "file,prompt\nc.mp4,a ball\n"}, "2 of 2 videos"),
    ],
)
def test_folders_without_prompts_are_refused(tmp_path, given, says):
    folder = videos(tmp_path / "clips", "a.mp4", "b.mp4")
    for name, text in given.items():
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=says):
        read_prompts(folder, Skipped())


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"a.txt": b"a ball"}, "b.mp4 has no prompt"),
        ({"a.txt": b"a ball", "b.txt": b"caf\xe9"}, "b.txt:1 is not UTF-8 text"),
        ({"prompts.txt": b"a ball\n\ncaf\xe9\n"}, "prompts.txt:3 is not UTF-8 text"),
        ({"prompts.csv": b"file,prompt\na.mp4,a ball\n"}, "b.mp4 has no prompt"),
        (
            {"prompts.csv": b"file,prompt\nb.mp4,a cube\na.mp4,a ball\nb.mp4,a cone\n"},
            "b.mp4 has two prompts, in prompts.csv:2 and prompts.csv:4",
        ),
    ],
)
def test_a_video_without_a_prompt_costs_itself(tmp_path, given, reason):
    folder, skipped = videos(tmp_path / "clips", "a.mp4", "b.mp4"), Skipped()
    for name, text in given.items():
        (folder / name).write_bytes(text)
    assert read_prompts(folder, skipped) == [(folder / "a.mp4", "a ball")]
    ((name, said),) = skipped.broken
    assert name == "b.mp4" and reason in said
    with pytest.raises(UsageError, match=reason):
        read_prompts(folder)


def test_rows_that_fit_no_video_are_said(tmp_path):
    folder, skipped = videos(tmp_path / "clips", "clip1.mp4", "clip2.mp4", "x.mp4", "x.mov"), Skipped()
    (folder / "prompts.txt").write_text("never read")
    rows = "clip1.mp4,a ball\nclip2,a cube\nclip3.mp4,none\nclip1.mp4,a  ball\nx,which\n../y/x.mov,far\none cell\n"
    (folder / "prompts.csv").write_text("Video,caption\n" + rows + "x.mp4,here\nx.mov,there\n")
    assert [prompt for _, prompt in read_prompts(folder, skipped)] == ["a ball", "a cube", "there", "here"]
    assert list(skipped.notes) == [
        "prompts.csv is read, prompts.txt is not.",
        f"prompts.csv:4: there is no video clip3.mp4 in {folder}. The nearest name is clip2.mp4.",
        "prompts.csv:5 repeats prompts.csv:2: clip1.mp4.",
        "prompts.csv:6: x may be x.mov or x.mp4. Add the suffix.",
        f"prompts.csv:7: there is no video ../y/x.mov in {folder}. The nearest name is x.mp4.",
        "prompts.csv:8: expected 2 cells as in the first row, found 1: ['one cell']. Add the others.",
    ]


def test_lines_go_to_videos_in_the_order_of_their_numbers(tmp_path):
    names = ["0.mp4", "01.mp4", "2.mp4", "9.mov", "010.mp4", "10b.mp4", "11.mp4", "take 2.mp4", "Take 10.mp4"]
    folder = videos(tmp_path / "clips", *reversed(names))
    (folder / "prompts.txt").write_text("".join(f"number {n}\n" for n in range(len(names))))
    assert [(path.name, text) for path, text in read_prompts(folder)] == [
        (name, f"number {n}") for n, name in enumerate(names)
    ]


def test_words_that_two_videos_may_claim_are_nobodys(tmp_path):
    folder, skipped = videos(tmp_path / "clips", "a.mp4", "a.mov", "b.mp4", "b.mp4.mkv"), Skipped()
    for name in ("a.txt", "b.mp4.txt"):
        (folder / name).write_text(f"words of {name}")
    assert read_prompts(folder, skipped) == [(folder / "b.mp4", "words of b.mp4.txt")]
    reasons = dict(skipped.broken)
    assert "may be that of a.mov or a.mp4" in reasons["a.mov"] == reasons["a.mp4"]
    assert "no prompt" in reasons["b.mp4.mkv"]


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
    clips, told = render_all(prompts(8)[0], (96, 96)), [one.prompt for one in prompts(8)[1]]
    for n, clip in enumerate(clips, 5):  # 5 to 12: numbers of one digit and of two
        Video(clip, 8.0).save(folder / f"{n}.mp4")
    (folder / "prompts.txt").write_text("".join(f"{text}\n" for text in told))
    events = list[Event]()
    found = folder_figures(folder, tmp_path / "out", count=8, on_event=events.append)
    figures = {(figure.verb, figure.name): figure for figure in found.figures}
    colour = figures["real, prompts", "colour"]
    assert colour.mean > 0.8 and colour.n == 8 and colour.floor < colour.mean
    distance = figures["real", "Frechet distance"]
    assert distance.n == 8 and distance.mean < distance.floor
    written = json.loads((tmp_path / "out" / "folder.json").read_text())
    assert len(written["figures"]) == len(figures) and written["left_out"] == written["notes"] == []
    assert [(one["file"], one["prompt"]) for one in written["videos"]] == [
        (f"{n}.mp4", text) for n, text in enumerate(told, 5)
    ]
    assert f"| 12.mp4 | {told[-1]} | yes |" in (tmp_path / "out" / "folder.md").read_text()
    assert [event.done for event in events if event.stage == READING] == list(range(1, 9))
    assert events[-1] == Event(MEASURING, 8, 8)
    assert len(read_report(tmp_path / "out").figures) == len(figures)
    assert "Frechet distance" in write_page(tmp_path / "out").read_text(encoding="utf-8")


def test_broken_videos_cost_themselves(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    for name, count in (("1.mp4", 12), ("2.mp4", 40), ("3.mp4", 1), ("5.mp4", 30)):
        frames = torch.randint(0, 256, (count, 48, 64, 3), dtype=torch.uint8, generator=generator)
        Video(frames, 8.0).save(folder / name)
    (folder / "4.mp4").write_bytes(b"no video")
    (folder / os.fsdecode(b"5\xe9.mp4")).write_bytes(b"no video either")
    (folder / "._1.mp4").write_bytes(b"of macOS")
    (folder / "prompts.txt").write_text("one | two\ntwo\x1b[2J\nthree\nfour\nfive\nsix\n")
    found = folder_figures(folder, tmp_path / "out", count=1)
    assert {figure.n for figure in found.figures} == {3}
    said = json.loads((tmp_path / "out" / "folder.json").read_text())
    assert [one["file"] for one in said["videos"]] == ["1.mp4", "2.mp4", "5.mp4"]
    assert [one["file"] for one in said["left_out"]] == ["3.mp4", "4.mp4", r"5\xe9.mp4"]
    assert "3.mp4 has 1 frames" in said["left_out"][0]["reason"]
    assert said["notes"] and "0 of 3 videos" in said["notes"][0]
    page = (tmp_path / "out" / "folder.md").read_text()
    assert "| 1.mp4 | one \\| two | no |" in page and "\x1b" not in page and "- 4.mp4 is left out" in page
    first = next(figure for figure in found.figures if figure.name == "flicker")
    clips = [read_video(folder / name, fps=8.0).frames[:12] for name in ("1.mp4", "2.mp4", "5.mp4")]
    assert first.mean == pytest.approx(sum(map(flicker, clips)) / 3, abs=1e-9)


def test_a_folder_whose_only_video_has_one_frame_is_refused(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    Video(torch.zeros(1, 32, 32, 3, dtype=torch.uint8), 8.0).save(folder / "a.mp4")
    (folder / "a.txt").write_text("a ball")
    with pytest.raises(UsageError, match=r"a\.mp4 has 1 frames"):
        folder_figures(folder, tmp_path / "out")
