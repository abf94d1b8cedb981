"""The command `minisora`: the table of commands, and errors as one line.

Here: the table of commands, `--version`, exit statuses. Not here: the commands (the other files of
cli/).

Heavy imports are inside the commands, so that `minisora --help` is fast. Exit status: 0 done, 1 a
bug, 2 an error that the user can fix, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from minisora.cli.caption import caption
from minisora.cli.console import say
from minisora.cli.curate import curate
from minisora.cli.evaluate import evaluate
from minisora.cli.export import export
from minisora.cli.gallery import gallery
from minisora.cli.models import models
from minisora.cli.options import with_home
from minisora.cli.plan import plan
from minisora.cli.requests import add_verbs
from minisora.cli.runs import runs
from minisora.cli.studio import studio
from minisora.cli.train import train
from minisora.cli.world import world
from minisora.cli.zoo import zoo
from minisora.errors import FileNote, UsageError

_Mistyped: Any = typer.BadParameter.__mro__[1]  # typer's own error for what it cannot read; it has no public name


class _Commands(TyperGroup):
    """Print an error that the user can fix as one line on stderr."""

    def make_context(self, *values: Any, **named: Any) -> Any:
        with _one_line():
            return super().make_context(*values, **named)

    def invoke(self, ctx: Any) -> Any:
        with _one_line():
            return super().invoke(ctx)


@contextmanager
def _one_line() -> Iterator[None]:
    """Context manager: an error that the user can fix, ours or typer's, ends the command."""
    try:
        yield
    except UsageError as error:
        _fail(str(error))
    except _Mistyped as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # whose message is the help
            raise
        where = "" if error.ctx is None else f" `{error.ctx.command_path} --help` says what there is."
        _fail(f"{error.format_message().rstrip('.')}.{where}")
    except KeyboardInterrupt:
        say("stopped", err=True)
        raise typer.Exit(130) from None


def _fail(message: str) -> NoReturn:
    say(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(2) from None


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

        say(f"minisora {minisora.__version__}")
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
for command in (models, world, curate, caption, train, runs, plan, evaluate, export, studio, gallery):
    app.command()(with_home(command))
app.add_typer(zoo, name="zoo")


def main() -> None:
    """Entry point of the installed command. Under torchrun only the first process prints."""
    for stream in (sys.stdout, sys.stderr):  # which may be ASCII
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _shower(warnings.showwarning)
    if int(os.environ.get("RANK", 0)) > 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until the process ends
    try:
        app()
    except SystemExit as ended:
        if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not ended.code:
            from minisora.train.parallel import leave

            leave()
        raise


def _shower(usual: Callable[..., None]) -> Callable[..., None]:
    """Print notes on files as one line, other warnings as usual."""

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if category is FileNote:
            say(f"note: {message}", err=True)
        else:
            usual(message, category, *where)

    return show
