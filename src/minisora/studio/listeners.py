"""Listeners of updates.

Here: handing updates on to whoever listens, without waiting for them. Not here: where updates come
from (dispatch.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Self

from minisora.studio.jobs import Update


class Listener:
    """Updates of an owner's jobs, to be iterated: of each job the latest that was not taken yet.

    owner: None for all owners'
    """

    def __init__(self, owner: str | None) -> None:
        self.owner = owner
        self._latest: dict[str, Update] = {}
        self._more = asyncio.Event()

    def put(self, update: Update) -> None:
        """Hand over an update, unless it is another owner's."""
        if self.owner in (None, update.job.owner):
            before = self._latest.get(update.job.id)
            if before is not None and update.preview is None:
                update = replace(update, preview=before.preview)
            self._latest[update.job.id] = update
            self._more.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        while not self._latest:
            self._more.clear()
            await self._more.wait()
        return self._latest.pop(next(iter(self._latest)))


class Listeners:
    """All listeners of a dispatcher."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def tell(self, update: Update) -> None:
        """Hand an update to those whom it concerns."""
        for listener in self._listeners:
            listener.put(update)

    @contextmanager
    def added(self, owner: str | None) -> Iterator[Listener]:
        """Listener for as long as the block lasts."""
        listener = Listener(owner)
        self._listeners.append(listener)
        try:
            yield listener
        finally:
            self._listeners.remove(listener)
