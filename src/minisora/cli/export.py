"""`minisora export`: write a model as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minisora.cli.console import say


def export(
    model: Annotated[str, typer.Argument(help="A model, its folder, or the folder of a run that left one.")],
    out: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    as_wan: Annotated[bool, typer.Option("--wan", help="The transformer alone, for diffusers.")] = False,
) -> None:
    """Write a model as a folder of safetensors, to copy or to load elsewhere."""
    from minisora.train.export import export_bundle, export_wan

    say(f"{(export_wan if as_wan else export_bundle)(model, out)}: exported")
