"""Scores of any folder of videos with prompts, from any model: visual quality and prompt following.

The folder holds the prompts: prompts.jsonl (lines with "file" and "prompt"), prompts.csv (columns
file, prompt), prompts.txt (one per line, in the order of the file names), or NAME.txt next to each
video. Prompt following can be judged for the playroom's held-out prompts, which `write_prompts`
writes for other models to use.

Here: reading a folder, and its rows. Not here: the figures (quality.py), the marks (score.py).
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from minisora.errors import UsageError
from minisora.eval.quality import quality_figures
from minisora.eval.report import SECONDS, prompts, render_all
from minisora.eval.rows import Figure, figure_of, write_rows
from minisora.eval.score import ATTRIBUTES, prompt_marks
from minisora.judge.network import load_judge
from minisora.judge.playroom import FPS, PlayroomJudge
from minisora.judge.segment import SIDE
from minisora.video import read_video
from minisora.video.files import replacing
from minisora.worlds import playroom
from minisora.worlds.seeds import REPORT_OTHERS

SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".gif")
LISTS = ("prompts.jsonl", "prompts.csv", "prompts.txt")
LEAST_FRAMES = 3


def folder_figures(folder: Path, out: Path, *, count: int = 200, i3d: Path | None = None) -> list[Figure]:
    """Score a folder; folder.json and folder.md go into the folder `out`.

    Only the first SECONDS of each video are read, at FPS, or the length of the shortest.

    count: number of held-out prompts among which the videos' prompts are looked up

    Raises UsageError for a folder without videos, videos without prompts, and videos that are too
    short.
    """
    prompted = read_prompts(folder)
    clips = [read_video(path, fps=FPS).frames[: round(SECONDS * FPS) + 1] for path, _ in prompted]
    shortest = min(range(len(clips)), key=lambda n: len(clips[n]))
    length = len(clips[shortest])
    if length < LEAST_FRAMES:
        raise UsageError(
            f"{prompted[shortest][0]} has {length} frames at {FPS:g} fps. Give videos of {LEAST_FRAMES} or more."
        )
    clips = [clip[:length] for clip in clips]
    height, width = clips[0].shape[1:3]
    size = round(SIDE * height / min(height, width)), round(SIDE * width / min(height, width))
    first = [
        render_all([playroom.draw(seed, split="held_out") for seed in seeds], size)
        for seeds in (REPORT_OTHERS[: len(clips)], REPORT_OTHERS[len(clips) : 2 * len(clips)])
    ]
    real, others = ([clip[:length] for clip in each] for each in first)
    figures = quality_figures({folder.name: clips}, real, others, i3d)
    scenes, asked = prompts(count, aspect=size[1] / size[0])
    known = {" ".join(one.prompt.split()): n for n, one in enumerate(asked)}
    pairs = [(n, known[prompt]) for n, (_, prompt) in enumerate(prompted) if prompt in known]
    if pairs:
        judge = load_judge(PlayroomJudge)
        truth = render_all([scenes[n] for _, n in pairs], size)
        seen = judge.describe([clips[n] for n, _ in pairs])
        found = prompt_marks(seen, judge.describe(truth), [asked[n] for _, n in pairs])
        figures += [figure_of(f"{folder.name}, prompts", name, found) for name in ATTRIBUTES]
    write_rows(figures, out, "folder")
    return figures


def read_prompts(folder: Path) -> list[tuple[Path, str]]:
    """The videos of a folder, sorted by name, each with its prompt, whitespace normalised."""
    videos = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not videos:
        raise UsageError(f"{folder} holds no video ({', '.join(SUFFIXES)}). Name a folder with some.")
    given = next((folder / name for name in LISTS if (folder / name).exists()), None)
    if given is None:
        texts = {path.name: path.with_suffix(".txt") for path in videos}
        prompts = {name: _text(path) for name, path in texts.items() if path.exists()}
    elif given.suffix == ".txt":
        lines = [line for line in _text(given).splitlines() if line.strip()]
        if len(lines) != len(videos):
            raise UsageError(f"{given} has {len(lines)} prompts for {len(videos)} videos. Give one line for each.")
        prompts = dict(zip([path.name for path in videos], lines, strict=True))
    else:
        prompts = _table(given)
    if missing := [path.name for path in videos if path.name not in prompts]:
        raise UsageError(
            f"{len(missing)} of {len(videos)} videos in {folder} have no prompt, such as {missing[0]}. Give prompts.txt"
            f" (a line for each, in the order of names), prompts.csv (file, prompt) or {Path(missing[0]).stem}.txt."
        )
    return [(path, " ".join(prompts[path.name].split())) for path in videos]


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


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}. Save it as UTF-8.") from error


def _table(path: Path) -> dict[str, str]:
    """Prompts by file name."""
    lines = _text(path).splitlines()
    try:
        rows = list(csv.DictReader(lines)) if path.suffix == ".csv" else [json.loads(line) for line in lines if line]
        return {str(row["file"]): str(row["prompt"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: every row needs file and prompt ({error!r}).") from error
