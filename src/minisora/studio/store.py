"""Jobs in the database: rows and transactions.

Methods that take an `owner` see that owner's rows only; None sees all. When a method that writes
returns, the change is on disk.

Here: jobs and their attempts. Not here: connections (database.py), the library and tokens
(library.py), webhooks (webhooks.py), the queue (dispatch.py), files (blobs.py, results.py).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from minisora.generate.fields import adapter
from minisora.generate.request import Request
from minisora.studio.database import Database
from minisora.studio.jobs import (
    Attempt,
    Failure,
    Item,
    Job,
    Made,
    NewJob,
    NotFound,
    Page,
    Remote,
    State,
    Usage,
    WrongState,
    format_for,
    named_media,
    new_id,
)
from minisora.studio.library import Library, Tokens, in_order, insert_item, mark_deleted, owned
from minisora.studio.tables import attempts, items, jobs, media
from minisora.studio.webhooks import Webhooks, insert_deliveries

UNFINISHED = (State.WAITING, State.PAUSED, State.RUNNING)
_MADE, _FAILURE, _REMOTE = adapter(Made), adapter(Failure), adapter(Remote)


class Store:
    """Jobs; `library`, `tokens` and `webhooks` have the rest.

    address: sqlite:///FILE or postgresql://...

    Opening brings the tables up to date. Raises UsageError for an address that does not open, and
    for tables of a newer version.
    """

    def __init__(self, address: str) -> None:
        self._database = Database(address)
        self.library = Library(self._database)
        self.tokens = Tokens(self._database)
        self.webhooks = Webhooks(self._database)

    async def close(self) -> None:
        """Finish pending writes and close all connections."""
        await self._database.close()

    async def add(self, new: NewJob) -> tuple[Job, bool]:
        """Keep a job as waiting, at the end of its owner's.

        returns  the job, and True if it is new: with the key, or the fingerprint, of an earlier job
                 (see NewJob) that one is returned
        """
        row = {
            **{name: getattr(new, name) for name in ("owner", "model", "deadline_seconds", "parent", "fingerprint")},
            "id": new_id("video"),
            "state": State.WAITING.value,
            "verb": new.request.name(),
            "request": new.request.to_data(),
            "format": format_for(new.request, new.format),
            "attempts": 0,
            "key": new.key or None,
            "client": dict(new.client),
        }

        def change(connection: Connection) -> tuple[Job, bool]:
            if (found := _repeated(connection, new)) is not None:
                return found, False
            if new.key:  # of a deleted job
                connection.execute(update(jobs).where(_with_key(new.owner, new.key)).values(key=None))
            last = connection.scalar(select(func.max(jobs.c.position))) or 0.0
            connection.execute(insert(jobs).values(**row, position=last + 1.0, created_at=self._database.now()))
            _name_media(connection, row["id"], row["request"])
            return _job(connection, row["id"]), True

        return await self._database.write(change)

    async def job(self, job_id: str, owner: str | None) -> Job:
        """Raises NotFound; a deleted job is not found."""
        return await self._database.read(lambda connection: _job(connection, job_id, owner))

    async def jobs(
        self,
        owner: str | None,
        *,
        after: str | None = None,
        limit: int = 20,
        newest_first: bool = True,
        states: Collection[State] = tuple(State),
    ) -> Page[Job]:
        """List jobs that are not deleted, by time of creation.

        after: id of the last job of the page before

        Raises NotFound for an `after` that is no job of the owner.
        """

        def query(connection: Connection) -> Page[Job]:
            found = select(jobs).where(owned(jobs, owner), jobs.c.deleted_at.is_(None), jobs.c.state.in_(states))
            found = in_order(connection, found, jobs, owner, after=after, newest_first=newest_first)
            rows = connection.execute(found.limit(limit + 1)).all()
            return Page([_of_row(row) for row in rows[:limit]], len(rows) > limit)

        return await self._database.read(query)

    async def unfinished(self) -> list[Job]:
        """Waiting, paused and running jobs, by position."""
        query = select(jobs).where(jobs.c.state.in_(UNFINISHED)).order_by(jobs.c.position)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [_of_row(row) for row in rows]

    async def repeated(self, new: NewJob) -> Job | None:
        """Earlier job that `add` would return; None if it would make a new one."""
        return await self._database.read(lambda connection: _repeated(connection, new))

    async def by_key(self, owner: str, key: str) -> Job | None:
        """Job of an idempotency key."""
        return await self._database.read(lambda connection: _newest(connection, _with_key(owner, key)))

    async def by_fingerprint(self, owner: str, fingerprint: str, since: float) -> Job | None:
        """Newest job with this fingerprint, created since a Unix time."""
        same = _with_fingerprint(owner, fingerprint, since)
        return await self._database.read(lambda connection: _newest(connection, same))

    async def change(self, job_id: str, expected: Collection[State], **changes: Any) -> Job:
        """Change `state`, `request`, `parent` or `client` of a job if its state is an expected one.

        Raises WrongState otherwise, NotFound.
        """
        values = dict(changes)
        if isinstance(request := values.get("request"), Request):
            values |= {"request": request.to_data(), "verb": request.name()}

        def change(connection: Connection) -> Job:
            _expect(connection, job_id, expected)
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
            if "request" in values:
                connection.execute(delete(media).where(media.c.job_id == job_id))
                _name_media(connection, job_id, values["request"])
            return _job(connection, job_id)

        return await self._database.write(change)

    async def reorder(self, positions: Mapping[str, float]) -> None:
        """Set the positions of jobs that wait or are paused; others stay as they are."""

        def change(connection: Connection) -> None:
            for job_id, position in positions.items():
                held = jobs.c.state.in_([State.WAITING, State.PAUSED])
                connection.execute(update(jobs).where(jobs.c.id == job_id, held).values(position=position))

        await self._database.write(change)

    async def begin(self, job_ids: Sequence[str], worker: str) -> list[Job]:
        """Mark waiting jobs as running, each with a new attempt. Raises WrongState for another.

        Once more after Unavailable: a job that runs already begins another attempt.
        """

        def change(connection: Connection) -> list[Job]:
            begun, now = [], self._database.now()
            for job_id in job_ids:
                number = _expect(connection, job_id, [State.WAITING, State.RUNNING]).attempts + 1
                values = {"state": State.RUNNING.value, "attempts": number, "started_at": now}
                connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
                attempt = {"job_id": job_id, "number": number, "worker": worker, "started_at": now, "outcome": ""}
                connection.execute(insert(attempts).values(attempt))
                begun.append(_job(connection, job_id))
            return begun

        return await self._database.write(change)

    async def finish(self, job_id: str, outcome: Made | Failure | State, attempt: str = "") -> Job:
        """End the attempt of a running job, and the job: done, failed or cancelled.

        outcome: State.WAITING puts it back; Made adds its video to the library as well
        attempt: outcome of the attempt, if another word than the state

        A job with this outcome stays as it is. Raises WrongState for any other that does not run.
        """
        values: dict[str, Any] = {"state": outcome, "finished_at": None}
        if isinstance(outcome, Made):
            values = {"state": State.DONE, "made": _MADE.dump_python(outcome, mode="json")}
        elif isinstance(outcome, Failure):
            values = {"state": State.FAILED, "failure": _FAILURE.dump_python(outcome, mode="json")}

        def change(connection: Connection) -> Job:
            job, now = _job(connection, job_id), self._database.now()
            if job.state == values["state"]:
                return job
            _check(job, [State.RUNNING])
            values["finished_at"] = now if values["state"].is_final else None
            connection.execute(
                update(jobs).where(jobs.c.id == job_id).values({**values, "state": str(values["state"])})
            )
            this = attempts.c.job_id == job_id, attempts.c.number == job.attempts
            ended = {"ended_at": now, "outcome": attempt or str(values["state"])}
            connection.execute(update(attempts).where(*this).values(ended))
            if isinstance(outcome, Made):
                insert_item(connection, _item(connection, job, outcome, now))
            return insert_deliveries(connection, _job(connection, job_id), now)

        return self.webhooks.told(await self._database.write(change))

    async def cancel(self, job_id: str) -> Job:
        """Mark a waiting or paused job as cancelled. Raises WrongState for any other."""

        def change(connection: Connection) -> Job:
            _expect(connection, job_id, [State.WAITING, State.PAUSED])
            values = {"state": State.CANCELLED.value, "finished_at": (now := self._database.now())}
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(values))
            return insert_deliveries(connection, _job(connection, job_id), now)

        return self.webhooks.told(await self._database.write(change))

    async def set_remote(self, job_id: str, remote: Remote) -> None:
        """Keep which video of a provider is a job's."""
        change = update(jobs).where(jobs.c.id == job_id).values(remote=_REMOTE.dump_python(remote))
        await self._database.write(lambda connection: connection.execute(change) and None)

    async def remotes(self, hashes: Collection[str]) -> dict[str, Remote]:
        """Videos of providers, by the SHA-256 of their files."""
        query = select(items.c.sha256, jobs.c.remote).join(jobs, jobs.c.id == items.c.id)
        query = query.where(items.c.sha256.in_(hashes), jobs.c.remote.is_not(None)).order_by(jobs.c.created_at)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return {sha256: _REMOTE.validate_python(remote) for sha256, remote in rows}

    async def attempts(self, job_id: str) -> list[Attempt]:
        """Attempts of a job, in order."""
        query = select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.number)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [Attempt(**row._mapping) for row in rows]

    async def seconds_of_done(self, most: int = 500) -> list[tuple[Job, float]]:
        """Newest done jobs, each with the seconds of its last attempt."""
        query = (
            select(jobs, (attempts.c.ended_at - attempts.c.started_at).label("seconds"))
            .join(attempts, (attempts.c.job_id == jobs.c.id) & (attempts.c.number == jobs.c.attempts))
            .where(jobs.c.state == State.DONE)
            .order_by(jobs.c.created_at.desc())
            .limit(most)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [(_of_row(row), row.seconds) for row in rows]

    async def usage(self, owner: str, since: float) -> Usage:
        """Use of the server by an owner. since: Unix time from which workers' seconds count"""

        def query(connection: Connection) -> Usage:
            of_owner = select(func.count()).where(jobs.c.owner == owner, jobs.c.state.in_(UNFINISHED))
            size = select(func.sum(items.c.size_bytes)).where(items.c.owner == owner)
            ran = func.coalesce(attempts.c.ended_at, time.time()) - attempts.c.started_at
            seconds = select(func.sum(ran)).join(jobs, jobs.c.id == attempts.c.job_id)
            seconds = seconds.where(jobs.c.owner == owner, attempts.c.started_at >= since)
            count, kept, used = (connection.scalar(each) or 0 for each in (of_owner, size, seconds))
            return Usage(int(count), int(kept), float(used))

        return await self._database.read(query)

    async def delete(self, job_id: str, owner: str | None) -> Job:
        """Delete a finished job and its item; both can be restored until they are purged.

        Raises NotFound; WrongState for an unfinished one.
        """
        return await self._marked(job_id, owner, deleted=True)

    async def restore(self, job_id: str, owner: str | None) -> Job:
        """Undo `delete`. Raises NotFound for a job that was not deleted."""
        return await self._marked(job_id, owner, deleted=False)

    async def _marked(self, job_id: str, owner: str | None, *, deleted: bool) -> Job:
        def change(connection: Connection) -> Job:
            job = _job(connection, job_id, owner, deleted=not deleted)
            _check(job, [State.DONE, State.FAILED, State.CANCELLED])
            mark_deleted(connection, job_id, self._database.now() if deleted else None)
            return _job(connection, job_id, owner, deleted=deleted)

        return await self._database.write(change)

    async def purge(self, deleted_before: float) -> list[str]:
        """Remove rows that were deleted before a Unix time; returns the ids of jobs."""

        def change(connection: Connection) -> list[str]:
            ids = list(connection.scalars(select(jobs.c.id).where(jobs.c.deleted_at < deleted_before)))
            for table in (items, jobs):  # rows that name these go with them
                connection.execute(delete(table).where(table.c.deleted_at < deleted_before))
            return ids

        return await self._database.write(change)

    async def named_blobs(self) -> set[str]:
        """SHA-256 of every blob that a row names."""
        query = select(items.c.sha256).union(select(media.c.sha256))
        return set(await self._database.write(lambda connection: connection.scalars(query).all()))

    async def ids(self) -> set[str]:
        """Identifiers of all jobs, deleted ones too."""
        return set(await self._database.read(lambda connection: connection.scalars(select(jobs.c.id)).all()))


def _name_media(connection: Connection, job_id: str, request: Any) -> None:
    rows = [{"job_id": job_id, "sha256": each} for each in sorted({one["sha256"] for one in named_media(request)})]
    if rows:
        connection.execute(insert(media), rows)


def _with_key(owner: str, key: str) -> ColumnElement[bool]:
    return (jobs.c.owner == owner) & (jobs.c.key == key)


def _with_fingerprint(owner: str, fingerprint: str, since: float) -> ColumnElement[bool]:
    return (jobs.c.owner == owner) & (jobs.c.fingerprint == fingerprint) & (jobs.c.created_at >= since)


def _repeated(connection: Connection, new: NewJob) -> Job | None:
    found = _newest(connection, _with_key(new.owner, new.key)) if new.key else None
    if found is None and new.repeated_since is not None:
        found = _newest(connection, _with_fingerprint(new.owner, new.fingerprint, new.repeated_since))
    return found


def _newest(connection: Connection, condition: ColumnElement[bool]) -> Job | None:
    found = select(jobs).where(condition, jobs.c.deleted_at.is_(None))
    row = connection.execute(found.order_by(jobs.c.created_at.desc()).limit(1)).first()
    return None if row is None else _of_row(row)


def _job(connection: Connection, job_id: str, owner: str | None = None, *, deleted: bool = False) -> Job:
    """Raises NotFound. deleted: whether it is to be deleted"""
    state = jobs.c.deleted_at.is_not(None) if deleted else jobs.c.deleted_at.is_(None)
    row = connection.execute(select(jobs).where(jobs.c.id == job_id, owned(jobs, owner), state)).first()
    if row is None:
        raise NotFound(f"there is no job {job_id!r}.")
    return _of_row(row)


def _expect(connection: Connection, job_id: str, states: Collection[State]) -> Job:
    job = _job(connection, job_id)
    _check(job, states)
    return job


def _check(job: Job, states: Collection[State]) -> None:
    if job.state not in states:
        raise WrongState(f"job {job.id} is {job.state}; this takes one that is {' or '.join(states)}.", job)


def _of_row(row: Row[Any]) -> Job:
    values = {field.name: row._mapping[field.name] for field in fields(Job)}
    made, failure, remote = (values.pop(name) for name in ("made", "failure", "remote"))
    values |= {"state": State(values["state"]), "key": values["key"] or ""}
    return Job(
        **values,
        made=None if made is None else _MADE.validate_python(made),
        failure=None if failure is None else _FAILURE.validate_python(failure),
        remote=None if remote is None else _REMOTE.validate_python(remote),
    )


def _item(connection: Connection, job: Job, made: Made, now: float) -> Item:
    """Item of a job's video; its parents are the owner's items that the request names."""
    video = made.files["video"]
    known = list(dict.fromkeys([job.parent] if job.parent else []))
    for one in named_media(job.request):
        same = select(items.c.id).where(items.c.owner == job.owner, items.c.sha256 == one["sha256"])
        known += connection.scalars(same.order_by(items.c.created_at.desc()).limit(1))
    return Item(
        id=job.id,
        owner=job.owner,
        name=job.title,
        sha256=video.sha256,
        type=video.type,
        size_bytes=video.size_bytes,
        width=made.width,
        height=made.height,
        fps=made.fps,
        num_frames=made.num_frames,
        created_at=now,
        parents=tuple(dict.fromkeys(known)),
    )
