"""`minisora caption VIDEOS`: captions of videos or curated clips, printed or written.

Here: the command. Not here: clips and files of captions (caption/sources.py), captioners
(caption/adapters.py).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from minisora.caption.sources import (
    TABLE,
    ambiguous_files,
    caption_file,
    find_clips,
    folder_of,
    read_table,
    row_name,
    texts_of,
    write_table,
    write_text,
)
from minisora.cli.console import say
from minisora.cli.options import taking
from minisora.errors import UsageError

if TYPE_CHECKING:
    from minisora.caption.sources import ClipSource

SAVE_SECONDS = 20.0  # between writings of a table


@dataclass(frozen=True, kw_only=True)
class Captioning:
    """Options of `minisora caption`."""

    sources: Annotated[
        list[Path], typer.Argument(help="Videos, folders of them, or what `minisora curate` wrote: its `out`.")
    ]
    model: Annotated[
        str,
        typer.Option(help="playroom, a captioner's folder, hf:NAME of transformers, or a server's URL, URL#MODEL."),
    ] = "playroom"
    long: Annotated[bool, typer.Option("--long", help="Longer captions.")] = False
    write: Annotated[
        Literal["txt", "jsonl"] | None,
        typer.Option(help=f"NAME.txt next to each NAME.mp4, or one {TABLE}; otherwise they are printed."),
    ] = None
    out: Annotated[
        Path | None, typer.Option(help=f"With --write jsonl: the file. [default: {TABLE} in the first folder]")
    ] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Also where there is a caption already.")] = False
    add: Annotated[bool, typer.Option("--add", help="Add to the captions that are there.")] = False

    def check(self) -> None:
        """Raise UsageError for options that exclude each other."""
        if self.out is not None and self.write != "jsonl":
            raise UsageError("--out names a table. Add --write jsonl.")
        if self.add and (self.overwrite or self.write is None):
            raise UsageError("--add adds to captions that are there: give --write with it, and not --overwrite.")


@dataclass(eq=False)
class Kept:
    """Output of captions: printed, next to their videos, or in a table that is saved at intervals.

    rows: of the table, by name
    """

    asked: Captioning
    table: Path
    rows: dict[str, dict[str, Any]]
    saved_at: float = field(default_factory=time.monotonic)

    def known(self, one: ClipSource) -> list[str]:
        return texts_of(one, self.asked.write, self.table, self.rows)

    def todo(self, every: Sequence[ClipSource]) -> tuple[list[ClipSource], dict[ClipSource, str]]:
        """Clips to caption, and those whose captions cannot be read, with reasons."""
        todo: list[ClipSource] = []
        failed: dict[ClipSource, str] = {}
        for one in every:
            try:
                if self.asked.overwrite or not self.known(one) or self.asked.add:
                    todo.append(one)
            except UsageError as error:
                failed[one] = f"{error} Or give --overwrite."
        return todo, failed

    def keep(self, texts: Mapping[ClipSource, str]) -> None:
        for one, text in texts.items():
            text = " ".join(text.split())  # a line of a text file is a caption
            known = self.known(one) if self.asked.add else []
            captions = [*known, *([text] if text not in known else [])]
            if self.asked.write == "txt" and (path := caption_file(one)) is not None:
                write_text(path, "".join(f"{each}\n" for each in captions))
            elif self.asked.write == "jsonl":
                name = row_name(one, self.table)
                about = one.about or {"path": name}
                self.rows[name] = {
                    **self.rows.get(name, {}),
                    **about,
                    "text": captions[0] if len(captions) == 1 else captions,
                }
            else:
                say(f"{one.name}: {text}")
        if time.monotonic() - self.saved_at > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        if self.asked.write == "jsonl" and self.rows:
            write_table(self.table, self.rows)
            self.saved_at = time.monotonic()


@taking(Captioning)
def caption(asked: Captioning) -> None:
    """Write captions for videos.

    Videos that have one are skipped, so the same command again continues where the last one
    stopped.
    """
    from minisora.caption.adapters import captions_named
    from minisora.caption.sources import caption_clips

    asked.check()
    every = find_clips(asked.sources)
    if asked.write == "txt" and any(one.file is None for one in every):
        raise UsageError("curated clips lie in shards, without a file of their own. Give --write jsonl.")
    table = (asked.out or folder_of(asked.sources[0]) / TABLE).resolve()
    kept = Kept(asked, table, read_table(table) if asked.write == "jsonl" else {})
    todo, failed = kept.todo(every)
    if (done := len(every) - len(todo) - len(failed)) > 0:
        say(f"{done} of {len(every)} have a caption; --overwrite replaces them", err=True)
    if not todo and not failed:
        return
    for reason in ambiguous_files(todo) if asked.write == "txt" else ():
        say(f"note: {reason}", err=True)
    if asked.model == "playroom":
        say("the model playroom knows things of the playroom alone; --model names others", err=True)
    try:
        failed |= caption_clips(captions_named(asked.model), todo, kept.keep, long=asked.long)
    finally:
        kept.save()
    for one, reason in failed.items():
        say(f"{one.name}: no caption: {reason}", err=True)
    captioned = len(todo) - sum(one in failed for one in todo)
    say(f"{captioned} captioned, {len(failed)} failed", err=True)
    if not captioned:
        raise UsageError("nothing got a caption; the reasons are above.")
