"""The studio as a whole: its settings, and its parts while it runs.

    FOLDER/studio.db     jobs, library, tokens (unless the database is elsewhere)
    FOLDER/files/        uploads and videos, by SHA-256
    FOLDER/jobs/         results
    FOLDER/incoming/     files of clients while they come
    FOLDER/thumbnails/   of uploads, by SHA-256
    FOLDER/downloads/    of the library in other formats
    FOLDER/studio.toml   settings of the operator, if there are some (settings_file.py)

Here: opening and closing the parts. Not here: the parts, the interface (api/), the command
(cli/studio.py).
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import uvicorn

from minisora.errors import UsageError
from minisora.generate.request import ASCII, LINE
from minisora.studio.api import log
from minisora.studio.api.app import create_app
from minisora.studio.api.serve import administrators_token, config
from minisora.studio.api.settings import Settings as Interface
from minisora.studio.blobs import Blobs
from minisora.studio.dispatch import Dispatcher, Limits
from minisora.studio.messages import Setup
from minisora.studio.moderation import moderator
from minisora.studio.providers import provider_workers
from minisora.studio.settings_file import Provider
from minisora.studio.store import Store
from minisora.studio.workers import ProcessWorker, Worker
from minisora.workers.lock import one_run


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a studio.

    database: an address; empty for SQLite in the folder
    engine:   local: workers are processes of this machine; ray: actors on a cluster
    ray_address: of a cluster that runs, or "auto" for the one of this machine; empty: a Ray of its
              own, on this machine
    models:   names or folders of bundles, the default first
    providers: servers that make videos, by alias
    moderation: name of a moderator, see moderation.py; empty: everything passes
    mark:     words on every frame, whatever clients ask for; empty for none
    """

    folder: Path
    database: str = ""
    workers: int = 1
    engine: Literal["local", "ray"] = "local"
    ray_address: str = ""
    models: tuple[str, ...] = ("toybox",)
    providers: Mapping[str, Provider] = field(default_factory=dict)
    moderation: str = ""
    mark: str = ""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"{self.workers} workers make no video. Start 1 or more.")
        if not self.models:
            raise UsageError("a studio needs a model. Name one.")
        for name in {Path(model).name for model in self.models} & set(self.providers):
            raise UsageError(f"{name} is a model here and the alias of a provider. Give the provider another alias.")
        if self.ray_address and self.engine != "ray":
            raise UsageError("--ray-address names a Ray cluster. Add --engine ray.")
        if not LINE.fullmatch(self.mark):
            raise UsageError(f"--mark: give {ASCII}.")


@dataclass(frozen=True)
class Studio:
    """The parts of a studio that runs."""

    settings: Settings
    store: Store
    blobs: Blobs
    dispatcher: Dispatcher


def serve(settings: Settings, interface: Interface, *, host: str, port: int, new_token: str | None = None) -> None:
    """Run a studio and answer calls until it is told to stop. Raises UsageError as `opened`.

    new_token: name of a token to make for an administrator; its secret is printed
    """
    log.to_stderr()
    asyncio.run(_serve(settings, interface, host, port, new_token))


async def _serve(settings: Settings, interface: Interface, host: str, port: int, new_token: str | None) -> None:
    async with opened(settings) as studio:
        if (secret := await administrators_token(studio.store, interface.needs_token, new_token)) is not None:
            print(f"token of an administrator, shown only this once: {secret}", flush=True)
        app = create_app(studio.store, studio.blobs, studio.dispatcher, settings.folder, interface)
        await _Server(config(app, host, port)).serve()


class _Server(uvicorn.Server):
    """A server that returns on SIGINT and SIGTERM, where uvicorn's own would raise them again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.handle_exit, number, None)
        yield


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Studio]:
    """Run a studio for as long as the block lasts.

    Raises UsageError if another runs in the folder, and if the database, a model or the moderator
    does not open.
    """
    folder = settings.folder.resolve()
    hook = moderator(settings.moderation)
    with one_run(folder, "or give another --folder"):
        store = Store(settings.database or f"sqlite:///{folder / 'studio.db'}")
        try:
            blobs = Blobs(folder / "files")
            with _workers(settings) as workers:
                everyone = [*workers, *provider_workers(settings.providers, hook, settings.mark)]
                dispatcher = Dispatcher(store, blobs, folder / "jobs", everyone, settings.limits, hook)
                await dispatcher.start()
                gc.collect()
                gc.freeze()  # a collection of all that is imported takes 0.2 s, in which nobody is answered
                try:
                    yield Studio(settings, store, blobs, dispatcher)
                finally:
                    await dispatcher.stop()
        finally:
            await store.close()


@contextmanager
def _workers(settings: Settings) -> Iterator[Sequence[Worker]]:
    """Workers, not started yet. Raises UsageError if the engine is not there."""
    setup = Setup(models=settings.models, workers=settings.workers, moderation=settings.moderation, mark=settings.mark)
    names = [f"worker {number}" for number in range(1, settings.workers + 1)]
    if settings.engine == "local":
        yield [ProcessWorker(name, setup) for name in names]
        return
    from minisora.studio.ray_workers import ray_workers

    with ray_workers(names, setup, settings.ray_address or None) as workers:
        yield workers
