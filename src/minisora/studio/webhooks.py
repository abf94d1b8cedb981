"""Rows of webhooks and of what they are still to be told.

Deliveries are written in the transaction that ends a job, so none is lost; a row stays until it is
delivered or given up.

Here: rows. Not here: sending (deliveries.py), routes (api/webhooks.py).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from minisora.errors import UsageError
from minisora.studio.database import Database
from minisora.studio.jobs import Delivery, Job, NotFound, State, Webhook, new_id
from minisora.studio.library import owned
from minisora.studio.tables import deliveries, webhooks

MOST_WEBHOOKS = 10  # of an owner
MOST_PENDING = 1000  # deliveries of a webhook; the oldest are dropped


class Webhooks:
    """Webhooks and deliveries. more: set when there are new deliveries"""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.more = asyncio.Event()

    def told(self, job: Job) -> Job:
        """Let the sender look at its rows, if the job has ended."""
        if job.state.is_final:
            self.more.set()
        return job

    async def add(self, webhook: Webhook) -> Webhook:
        """Keep a webhook; `created_at` is set here. Raises UsageError for too many of an owner."""

        def change(connection: Connection) -> Webhook:
            of_owner = select(func.count()).where(webhooks.c.owner == webhook.owner)
            if (connection.scalar(of_owner) or 0) >= MOST_WEBHOOKS:
                raise UsageError(f"you have {MOST_WEBHOOKS} webhooks, the most. Delete one first.")
            values = {**asdict(webhook), "created_at": self._database.now()}
            connection.execute(insert(webhooks).values(values))
            return Webhook(**values)

        return await self._database.write(change)

    async def all(self, owner: str | None) -> list[Webhook]:
        """Webhooks by time of creation."""
        query = select(webhooks).where(owned(webhooks, owner)).order_by(webhooks.c.created_at)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [_webhook(row) for row in rows]

    async def delete(self, webhook_id: str, owner: str | None) -> None:
        """Delete a webhook with its deliveries. Raises NotFound."""

        def change(connection: Connection) -> None:
            one = webhooks.c.id == webhook_id, owned(webhooks, owner)
            if not connection.execute(delete(webhooks).where(*one)).rowcount:
                raise NotFound(f"there is no webhook {webhook_id!r}.")

        await self._database.write(change)

    async def due(self, now: float, busy: Collection[str], most: int) -> list[tuple[Webhook, Delivery]]:
        """First delivery of each webhook that has one by now. busy: webhooks to pass over"""
        first = select(webhooks, *(column.label(f"d_{column.name}") for column in deliveries.c))
        first = first.join(deliveries, deliveries.c.webhook_id == webhooks.c.id)
        first = first.where(deliveries.c.next_at <= now, webhooks.c.id.not_in(busy))
        order = deliveries.c.next_at, deliveries.c.created_at, deliveries.c.id
        rank = func.row_number().over(partition_by=webhooks.c.id, order_by=order).label("rank")
        ranked = first.add_columns(rank).subquery()
        query = select(ranked).where(ranked.c.rank == 1).order_by(ranked.c.d_next_at).limit(most)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [
            (_webhook(row), Delivery(**{f.name: row._mapping[f"d_{f.name}"] for f in fields(Delivery)})) for row in rows
        ]

    async def next_at(self, busy: Collection[str]) -> float | None:
        """Time of the next delivery of webhooks that are not busy; None if there is none."""
        query = select(func.min(deliveries.c.next_at)).where(deliveries.c.webhook_id.not_in(busy))
        return await self._database.read(lambda connection: connection.scalar(query))

    async def pending(self, owner: str | None) -> dict[str, int]:
        """Number of deliveries of each webhook that has some."""
        query = select(deliveries.c.webhook_id, func.count()).join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
        query = query.where(owned(webhooks, owner)).group_by(deliveries.c.webhook_id)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return {webhook_id: count for webhook_id, count in rows}

    async def tried(self, delivery: Delivery, outcome: str, next_at: float | None) -> None:
        """Keep the outcome of a try. next_at: of the next; None: there is none, and the row goes"""

        def change(connection: Connection) -> None:
            this, hook = deliveries.c.id == delivery.id, webhooks.c.id == delivery.webhook_id
            if next_at is None:
                connection.execute(delete(deliveries).where(this))
            else:
                connection.execute(update(deliveries).where(this).values(tries=delivery.tries + 1, next_at=next_at))
            last = {"last_at": self._database.now(), "last_outcome": outcome}
            connection.execute(update(webhooks).where(hook).values(last))

        await self._database.write(change)


def insert_deliveries(connection: Connection, job: Job, now: float) -> Job:
    """Insert what the owner's webhooks are to be told of a job that has ended; returns the job."""
    if not job.state.is_final:
        return job
    kind = "video.completed" if job.state is State.DONE else "video.failed"
    rows = connection.execute(select(webhooks.c.id, webhooks.c.events).where(webhooks.c.owner == job.owner)).all()
    for webhook_id in [row.id for row in rows if kind in row.events]:
        _drop_oldest(connection, webhook_id)
        event = {"id": new_id("evt"), "object": "event", "created_at": int(now), "type": kind, "data": {"id": job.id}}
        row = {"id": event["id"], "webhook_id": webhook_id, "body": json.dumps(event)}
        connection.execute(insert(deliveries).values(**row, created_at=now, tries=0, next_at=now))
    return job


def _drop_oldest(connection: Connection, webhook_id: str) -> None:
    of_hook = deliveries.c.webhook_id == webhook_id
    newest = select(deliveries.c.id).where(of_hook).order_by(deliveries.c.created_at.desc())
    old = connection.scalars(newest.offset(MOST_PENDING - 1)).all()
    if old:
        connection.execute(delete(deliveries).where(deliveries.c.id.in_(old)))


def _webhook(row: Row[Any]) -> Webhook:
    values = {f.name: row._mapping[f.name] for f in fields(Webhook)}
    return Webhook(**{**values, "events": tuple(values["events"])})
