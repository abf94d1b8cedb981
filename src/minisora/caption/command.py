"""`minisora caption FILES_OR_FOLDER`: a caption for each video, shown, or written where `minisora curate` reads it.

Here: the command, and files. Not here: who writes the captions (adapters.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from minisora.errors import UsageError

if TYPE_CHECKING:
    from minisora.caption.said import Captions

TABLE = "captions.jsonl"
SAVE_SECONDS = 20.0  # between writings of a table
FPS, MOST_FRAMES = 8.0, 64  # of a video that is read; of a longer one fewer a second


def caption(
    sources: Annotated[list[Path], typer.Argument(help="Videos, or folders of them.")],
    model: Annotated[
        str,
        typer.Option(help="playroom, a captioner's folder, hf:NAME of transformers, or a server's URL, URL#MODEL."),
    ] = "playroom",
    long: Annotated[bool, typer.Option("--long", help="Say more of each.")] = False,
    write: Annotated[
        Literal["txt", "jsonl"] | None,
        typer.Option(help=f"NAME.txt beside each NAME.mp4, or one {TABLE}; otherwise they are shown."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help=f"With --write jsonl: the file. [default: {TABLE} in the first folder]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Also where there is a caption already.")] = False,
) -> None:
    """Say in words what videos show.

    What has a caption is left as it is, so the same command again goes on where the last one stopped.
    """
    from minisora.caption.adapters import captions_named

    if out is not None and write != "jsonl":
        raise UsageError("--out names a table. Add --write jsonl.")
    videos = _videos(sources)
    table = (out or _folder(sources[0]) / TABLE).resolve()
    rows = _read_table(table) if write == "jsonl" else {}
    todo = [video for video in videos if overwrite or not _has_caption(video, write, table, rows)]
    if len(todo) < len(videos):
        typer.echo(f"{len(videos) - len(todo)} of {len(videos)} have a caption; --overwrite writes them anew", err=True)
    if not todo:
        return

    saved_at = time.monotonic()

    def keep(texts: Mapping[Path, str]) -> None:
        nonlocal saved_at
        for video, text in texts.items():
            if write == "txt":
                _replace(video.with_suffix(".txt"), text + "\n")
            elif write == "jsonl":
                name = _name(video, table)
                rows[name] = {**rows.get(name, {}), "path": name, "text": text}
            else:
                typer.echo(f"{video}: {text}")
        if write == "jsonl" and time.monotonic() - saved_at > SAVE_SECONDS:
            _write_table(table, rows)
            saved_at = time.monotonic()

    try:
        failed = caption_files(captions_named(model), todo, keep, long=long)
    finally:
        if write == "jsonl" and rows:
            _write_table(table, rows)
    for video, reason in failed.items():
        typer.echo(f"{video}: no caption: {reason}", err=True)
    typer.echo(f"{len(todo) - len(failed)} captioned, {len(failed)} failed", err=True)
    if len(failed) == len(todo):
        raise UsageError("no video got a caption; the reasons are above.")


def caption_files(
    captions: Captions, videos: Iterable[Path], keep: Callable[[Mapping[Path, str]], None], *, long: bool = False
) -> dict[Path, str]:
    """Read, caption and hand over, a few videos at a time. Returns those without a caption, and why."""
    from minisora.caption.said import Failed, shrunk
    from minisora.video import Video, probe, read_video

    failed: dict[Path, str] = {}
    left = iter(videos)
    while some := list(islice(left, captions.together)):
        clips: dict[Path, Video] = {}
        for path in some:
            try:
                about = probe(path)
                clip = read_video(path, fps=min(about.fps, FPS, MOST_FRAMES / max(about.seconds, 1e-3)))
                clips[path] = Video(shrunk(clip.frames), clip.fps)
            except UsageError as error:
                failed[path] = str(error)
        said = dict(zip(clips, captions(list(clips.values()), long=long), strict=True))
        failed.update({path: one.reason for path, one in said.items() if isinstance(one, Failed)})
        keep({path: one for path, one in said.items() if isinstance(one, str)})
    return failed


def _videos(sources: Sequence[Path]) -> list[Path]:
    def each() -> Iterator[Path]:
        from minisora.curate.importers.pair import video_files

        for source in sources:
            if source.is_dir():
                yield from (source / name for name in video_files(source))
            elif source.is_file():
                yield source
            else:
                raise UsageError(f"there is no file or folder {source}. Check the name.")

    return list(dict.fromkeys(each()))


def _folder(source: Path) -> Path:
    return source if source.is_dir() else source.parent


def _name(video: Path, table: Path) -> str:
    """A video as its table names it: from the table's folder, where it lies below."""
    whole = video.resolve()
    return whole.relative_to(table.parent).as_posix() if whole.is_relative_to(table.parent) else whole.as_posix()


def _has_caption(video: Path, write: str | None, table: Path, rows: Mapping[str, Any]) -> bool:
    return (write == "txt" and video.with_suffix(".txt").exists()) or (write == "jsonl" and _name(video, table) in rows)


def _read_table(table: Path) -> dict[str, dict[str, Any]]:
    """Rows by path, with all that others wrote into them. Raises UsageError where it is no such table."""
    if not table.exists():
        return {}
    rows = {}
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            rows[row["path"]] = row
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f'{table}:{number} is no line {{"path", "text"}}. Name another file with --out.'
            ) from error
    return rows


def _write_table(table: Path, rows: Mapping[str, Any]) -> None:
    _replace(table, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.values()))


def _replace(path: Path, text: str) -> None:
    from minisora.video.files import replacing

    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
