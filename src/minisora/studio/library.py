"""Rows of the library and of tokens.

Here: clips and pictures with their tags and parents; tokens by the hash of their secret. Not here:
jobs (store.py), the files (blobs.py).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    delete,
    insert,
    select,
    true,
    tuple_,
    update,
)

from minisora.studio.database import Database
from minisora.studio.jobs import Item, NotFound, Page, Token
from minisora.studio.tables import items, jobs, parents, tags, tokens, webhooks

CHANGEABLE = {"name", "favourite", "tags"}


class Library:
    """Clips and pictures: videos of jobs, and uploads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_upload(self, item: Item) -> Item:
        """Keep an upload, whose blob is on disk already. `created_at` is set here."""

        def change(connection: Connection) -> Item:
            return insert_item(connection, replace(item, is_upload=True, created_at=self._database.now()))

        return await self._database.write(change)

    async def item(self, item_id: str, owner: str | None) -> Item:
        """Raises NotFound; a deleted item is not found."""
        return await self._database.read(lambda connection: item_of(connection, item_id, owner))

    async def items(
        self,
        owner: str | None,
        *,
        after: str | None = None,
        limit: int = 50,
        newest_first: bool = True,
        favourite: bool | None = None,
        tag: str | None = None,
        sha256: str | None = None,
        deleted: bool = False,
    ) -> Page[Item]:
        """List items by time of creation.

        sha256:  of the file
        deleted: only those that can be restored
        """

        def query(connection: Connection) -> Page[Item]:
            found = select(items).where(owned(items, owner))
            found = found.where(items.c.deleted_at.is_not(None) if deleted else items.c.deleted_at.is_(None))
            if favourite is not None:
                found = found.where(items.c.favourite == favourite)
            if tag is not None:
                found = found.where(items.c.id.in_(select(tags.c.item_id).where(tags.c.tag == tag)))
            if sha256 is not None:
                found = found.where(items.c.sha256 == sha256)
            found = in_order(connection, found, items, owner, after=after, newest_first=newest_first)
            rows = connection.execute(found.limit(limit + 1)).all()
            return Page(_items(connection, rows[:limit]), len(rows) > limit)

        return await self._database.read(query)

    async def change(self, item_id: str, owner: str | None, changes: Mapping[str, Any]) -> Item:
        """Change `name`, `favourite` or `tags` (all of them). Raises NotFound."""
        assert changes.keys() <= CHANGEABLE, changes

        def change(connection: Connection) -> Item:
            item_of(connection, item_id, owner)
            columns = {name: value for name, value in changes.items() if name != "tags"}
            if columns:
                connection.execute(update(items).where(items.c.id == item_id).values(columns))
            if "tags" in changes:
                connection.execute(delete(tags).where(tags.c.item_id == item_id))
                _insert_all(connection, tags, [{"item_id": item_id, "tag": tag} for tag in set(changes["tags"])])
            return item_of(connection, item_id, owner)

        return await self._database.write(change)

    async def children(self, item_id: str, owner: str | None) -> list[Item]:
        """Items that were made from an item, oldest first."""

        def query(connection: Connection) -> list[Item]:
            made = select(parents.c.item_id).where(parents.c.parent_id == item_id)
            found = select(items).where(items.c.id.in_(made), owned(items, owner), items.c.deleted_at.is_(None))
            return _items(connection, connection.execute(found.order_by(items.c.created_at)).all())

        return await self._database.read(query)

    async def delete(self, item_id: str, owner: str | None) -> Item:
        """Delete an item, and the job that made it; `restore` undoes it until it is purged."""
        return await self._marked(item_id, owner, deleted=True)

    async def restore(self, item_id: str, owner: str | None) -> Item:
        """Undo `delete`. Raises NotFound for an item that was not deleted."""
        return await self._marked(item_id, owner, deleted=False)

    async def _marked(self, item_id: str, owner: str | None, *, deleted: bool) -> Item:
        def change(connection: Connection) -> Item:
            item_of(connection, item_id, owner, deleted=not deleted)
            mark_deleted(connection, item_id, self._database.now() if deleted else None)
            return item_of(connection, item_id, owner, deleted=deleted)

        return await self._database.write(change)


class Tokens:
    """Tokens, by the hash of their secret."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._revoked = defaultdict[str, asyncio.Event](asyncio.Event)

    async def add(self, token: Token, secret_sha256: str) -> Token:
        """Keep a token."""
        row = {**asdict(token), "secret_sha256": secret_sha256}
        await self._database.write(lambda connection: connection.execute(insert(tokens).values(row)) and None)
        return token

    async def by_secret(self, secret_sha256: str) -> Token | None:
        """Token of a secret; None if there is none, or if it was revoked."""
        known = tokens.c.secret_sha256 == secret_sha256
        found = await self._found(known, tokens.c.revoked_at.is_(None))
        return found[0] if found else None

    async def all(self) -> list[Token]:
        """Tokens by time of creation, revoked ones too."""
        return await self._found()

    async def revoke(self, token_id: str) -> Token:
        """Raises NotFound."""
        same = tokens.c.id == token_id

        def change(connection: Connection) -> None:
            live = update(tokens).where(same, tokens.c.revoked_at.is_(None))
            connection.execute(live.values(revoked_at=self._database.now()))
            connection.execute(delete(webhooks).where(webhooks.c.owner == token_id))

        await self._database.write(change)
        if not (found := await self._found(same)):
            raise NotFound(f"there is no token {token_id!r}.")
        self._revoked[token_id].set()
        return found[0]

    async def until_revoked(self, token_id: str) -> None:
        """Wait until a token that is valid now is revoked."""
        await self._revoked[token_id].wait()

    async def _found(self, *conditions: ColumnElement[bool]) -> list[Token]:
        columns = [tokens.c[field.name] for field in fields(Token)]
        query = select(*columns).where(*conditions).order_by(tokens.c.created_at)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [Token(**row._mapping) for row in rows]


def insert_item(connection: Connection, item: Item) -> Item:
    """Insert an item with its tags and parents."""
    row = {name: value for name, value in asdict(item).items() if name not in ("verb", "tags", "parents")}
    connection.execute(insert(items).values(row))
    _insert_all(connection, tags, [{"item_id": item.id, "tag": tag} for tag in item.tags])
    rows = [{"item_id": item.id, "parent_id": each, "number": n} for n, each in enumerate(item.parents)]
    _insert_all(connection, parents, rows)
    return item


def item_of(connection: Connection, item_id: str, owner: str | None, *, deleted: bool = False) -> Item:
    """Raises NotFound. deleted: whether it is to be deleted"""
    state = items.c.deleted_at.is_not(None) if deleted else items.c.deleted_at.is_(None)
    rows = connection.execute(select(items).where(items.c.id == item_id, owned(items, owner), state)).all()
    if not rows:
        raise NotFound(f"there is no item {item_id!r}.")
    return _items(connection, rows)[0]


def mark_deleted(connection: Connection, item_id: str, at: float | None) -> None:
    """Delete an item with the job of the same id; None restores both."""
    for table in (items, jobs):
        connection.execute(update(table).where(table.c.id == item_id).values(deleted_at=at))


def in_order(
    connection: Connection,
    found: Select[Any],
    table: Table,
    owner: str | None,
    *,
    after: str | None,
    newest_first: bool,
) -> Select[Any]:
    """Sort rows by time of creation, beginning after one of them. Raises NotFound for no such."""
    place: Sequence[Column[Any]] = (table.c.created_at, table.c.id)
    if after is not None:
        begin = connection.execute(select(*place).where(table.c.id == after, owned(table, owner))).first()
        if begin is None:
            raise NotFound(f"there is no {after!r} after which to go on.")
        found = found.where(tuple_(*place) < tuple(begin) if newest_first else tuple_(*place) > tuple(begin))
    return found.order_by(*(each.desc() if newest_first else each.asc() for each in place))


def owned(table: Table, owner: str | None) -> ColumnElement[bool]:
    return true() if owner is None else table.c.owner == owner


def _items(connection: Connection, rows: Sequence[Row[Any]]) -> list[Item]:
    ids = [row.id for row in rows]
    labels, made_from = dict[str, list[str]](), dict[str, list[str]]()
    for item_id, tag in connection.execute(select(tags).where(tags.c.item_id.in_(ids)).order_by(tags.c.tag)):
        labels.setdefault(item_id, []).append(tag)
    query = select(parents).where(parents.c.item_id.in_(ids)).order_by(parents.c.number)
    for item_id, parent_id, _ in connection.execute(query):
        made_from.setdefault(item_id, []).append(parent_id)
    verbs = {
        job_id: verb for job_id, verb in connection.execute(select(jobs.c.id, jobs.c.verb).where(jobs.c.id.in_(ids)))
    }
    return [
        Item(
            **row._mapping,
            verb=verbs.get(row.id, ""),
            tags=tuple(labels.get(row.id, ())),
            parents=tuple(made_from.get(row.id, ())),
        )
        for row in rows
    ]


def _insert_all(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), list(rows))
