"""The studio as a whole: its settings, and its parts while it runs.

    FOLDER/studio.db     jobs, library, tokens (unless the database is elsewhere)
    FOLDER/files/        uploads and videos, by SHA-256
    FOLDER/jobs/         results

Here: opening and closing the parts. Not here: the parts, the interface (api/), the command
(cli/studio.py).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from minisora.errors import UsageError
from minisora.studio.blobs import Blobs
from minisora.studio.dispatch import Dispatcher, Limits
from minisora.studio.store import Store
from minisora.studio.workers import ProcessWorker
from minisora.workers.lock import one_run


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a studio.

    database: an address; empty for SQLite in the folder
    models:   names or folders of bundles, the default first
    """

    folder: Path
    database: str = ""
    workers: int = 1
    models: tuple[str, ...] = ("toybox",)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"{self.workers} workers make no video. Start 1 or more.")
        if not self.models:
            raise UsageError("a studio needs a model. Name one.")


@dataclass(frozen=True)
class Studio:
    """The parts of a studio that runs."""

    settings: Settings
    store: Store
    blobs: Blobs
    dispatcher: Dispatcher


def serve(settings: Settings, *, host: str, port: int) -> None:
    """Run a studio and answer calls until it is told to stop. Raises UsageError as `opened`."""
    asyncio.run(_serve(settings, host, port))


async def _serve(settings: Settings, host: str, port: int) -> None:
    async with opened(settings) as studio:
        await _Server(uvicorn.Config(_application(studio), host=host, port=port, lifespan="off")).serve()


def _application(studio: Studio) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz", status_code=204)
    async def healthz() -> None: ...

    return app


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

    Raises UsageError if another runs in the folder, and if the database or a model does not open.
    """
    folder = settings.folder.resolve()
    with one_run(folder, "or give another --folder"):
        store = Store(settings.database or f"sqlite:///{folder / 'studio.db'}")
        try:
            blobs = Blobs(folder / "files")
            names = [f"worker {number}" for number in range(1, settings.workers + 1)]
            workers = [ProcessWorker(name, settings.models, settings.workers) for name in names]
            dispatcher = Dispatcher(store, blobs, folder / "jobs", workers, settings.limits)
            await dispatcher.start()
            try:
                yield Studio(settings, store, blobs, dispatcher)
            finally:
                await dispatcher.stop()
        finally:
            await store.close()
