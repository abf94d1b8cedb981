"""The videos of a folder, each with its prompt.

A list in the folder, prompts.jsonl, .json, .csv, .tsv or .txt, has a column of file names and one
of prompts, or only prompts, one per video in natural order (2.mp4 before 10.mp4). Without a list,
the prompt of NAME.mp4 is the text of NAME.mp4.txt, or of NAME.txt if no other video has this stem.

Here: matching prompts to videos. Not here: reading lists (tables/prompts.py), scores (folder.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from os.path import abspath
from pathlib import Path

from minisora.errors import UsageError
from minisora.folders import VIDEOS, Beside, files_in, nearest, same_letters
from minisora.tables.entry import FILE, STRICT, Skipped
from minisora.tables.prompts import PromptRow, read_prompts_file
from minisora.tables.text import text_lines

LISTS = ("prompts.jsonl", "prompts.json", "prompts.csv", "prompts.tsv", "prompts.txt")

Prompts = dict[str, str]  # by name of the video


def read_prompts(folder: Path, skipped: Skipped = STRICT) -> list[tuple[Path, str]]:
    """The videos of a folder in natural order, each with its prompt, whitespace normalised.

    skipped: receives videos without a prompt, with reasons, and remarks

    Raises UsageError if there is no video, if none has a prompt, or if a list without file names
    has not one prompt per video.
    """
    videos = files_in(folder, VIDEOS) if folder.is_dir() else []
    if not videos:
        raise UsageError(f"{folder} holds no video ({', '.join(VIDEOS)}). Name a folder with some.")
    lists = [path for name in LISTS for path in files_in(folder) if path.name.lower() == name]
    for other in lists[1:]:
        skipped.note(f"{lists[0].name} is read, {other.name} is not.")
    prompts, reasons = _listed(lists[0], videos, skipped) if lists else _beside(folder, videos)
    if not prompts:
        why = reasons.get(videos[0].name, "")
        raise UsageError(
            f"{len(videos)} of {len(videos)} videos in {folder} have no prompt, such as {videos[0].name}. {why} Give "
            f"prompts.txt (a line for each, in the order of names, numbers as numbers), prompts.csv (file, prompt) or "
            f"{videos[0].name}.txt."
        )
    found = []
    for video in videos:
        if video.name in prompts:
            found.append((video, prompts[video.name]))
            skipped.good += 1
        else:
            skipped.add(video.name, reasons.get(video.name, f"{video.name} has no prompt. Give it one."))
    return found


def _beside(folder: Path, videos: Sequence[Path]) -> tuple[Prompts, dict[str, str]]:
    """Prompts from text files next to videos, and reasons for videos without one."""
    prompts, reasons = Prompts(), dict[str, str]()
    beside = Beside(folder, (video.name for video in videos))
    for video in videos:
        try:
            path = beside.find(video.name, ".txt")
            if path is not None and (text := _plain(" ".join(text_lines(path)))):
                prompts[video.name] = text
        except UsageError as error:
            reasons[video.name] = str(error)
    return prompts, reasons


def _listed(given: Path, videos: Sequence[Path], skipped: Skipped) -> tuple[Prompts, dict[str, str]]:
    """Prompts from a list, and reasons for videos without one."""
    found = read_prompts_file(given)
    for note in found.notes:
        skipped.note(note)
    skipped.blank += found.blank
    if found.named:
        return _by_name(given, found.rows, videos, skipped)
    if len(found.columns) > 1:
        columns = ", ".join(found.columns)
        raise UsageError(f"{given} needs file and prompt: none of {columns} is a column of files ({', '.join(FILE)}).")
    if len(found.rows) != len(videos):
        raise UsageError(
            f"{given} has {len(found.rows)} prompts for {len(videos)} videos ({videos[0].name} to {videos[-1].name}). "
            "Give one line for each, in the order of names, numbers as numbers."
        )
    rows = {video.name: row for video, row in zip(videos, found.rows, strict=True)}
    prompts = {name: _plain(row.text) for name, row in rows.items() if not row.problem}
    return prompts, {name: row.problem for name, row in rows.items() if row.problem}


def _by_name(
    given: Path, rows: Sequence[PromptRow], videos: Sequence[Path], skipped: Skipped
) -> tuple[Prompts, dict[str, str]]:
    prompts, reasons, first = Prompts(), dict[str, str](), dict[str, PromptRow]()
    named = _Named(given.parent, [video.name for video in videos])
    for row in rows:
        if row.problem:
            skipped.note(row.problem)
            continue
        try:
            name = named.find(row)
        except UsageError as error:
            skipped.note(str(error))
            continue
        before = first.setdefault(name, row)
        if before is row:
            prompts[name] = _plain(row.text)
        elif _plain(row.text) == _plain(before.text):
            skipped.note(f"{row.where} repeats {before.where}: {name}.")
        else:
            prompts.pop(name, None)
            reasons[name] = f"{name} has two prompts, in {before.where} and {row.where}. Keep one."
    return prompts, reasons


class _Named:
    """Videos of a folder, by the names that a list may use."""

    def __init__(self, folder: Path, videos: Sequence[str]) -> None:
        self._folder, self._names = folder, {same_letters(name): name for name in videos}
        self._stems = defaultdict[str, list[str]](list)
        for name in videos:
            self._stems[same_letters(Path(name).stem)].append(name)

    def find(self, row: PromptRow) -> str:
        """File name of a row's video.

        The row may name the folder too, and have no suffix or that of another video format.

        Raises UsageError if there is no such video, or several.
        """
        if not row.file:
            raise UsageError(f"{row.where} names no file.")
        said = same_letters(row.file)
        place, _, name = said.replace("\\", "/").rpartition("/")
        name = said if said in self._names else name
        if name not in self._names:
            alike = self._stems.get(Path(name).stem if name.lower().endswith(VIDEOS) else name, [])
            if len(alike) > 1:
                raise UsageError(f"{row.where}: {row.file} may be {' or '.join(alike)}. Add the suffix.")
            name = same_letters(alike[0]) if alike else name
        inside = place in ("", ".", self._folder.absolute().name) or abspath(place) == abspath(self._folder)
        if name not in self._names or not inside:
            near = nearest(name, self._names.values())
            raise UsageError(f"{row.where}: there is no video {row.file} in {self._folder}.{near}")
        return self._names[name]


def _plain(text: str) -> str:
    return " ".join(text.split())
