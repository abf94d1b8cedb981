"""`minisora models`: list the models on this machine, or print a model card."""

from __future__ import annotations

from typing import Annotated

import typer

from minisora.cli.console import say
from minisora.errors import UsageError


def models(
    name: Annotated[str | None, typer.Argument(help="Print the card of this one.")] = None,
) -> None:
    """List the models on this machine, or print the card of one: its training and its limits."""
    from minisora.bundle import available

    if name is not None:
        import minisora

        say(minisora.load(name, upscale="none").card())
        return
    if not available():
        raise UsageError("no model came with this installation. Give --model a folder that holds one.")
    for found, folder in available().items():
        size_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        say(f"{found}  {size_bytes / 1e6:.0f} MB  {folder}")
