"""`minisora runs`: progress of training runs.

Here: the command. Not here: logs, pictures and the page (runs/), references (train/reference.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minisora.cli.console import say
from minisora.cli.produce import Force
from minisora.errors import UsageError
from minisora.runs.logs import RUNS


def runs(
    folder: Annotated[Path, typer.Argument(help="A run's name or folder, or a folder of runs.")] = RUNS,
    page: Annotated[Path | None, typer.Option(metavar="HTML", help="Write one page with curves and samples.")] = None,
    tensorboard: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write the logs for TensorBoard.")] = None,
    keep_reference: Annotated[
        bool, typer.Option("--keep-reference", help="From now on, runs of this recipe are held against this one.")
    ] = False,
    force: Force = False,
) -> None:
    """The training runs here, or one of them: how far, how well, and its curves."""
    from rich.console import Console

    from minisora.runs.logs import (
        chart,
        find_runs,
        quantities,
        samples,
        settings_of,
        table,
        to_tensorboard,
        whole_run,
    )
    from minisora.runs.page import write_page
    from minisora.runs.picture import picture
    from minisora.train.reference import keep, make_reference
    from minisora.video.origin import check_replaceable

    if page is not None:
        check_replaceable([page], force=force)
    found = find_runs(folder)
    whole = whole_run(found)
    if keep_reference and whole is None:
        raise UsageError(f"--keep-reference: {folder} holds {len(found)} runs. Name one of them.")
    console = Console()
    console.print(table(found))
    if whole is not None:  # of it and its cool-downs, what was written last
        width = min(100, max(20, console.width - 12))
        for quantity in quantities(found)[:4]:
            say(f"\n{chart(found[0], quantity, width=width)}")
        if sheets := samples(found[0], {".png"}):
            say(f"\nsamples, {sheets[-1]}")
            if console.is_terminal and console.color_system is not None:
                console.print(picture(sheets[-1], width=console.width))
    if page is not None:
        say(f"{write_page(found, page)}: curves and samples of {len(found)} runs")
    if tensorboard is not None:
        say(f"{tensorboard}: {to_tensorboard(found, tensorboard):,} values")
    if keep_reference and whole is not None:
        say(f"{keep(make_reference(settings_of(whole), whole.rows))}: the reference")
