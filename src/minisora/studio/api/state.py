"""The parts of a running studio, as the routes use them.

Here: the parts, and the caller of a route. Not here: putting them together (app.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from weakref import WeakValueDictionary

from fastapi import Depends
from starlette.requests import HTTPConnection

from minisora.studio.api.auth import Access, Caller
from minisora.studio.api.downloads import Downloads
from minisora.studio.api.errors import Refusal
from minisora.studio.api.expanding import Proposals
from minisora.studio.api.metrics import Metrics
from minisora.studio.api.settings import Settings
from minisora.studio.api.uploads import Uploads
from minisora.studio.blobs import Blobs
from minisora.studio.deliveries import Deliveries
from minisora.studio.dispatch import Dispatcher
from minisora.studio.outgoing import Outgoing
from minisora.studio.store import Store


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a model makes when nothing else is asked, and knows.

    size:     (height, width)
    world:    whose captions it was trained on, such as playroom; dense: on dense ones too
    provider: alias of the one that has it; empty for a model of this server
    """

    name: str
    provider: str = ""
    fps: float = 8.0
    seconds: float = 2.0
    size: tuple[int, int] = (0, 0)
    world: str | None = None
    dense: bool = False

    @property
    def shown_size(self) -> str:
        return f"{self.size[1]}x{self.size[0]}"


@dataclass(frozen=True, kw_only=True)
class Studio:
    """The parts.

    incoming: folder for files while they are received
    outgoing: for webhooks
    """

    settings: Settings
    store: Store
    blobs: Blobs
    dispatcher: Dispatcher
    uploads: Uploads
    downloads: Downloads
    access: Access
    metrics: Metrics
    incoming: Path
    outgoing: Outgoing
    deliveries: Deliveries
    proposals: Proposals = field(default_factory=Proposals)
    _turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Let one at a time into the block, of all that give the same key."""
        lock = self._turns.setdefault(key, asyncio.Lock())
        async with lock:
            yield

    def facts(self, model: str) -> Facts:
        """Facts of a model by name, or of a provider's first model by its alias.

        An unknown name gets the default model: clients send their own. Raises Refusal for an
        unknown one with a slash, which is of a provider.
        """
        models = self.dispatcher.models
        by_alias = (each for each, about in models.items() if model and about.get("provider") == model)
        name = model if model in models else next(by_alias, None)
        if name is None and "/" in model:
            raise unknown_model(model)
        name = next(iter(models), "") if name is None else name
        found: Mapping[str, Any] = models.get(name, {})
        known = {key: found[key] for key in ("fps", "seconds", "world", "dense", "provider") if key in found}
        height, width = found.get("size", (0, 0))
        return Facts(name=name, size=(height, width), **known)


async def studio_of(connection: HTTPConnection) -> Studio:
    studio: Studio = connection.app.state.studio
    return studio


def unknown_model(name: str) -> Refusal:
    return Refusal(404, f"there is no model {name[:80]!r} here. See GET /v1/models.", "model_not_found", "model")


Parts = Annotated[Studio, Depends(studio_of)]


async def _caller(connection: HTTPConnection, studio: Parts) -> Caller:
    caller = await studio.access.caller(connection)
    connection.state.owner = caller.owner
    return caller


Known = Annotated[Caller, Depends(_caller)]


async def _admin(caller: Known) -> Caller:
    if not caller.is_admin:
        raise Refusal(403, "this takes the token of an administrator.", "not_allowed")
    return caller


Admin = Annotated[Caller, Depends(_admin)]
