"""`minisora curate RECIPE.yaml`: run a recipe on this machine or on Ray, with progress.

Here: the command. Not here: the run (runner.py), the recipe (recipe.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from minisora.cli.console import say
from minisora.errors import UsageError
from minisora.progress import Event, OnEvent

LINE_SECONDS = 30.0  # between lines of progress where there is no terminal
MOST_SHOWN = 3  # broken rows


def curate(
    recipe: Annotated[Path, typer.Argument(help="A YAML file; docs/curation.md says what may stand in it.")],
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Processes of this machine, or Ray.")] = "local",
    workers: Annotated[int | None, typer.Option(help="Files at a time; the number of cores.")] = None,
    address: Annotated[str | None, typer.Option(help="With --engine ray: of a cluster that is running.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what was quarantined.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what there is to do.")] = False,
) -> None:
    """Make training clips from videos: measure, select, cut, pack into shards, account for all.

    The same command again continues where the last one stopped, and processes only new or changed
    files.
    """
    from rich.console import Console

    from minisora.curate.ledger import ledger_table
    from minisora.curate.recipe import read_recipe
    from minisora.curate.runner import find, local_engine, run
    from minisora.workers.ray_runner import ray_engine

    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: give 1 or more.")
    if address is not None and engine != "ray":
        raise UsageError("--address names a Ray cluster. Add --engine ray.")
    read = read_recipe(recipe)
    if dry_run:
        found = find(read, retry=retry)
        files, left = found.units.num_rows, found.todo.num_rows
        say(f"{len(found.rows):,} annotations with a file, {len(found.missing):,} without")
        if broken := found.skipped.broken:
            say(f"{len(broken):,} broken rows, such as {'; '.join(reason for _, reason in broken[:MOST_SHOWN])}")
        _say(found.skipped.blank, found.skipped.notes)
        say(f"{left:,} of {files:,} files are to be measured; the others have been")
        return
    patience, here = read.run.timeout_seconds, workers or os.cpu_count() or 1
    chosen = ray_engine(workers, patience, address) if engine == "ray" else local_engine(here, patience)
    with _bars() as on_event:
        ledger = run(read, chosen, on_event=on_event, retry=retry)
    _say(ledger.blank, ledger.notes)
    Console().print(ledger_table(ledger))
    say(f"{ledger.samples:,} samples in {read.out / 'clips'}; {read.out / 'report.html'} shows what was dropped")


def _say(blank: int, notes: Iterable[str]) -> None:
    if blank:
        say(f"note: skipped blank rows of the annotations: {blank:,}", err=True)
    for note in notes:
        say(f"note: {note}", err=True)


@contextmanager
def _bars() -> Iterator[OnEvent]:
    """Context manager: a bar for each stage on stderr, with speed and time left; lines at intervals
    without a terminal.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        tasks, told_at = {}, time.monotonic()

        def on_event(event: Event) -> None:
            nonlocal told_at
            what, done, total = event.stage, event.done, event.total
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total, rate="")
            task = progress.tasks[progress.task_ids.index(tasks[what])]
            progress.update(task.id, completed=done, total=total, rate=f"{task.speed:.3g}/s" if task.speed else "")
            if not console.is_terminal and time.monotonic() - told_at > LINE_SECONDS:
                told_at, left = time.monotonic(), task.time_remaining
                say(f"{what}: {done:,} of {total:,}" + (f", {left:.0f} s left" if left else ""), err=True)

        yield on_event
