"""`generate --prompts FILE -o FOLDER`: a video or a picture for each prompt of a list.

The same command continues after a stop: whole files that the same model made from the same request
stay, the others are made. A table of all lies in the folder, as `evaluate --folder` reads it.

Here: the options, the loop, the table. Not here: reading the list (tables/prompts.py), one video
(produce.py).
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minisora.cli.console import Bar, make_folder, progress, say
from minisora.cli.produce import ModelOptions, Output, load, planned, processes, run, save
from minisora.errors import UsageError
from minisora.generate.media import files
from minisora.generate.request import Request
from minisora.outside import printable
from minisora.tables.prompts import PromptRow, read_prompts_file

if TYPE_CHECKING:
    from minisora.generate.model import Model
    from minisora.generate.plan import Work

TABLE = "prompts.csv"
SAVE_SECONDS = 20.0  # between writings of the table


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """Options of a list of prompts, in place of one."""

    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A prompt on each line or row; -o is a folder, for 0001.mp4 and so on."),
    ] = None
    suffix: Annotated[str | None, typer.Option(help="With --prompts: mp4, webm, gif or mkv; of pictures png.")] = None

    def check(self, given: Container[str]) -> bool:
        """Return whether a list is asked for. Raises UsageError unless it is that, or one prompt.

        given: names of the fields that are
        """
        if (self.prompts is None) == ("prompt" not in given):
            raise UsageError('give one prompt, such as "a red ball rolls to the left", or --prompts FILE.')
        if self.suffix is not None and self.prompts is None:
            raise UsageError("--suffix is of a list: give --prompts FILE, or name the file with -o.")
        return self.prompts is not None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. seconds: length of the video; error: why there is none"""

    file: str
    prompt: str
    seed: str = ""
    seconds: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class PromptList:
    """A list to make.

    request: of the fields of an entry; raises UsageError for one that cannot be
    notes:   for the user, on how the list was read
    """

    entries: Sequence[PromptRow]
    request: Callable[..., Request]
    notes: Sequence[str]
    folder: Path
    suffix: str
    zoom: int

    @classmethod
    def of(
        cls, kind: type[Request], request: Callable[..., Request], listed: ListOptions, output: Output
    ) -> PromptList:
        """Check the options, read the list and make the folder.

        Raises UsageError for options that cannot be, and for files that would be lost.
        """
        from minisora.video import check_writable
        from minisora.video.write import SUFFIXES

        assert listed.prompts is not None
        for name in ("sheet", "save_request", "timings"):
            if getattr(output, name):
                raise UsageError(f"--{name.replace('_', '-')} is of one video: leave it out with --prompts.")
        folder, suffix = output.out, "." + (listed.suffix or ("mp4" if kind.moving else "png")).lower().lstrip(".")
        if not folder.is_dir() and (folder.exists() or folder.suffix.lower() in SUFFIXES):
            raise UsageError(f"--prompts makes a file of each line: name a folder for them with -o, not {folder}.")
        example = request(prompt="a ball").opened()  # so that a wrong option is refused once, not on each line
        found = read_prompts_file(listed.prompts)
        make_folder(folder)
        check_writable(folder / f"0001{suffix}", num_frames=2 if kind.moving else 1)
        made = cls(
            entries=found.rows, request=request, notes=found.notes, folder=folder, suffix=suffix, zoom=output.zoom
        )
        made._check_kept([listed.prompts, *files(example)], force=output.force)
        return made

    def name(self, number: int) -> str:
        return f"{number:04d}{self.suffix}"

    def _check_kept(self, inputs: Sequence[Path], *, force: bool) -> None:
        """Raise UsageError for files that would be lost."""
        from minisora.video.origin import check_apart, check_replaceable

        table = self.folder / TABLE
        paths = [self.folder / self.name(number) for number in range(1, len(self.entries) + 1)]
        check_apart([*paths, table], inputs, force=force)
        check_replaceable(paths, force=force)
        if table.exists() and not force and _read(table) is None:
            raise UsageError(f"{table} is there, and minisora did not make it. Choose another folder, or add --force.")


@dataclass(eq=False)
class _Tally:
    """Outcome so far. failed: messages by place in the list; there: files that were made before"""

    rows: list[Row] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    there: int = 0

    @property
    def whole(self) -> int:
        return len(self.rows) - len(self.failed)


def produce_list(asked: PromptList, options: ModelOptions, output: Output) -> None:
    """Load the model, make what is not there yet, and print what was made."""
    tally, saved_at = _Tally(), time.monotonic()
    with progress() as bar, processes(output) as (here, share):
        model = load(options.model, bar, options.upscale)
        share(model)
        make_folder(here.out)
        table = here.out / TABLE
        try:
            for number in range(1, len(asked.entries) + 1):
                _produce(asked, number, here.out, model, bar, tally)
                if time.monotonic() - saved_at > SAVE_SECONDS:
                    _write(table, tally.rows)
                    saved_at = time.monotonic()
        except BaseException as error:
            with suppress(UsageError):  # the first error says more
                _write(table, tally.rows)
            if not isinstance(error, KeyboardInterrupt):
                raise
            left = f"{tally.whole} of {len(asked.entries)} are there"
            say(f"stopped: {left}; the same command goes on", err=True)
            raise typer.Exit(130) from None
        _write(table, tally.rows)
    for note in asked.notes:
        say(f"note: {note}", err=True)
    say(f"{asked.folder}: {tally.whole - tally.there} made, {tally.there} there before; {TABLE} lists them")
    for where, message in tally.failed.items():
        say(message if message.startswith(where) else f"{where}: {message}", err=True)
    if tally.failed:
        say(f"{len(tally.failed)} of {len(asked.entries)} prompts made nothing; the reasons are above", err=True)
        raise typer.Exit(1)


def _produce(asked: PromptList, number: int, here: Path, model: Model, bar: Bar, tally: _Tally) -> None:
    """Make the video of one entry, unless it is there; one that is refused costs itself alone."""
    entry, name = asked.entries[number - 1], asked.name(number)
    prompt = entry.text
    try:
        if entry.problem:
            raise UsageError(entry.problem)
        work = planned(asked.request(prompt=prompt), model, bar)
    except UsageError as error:
        tally.failed[entry.where] = " ".join(str(error).split())
        tally.rows.append(Row(file=name, prompt=printable(prompt), error=printable(tally.failed[entry.where])))
        return
    if _is_made(asked.folder / name, work, asked.zoom):
        tally.there += 1
    else:
        for note in _make(work, here / name, asked.zoom):
            say(f"note: {name}: {note}", err=True)
        say(f"{asked.folder / name}: {prompt}")
    shape = work.plan.shape
    seconds = f"{shape.num_frames / shape.fps:g}" if shape.num_frames > 1 else ""
    tally.rows.append(Row(file=name, prompt=prompt, seed=str(getattr(work.request, "seed", "")), seconds=seconds))


def _make(work: Work, path: Path, zoom: int) -> list[str]:
    """Make one video; notes for the user. Ctrl-C raises KeyboardInterrupt and leaves no part."""
    from minisora.video import Video

    result, wanted = run(work), work.plan.shape.num_frames
    made = result.video
    if isinstance(made, Video) and len(made.frames) < wanted:
        raise KeyboardInterrupt
    notes = [*result.notes, *save(made, path, zoom)]
    if not isinstance(made, Video) and made.made < wanted:
        path.unlink()
        raise KeyboardInterrupt
    return notes


def _is_made(path: Path, work: Work, zoom: int) -> bool:
    """True if a file is there, whole, and what this work makes."""
    from minisora.generate import saved
    from minisora.video import probe
    from minisora.video.read import read_comment

    if not path.exists():
        return False
    try:
        found, about = json.loads(read_comment(path)), probe(path)
    except (UsageError, ValueError):
        return False
    shape, asked = work.plan.shape, json.loads(saved.written(work.request, work.bundle))
    if not isinstance(found, dict) or {**found, "minisora": ""} != {**asked, "minisora": ""}:  # of any version
        return False
    even = path.suffix == ".mp4"
    height, width = (zoom * side + (zoom * side) % 2 * even for side in (shape.height, shape.width))
    is_whole = shape.num_frames == 1 or about.seconds > (shape.num_frames - 1) / shape.fps
    return (about.height, about.width) == (height, width) and is_whole


def _read(table: Path) -> list[Row] | None:
    """Rows of a table that `_write` made; None for another."""
    try:
        with table.open(encoding="utf-8", newline="") as file:
            found = csv.DictReader(file)
            if found.fieldnames != [f.name for f in fields(Row)]:
                return None
            return [Row(**row) for row in found]
    except (OSError, UnicodeDecodeError, csv.Error, TypeError):
        return None


def _write(table: Path, rows: Sequence[Row]) -> None:
    """Write the table; rows of earlier lists stay as long as their files are there."""
    from minisora.video.files import replacing

    named = {row.file for row in rows}
    older = [row for row in _read(table) or [] if row.file not in named and (table.parent / row.file).exists()]
    with replacing(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in (*rows, *older))
