"""`minisora studio`: the server.

Here: the command. Not here: the server (studio/server.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from minisora.cli.options import taking
from minisora.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the studio."""

    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at.")] = 8000
    folder: Annotated[Path, typer.Option(help="For jobs, files and the database.")] = Path("studio")
    database: Annotated[
        str, typer.Option(help="postgresql://USER:PASSWORD@HOST/NAME, instead of SQLite in the folder.")
    ] = ""
    workers: Annotated[int, typer.Option(help="Workers that make videos, each with a model in memory.")] = 1
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Where these run: as processes here, or on Ray.")] = (
        "local"
    )
    ray_address: Annotated[
        str,
        typer.Option(metavar="auto|HOST:PORT", help="Of a cluster to join; Ray starts on this machine without it."),
    ] = ""
    model: Annotated[
        list[str] | None, typer.Option(help="A name from `minisora models`, or a folder; the first is the default.")
    ] = None
    token: Annotated[
        bool, typer.Option("--token", help="Ask for a token at an address of this machine alone, too.")
    ] = False
    new_token: Annotated[
        str | None, typer.Option(metavar="NAME", help="Make a token for an administrator, and print it.")
    ] = None
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A name by which clients may call the server.")
    ] = None
    allow_origin: Annotated[
        list[str] | None, typer.Option(metavar="https://HOST", help="A site whose pages may call the server.")
    ] = None
    settings: Annotated[
        Path | None, typer.Option(metavar="TOML", help="Providers and webhooks; FOLDER/studio.toml if it is there.")
    ] = None
    moderation: Annotated[
        str, typer.Option(metavar="open-nsfw|MODULE:NAME", help="Refuses prompts and frames; see docs/studio.md.")
    ] = ""
    mark: Annotated[
        str, typer.Option(metavar="TEXT", help="Words in a corner of every frame, whatever clients ask for.")
    ] = ""
    log_prompts: Annotated[bool, typer.Option("--log-prompts", help="Write prompts to the log.")] = False


@taking(Options)
def studio(options: Options) -> None:
    """Serve the verbs over HTTP, with a queue that survives crashes."""
    try:
        from minisora.studio.api.serve import is_loopback
        from minisora.studio.api.settings import Settings as Interface
        from minisora.studio.server import Settings, serve
        from minisora.studio.settings_file import read
    except ModuleNotFoundError as error:
        raise UsageError(f"the studio needs {error.name}. Install it: pip install 'minisora[studio]'.") from None
    file = read(options.settings, options.folder)
    settings = Settings(
        folder=options.folder,
        database=options.database,
        workers=options.workers,
        engine=options.engine,
        ray_address=options.ray_address,
        moderation=options.moderation,
        mark=options.mark,
        models=tuple(options.model or ("toybox",)),
        providers=file.providers,
    )
    interface = Interface(
        needs_token=options.token or not is_loopback(options.host),
        hosts=tuple(name.lower() for name in options.allow_host or ()),
        origins=tuple(options.allow_origin or ()),
        log_prompts=options.log_prompts,
        webhooks=file.webhooks.allow,
    )
    serve(settings, interface, host=options.host, port=options.port, new_token=options.new_token)
