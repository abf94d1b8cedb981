"""Scores of any folder of videos with prompts, from any model: visual quality and prompt following.

Prompt following can be judged for the playroom's held-out prompts, which `write_prompts` writes for
other models to use. A video that cannot be read or has no prompt is left out and listed.

One clip at a time is in memory at its own size, which the metrics of quality.py need (and I3D, for
FVD). The judge and its features use copies at the judge's size, which are kept.

Here: the figures of a folder, and its report. Not here: matching prompts to videos (prompted.py),
the metrics (quality.py), the marks (score.py).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from minisora.errors import UsageError
from minisora.eval.prompted import read_prompts
from minisora.eval.quality import MOST_CLIPS, frame_figures, set_figures
from minisora.eval.report import SECONDS, prompts, render_all
from minisora.eval.rows import Figure, Findings, figure_of, verb_table
from minisora.eval.score import ATTRIBUTES, prompt_marks
from minisora.judge.network import load_judge
from minisora.judge.playroom import FPS, PlayroomJudge
from minisora.judge.segment import SIDE, fitted
from minisora.outside import printable
from minisora.progress import Event, OnEvent, no_listener
from minisora.tables.entry import Skipped
from minisora.video import read_frames
from minisora.video.files import replacing
from minisora.worlds import playroom
from minisora.worlds.seeds import REPORT_OTHERS

T = TypeVar("T")
LEAST_FRAMES, MOST_FRAMES = 3, round(SECONDS * FPS) + 1
READING, MEASURING = "reading videos", "measuring videos"  # stages


@dataclass(frozen=True, eq=False)
class _Clip:
    """A video that was read.

    size:  height and width in pixels
    small: (T, H, W, 3) uint8 at FPS, at the judge's size
    """

    path: Path
    prompt: str
    size: tuple[int, int]
    small: Tensor


def folder_figures(
    folder: Path, out: Path, *, count: int = 200, i3d: Path | None = None, on_event: OnEvent = no_listener
) -> Findings:
    """Score a folder; folder.json and folder.md go into the folder `out`.

    Only the first SECONDS of each video are read, at FPS; all are cut to the length of the
    shortest.

    count: number of held-out prompts among which the videos' prompts are looked up

    Raises UsageError if there is no video, if none has a prompt, or if none can be read.
    """
    skipped = Skipped()
    clips = _read(read_prompts(folder, skipped), skipped, on_event)
    length, (height, width) = min(len(clip.small) for clip in clips), clips[0].size
    size = round(SIDE * height / min(height, width)), round(SIDE * width / min(height, width))
    real, others = (
        [clip[:length] for clip in render_all([playroom.draw(seed, split="held_out") for seed in seeds], size)]
        for seeds in (REPORT_OTHERS[: len(clips)], REPORT_OTHERS[len(clips) : 2 * len(clips)])
    )
    name = printable(folder.absolute().name)
    figures = frame_figures({name: _native(clips[:MOST_CLIPS], length, on_event)}, real)
    looks = [clip.small[:length] for clip in clips] if i3d is None else _native(clips, length, on_event)
    figures += set_figures({name: looks}, real, others, i3d)
    scenes, asked = prompts(count, aspect=size[1] / size[0])
    known = {" ".join(one.prompt.split()): n for n, one in enumerate(asked)}
    judged = [clip for clip in clips if clip.prompt in known]
    if judged:
        judge, numbers = load_judge(PlayroomJudge), [known[clip.prompt] for clip in judged]
        seen = judge.describe([clip.small[:length] for clip in judged])
        truth = judge.describe(render_all([scenes[n] for n in numbers], size))
        found = prompt_marks(seen, truth, [asked[n] for n in numbers])
        figures += [figure_of(f"{name}, prompts", attribute, found) for attribute in ATTRIBUTES]
    if skipped.blank:
        skipped.note(f"skipped blank rows: {skipped.blank}")
    if len(judged) < len(clips):
        skipped.note(
            f"prompt following is of {len(judged)} of {len(clips)} videos: the other prompts are not among the first "
            f"{count} that --write-prompts writes."
        )
    return _written(figures, clips, skipped, judged, out)


def _read(prompted: Sequence[tuple[Path, str]], skipped: Skipped, on_event: OnEvent) -> list[_Clip]:
    """Read all videos, one at a time; `skipped` receives those that cannot be read."""
    clips = []
    for path, prompt in _stepped(prompted, READING, len(prompted), on_event):
        with skipped.entry(path.name):
            frames = _first_seconds(path)
            if len(frames) < LEAST_FRAMES:
                raise UsageError(
                    f"{path} has {len(frames)} frames at {FPS:g} fps. Give videos of {LEAST_FRAMES} or more."
                )
            clips.append(_Clip(path, prompt, (frames.shape[1], frames.shape[2]), fitted(frames)))
    if not clips:
        raise UsageError(skipped.broken[-1][1])
    return clips


def _native(clips: Sequence[_Clip], length: int, on_event: OnEvent) -> Iterator[Tensor]:
    """Read the clips again at their own size, one at a time."""
    for clip in _stepped(clips, MEASURING, len(clips), on_event):
        yield _first_seconds(clip.path)[:length]


def _first_seconds(path: Path) -> Tensor:
    """(T, H, W, 3) uint8 at FPS, at most MOST_FRAMES."""
    frames, _ = read_frames(path, fps=FPS, stop=(MOST_FRAMES + 1) / FPS)
    return frames[:MOST_FRAMES]


def _stepped(items: Iterable[T], stage: str, total: int, on_event: OnEvent) -> Iterator[T]:
    for done, item in enumerate(items, 1):
        yield item
        on_event(Event(stage, done, total))


def _written(
    figures: Sequence[Figure], clips: Sequence[_Clip], skipped: Skipped, judged: Sequence[_Clip], out: Path
) -> Findings:
    """Write the figures, the prompt of each video, and what was left out."""
    videos = [
        {"file": printable(one.path.name), "prompt": printable(one.prompt), "judged": one in judged} for one in clips
    ]
    left_out = [{"file": printable(name), "reason": printable(reason)} for name, reason in skipped.broken]
    notes = [printable(note) for note in skipped.notes]
    data = {"figures": [asdict(each) for each in figures], "videos": videos, "left_out": left_out, "notes": notes}
    table = verb_table(figures)
    page = [table, "", "| file | prompt | judged |", "| --- | --- | --- |"]
    page += [
        f"| {_cell(one['file'])} | {_cell(one['prompt'])} | {'yes' if one['judged'] else 'no'} |" for one in videos
    ]
    lines = [f"{one['file']} is left out: {one['reason']}" for one in left_out] + notes
    page += ["", *(f"- {line}" for line in lines)]
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (("folder.json", json.dumps(data, indent=2) + "\n"), ("folder.md", "\n".join(page) + "\n")):
        with replacing(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return Findings(tuple(figures), table, tuple(lines))


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|")


def write_prompts(path: Path, count: int, *, force: bool = False) -> None:
    """Write `count` held-out prompts of the playroom, for 0000.mp4 and on: .txt, .csv or .jsonl.

    force: replace a file that says something else
    """
    if path.suffix not in (".txt", ".csv", ".jsonl"):
        raise UsageError(f"{path}: prompts are written as .txt, .csv or .jsonl. Name one of these.")
    texts = [one.prompt for one in prompts(count)[1]]
    names = [f"{n:04d}.mp4" for n in range(count)]
    file = io.StringIO()
    if path.suffix == ".csv":
        csv.writer(file).writerows([("file", "prompt"), *zip(names, texts, strict=True)])
    else:
        rows = zip(names, texts, strict=True)
        lines = texts if path.suffix == ".txt" else [json.dumps({"file": f, "prompt": t}) for f, t in rows]
        file.write("\n".join(lines) + "\n")
    data = file.getvalue().encode()
    if not force and path.exists() and path.read_bytes() not in (b"", data):
        raise UsageError(f"{path} is there, and says something else. Choose another name, or add --force.")
    with replacing(path) as temporary:
        temporary.write_bytes(data)
