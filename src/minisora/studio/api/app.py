"""The web application: the parts of the studio behind their routes.

Here: putting it together, its start and stop, errors in OpenAI's form. Not here: the routes, the
server's socket and command line (cli/studio.py).
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import minisora
from minisora.errors import UsageError
from minisora.studio.api import account, control, expand, library, live, log, models, page, verbs, videos, webhooks
from minisora.studio.api.auth import Access
from minisora.studio.api.downloads import Downloads
from minisora.studio.api.errors import MESSAGES, Refusal, body, invalid, refused
from minisora.studio.api.guard import Guard
from minisora.studio.api.metrics import Metrics
from minisora.studio.api.settings import Settings
from minisora.studio.api.state import Admin, Known, Parts, Studio
from minisora.studio.api.uploads import Uploads
from minisora.studio.blobs import Blobs
from minisora.studio.deliveries import Deliveries
from minisora.studio.dispatch import Dispatcher
from minisora.studio.outgoing import Outgoing, network
from minisora.studio.store import Store

ROUTERS = (
    *(verbs.router, expand.router, videos.router, control.router, library.router),
    *(models.router, account.router, webhooks.router, page.router),
)
SWEEP_SECONDS = 3600.0


def create_app(
    store: Store, blobs: Blobs, dispatcher: Dispatcher, folder: Path, settings: Settings | None = None
) -> FastAPI:
    """Make the application of parts that run.

    folder: of the studio; for files while they are received, and thumbnails of uploads, downloads
    """
    settings, folder = settings or Settings(), folder.resolve()
    outgoing = Outgoing([network(each) for each in settings.webhooks])
    incoming = folder / "incoming"
    shutil.rmtree(incoming, ignore_errors=True)  # of a server that was killed
    incoming.mkdir(parents=True)
    studio = Studio(
        settings=settings,
        store=store,
        blobs=blobs,
        dispatcher=dispatcher,
        uploads=Uploads(folder / "thumbnails", blobs, store.library, settings.upload),
        downloads=Downloads(folder / "downloads", blobs, settings.download),
        access=Access(store.tokens, settings.needs_token),
        metrics=Metrics(),
        incoming=incoming,
        outgoing=outgoing,
        deliveries=Deliveries(store.webhooks, outgoing),
    )
    app = FastAPI(
        title="minisora studio",
        version=minisora.__version__,
        lifespan=_lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.studio = studio
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["openai-poll-after-ms", "retry-after", "x-request-id"],
        )
    app.add_middleware(Guard, settings=settings, metrics=studio.metrics)
    for router in ROUTERS:
        app.include_router(router)
    app.include_router(live.router)
    _add_operation(app)
    _add_errors(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    studio: Studio = app.state.studio
    tasks = [asyncio.create_task(work) for work in (_sweep(studio), studio.deliveries.run())]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await studio.downloads.close()
    await studio.outgoing.close()
    studio.proposals.close()


async def _sweep(studio: Studio) -> None:
    """Remove thumbnails and downloads of files that are gone, again and again."""
    while True:
        for sweep in (studio.uploads.sweep, studio.downloads.sweep):
            try:
                await asyncio.to_thread(sweep)
            except Exception as error:  # the next time may do better
                log.write_error(error, at="sweep")
        await asyncio.sleep(SWEEP_SECONDS)


def _add_operation(app: FastAPI) -> None:
    """Add the routes for whoever runs the server."""

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return Response(status_code=204)

    @app.get("/metrics", include_in_schema=False)
    async def metrics(studio: Parts, admin: Admin) -> Response:
        return Response(studio.metrics.text(studio.dispatcher.counts), media_type="text/plain; version=0.0.4")

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(caller: Known) -> Response:
        return JSONResponse(app.openapi())


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Refusal)
    async def refusal(call: Request, error: Refusal) -> Response:
        return error.response()

    @app.exception_handler(UsageError)
    async def usage(call: Request, error: UsageError) -> Response:
        return refused(error).response()

    @app.exception_handler(RequestValidationError)
    async def validation(call: Request, error: RequestValidationError) -> Response:
        first: dict[str, Any] = dict(error.errors()[0])
        name, message = str(first["loc"][-1]), str(first["msg"])
        return invalid(f"{name}: {message[0].lower()}{message[1:]}.", name).response()

    @app.exception_handler(HTTPException)
    async def http(call: Request, error: HTTPException) -> Response:
        message = MESSAGES.get(error.status_code, str(error.detail))
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
        return JSONResponse(body(error.status_code, message, code), error.status_code, dict(error.headers or {}))
