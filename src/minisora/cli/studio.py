"""`minisora studio`: the server.

Here: the command. Not here: the server (studio/server.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minisora.errors import UsageError


def studio(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at.")] = 8000,
    folder: Annotated[Path, typer.Option(help="For jobs, files and the database.")] = Path("studio"),
    database: Annotated[
        str, typer.Option(help="postgresql://USER:PASSWORD@HOST/NAME, instead of SQLite in the folder.")
    ] = "",
    workers: Annotated[int, typer.Option(help="Processes that make videos, each with a model in memory.")] = 1,
    model: Annotated[
        list[str] | None, typer.Option(help="A name from `minisora models`, or a folder; the first is the default.")
    ] = None,
) -> None:
    """Serve the verbs over HTTP, with a queue that survives crashes."""
    try:
        from minisora.studio.server import Settings, serve
    except ModuleNotFoundError as error:
        raise UsageError(f"the studio needs {error.name}. Install it: pip install 'minisora[studio]'.") from None
    models = tuple(model or ("toybox",))
    serve(Settings(folder=folder, database=database, workers=workers, models=models), host=host, port=port)
