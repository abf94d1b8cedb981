"""The command `minisora`: the table of commands, and errors as one line.

Here: the table of commands, `--version`, exit statuses. Not here: the commands (the other files of
cli/).

Heavy imports are inside the commands, so that `minisora --help` is fast. Exit status: 0 done, 1 a
bug, 2 an error that the user can fix, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from minisora.cli.caption import caption
from minisora.cli.curate import curate
from minisora.cli.evaluate import evaluate
from minisora.cli.export import export
from minisora.cli.models import models
from minisora.cli.plan import plan
from minisora.cli.requests import add_verbs
from minisora.cli.runs import runs
from minisora.cli.studio import studio
from minisora.cli.train import train
from minisora.cli.world import world
from minisora.errors import UsageError


class _Commands(TyperGroup):
    """Print a UsageError as one line on stderr."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UsageError as error:
            typer.echo(f"error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        import minisora

        typer.echo(f"minisora {minisora.__version__}")
        raise typer.Exit


@app.callback()
def minisora(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Text to video, small enough to read.

    `minisora COMMAND --help` says more about each command.
    """


add_verbs(app)
for command in (models, world, curate, caption, train, runs, plan, evaluate, export, studio):
    app.command()(command)


def main() -> None:
    """Entry point of the installed command. Under torchrun only the first process prints."""
    if int(os.environ.get("RANK", 0)) > 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until the process ends
    try:
        app()
    except SystemExit as ended:
        if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not ended.code:
            from minisora.train.parallel import leave

            leave()
        raise
