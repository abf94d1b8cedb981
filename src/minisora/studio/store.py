"""The database: jobs, their attempts, the library, tokens.

SQLite with a write-ahead log and a sync at every commit, or PostgreSQL by address. All writes run
in one thread, one transaction each; reads run in threads of their own. Methods that take an `owner`
see that owner's rows only; None sees all.

Here: rows and transactions. Not here: the queue (dispatch.py), files (blobs.py, results.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from minisora.studio.jobs import Attempt, Failure, Item, Job, Made, NewJob, Page, State, Token, Usage


class Store:
    """Jobs. `library` and `tokens` are the other tables' methods.

    address: sqlite:///FILE or postgresql://...

    Opening brings the tables up to date. Raises UsageError for an address that does not open, and
    for tables of a newer version.
    """

    library: Library
    tokens: Tokens

    def __init__(self, address: str) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        """Finish pending writes and close all connections."""
        raise NotImplementedError

    async def add(self, new: NewJob) -> tuple[Job, bool]:
        """Keep a job as waiting, at the end of its owner's; when this returns, it is on disk.

        returns  the job, and True if it is new: with the key, or the fingerprint, of an earlier job
                 (see NewJob) that one is returned
        """
        raise NotImplementedError

    async def job(self, job_id: str, owner: str | None) -> Job:
        """Raises NotFound; a deleted job is not found."""
        raise NotImplementedError

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
        raise NotImplementedError

    async def unfinished(self) -> list[Job]:
        """Waiting, paused and running jobs, by position."""
        raise NotImplementedError

    async def by_key(self, owner: str, key: str) -> Job | None:
        """Job of an idempotency key."""
        raise NotImplementedError

    async def by_fingerprint(self, owner: str, fingerprint: str, since: float) -> Job | None:
        """Newest job with this fingerprint, created since a Unix time."""
        raise NotImplementedError

    async def change(self, job_id: str, expected: Collection[State], **changes: Any) -> Job:
        """Change fields of a job (those of Job) if its state is an expected one.

        Raises WrongState otherwise, NotFound.
        """
        raise NotImplementedError

    async def begin(self, job_ids: Sequence[str], worker: str) -> list[Job]:
        """Mark waiting jobs as running, each with a new attempt."""
        raise NotImplementedError

    async def finish(self, job_id: str, outcome: Made | Failure | State, attempt: str = "") -> Job:
        """End the attempt of a running job, and the job: done, failed, cancelled.

        outcome: State.WAITING puts it back; Made adds it to the library as well
        attempt: outcome of the attempt, if another word than the state
        """
        raise NotImplementedError

    async def attempts(self, job_id: str) -> list[Attempt]:
        """Attempts of a job, in order."""
        raise NotImplementedError

    async def seconds_of_done(self, most: int = 500) -> list[tuple[Job, float]]:
        """Newest done jobs, each with the seconds of its last attempt."""
        raise NotImplementedError

    async def usage(self, owner: str, since: float) -> Usage:
        """Use of the server by an owner."""
        raise NotImplementedError

    async def delete(self, job_id: str, owner: str | None) -> Job:
        """Delete a finished job and its item; both can be restored until they are purged.

        Raises NotFound; WrongState for an unfinished one.
        """
        raise NotImplementedError

    async def restore(self, job_id: str, owner: str | None) -> Job:
        """Undo `delete`. Raises NotFound."""
        raise NotImplementedError

    async def purge(self, deleted_before: float) -> list[str]:
        """Remove rows that were deleted before a Unix time; returns the ids of jobs."""
        raise NotImplementedError

    async def named_blobs(self) -> set[str]:
        """SHA-256 of every blob that a row names."""
        raise NotImplementedError


class Library:
    """Clips and pictures: videos of jobs, and uploads."""

    async def add_upload(self, item: Item) -> Item:
        """Keep an upload, whose blob is on disk already."""
        raise NotImplementedError

    async def item(self, item_id: str, owner: str | None) -> Item:
        """Raises NotFound; a deleted item is not found."""
        raise NotImplementedError

    async def items(
        self,
        owner: str | None,
        *,
        after: str | None = None,
        limit: int = 50,
        newest_first: bool = True,
        favourite: bool | None = None,
        tag: str | None = None,
        deleted: bool = False,
    ) -> Page[Item]:
        """List items by time of creation. deleted: only those that can be restored"""
        raise NotImplementedError

    async def change(self, item_id: str, owner: str | None, changes: Mapping[str, Any]) -> Item:
        """Change `name`, `favourite` or `tags` (all of them). Raises NotFound."""
        raise NotImplementedError

    async def children(self, item_id: str, owner: str | None) -> list[Item]:
        """Items that were made from an item, oldest first."""
        raise NotImplementedError

    async def delete(self, item_id: str, owner: str | None) -> Item:
        """Delete an upload, or a job's item with its job; see `Store.delete`."""
        raise NotImplementedError

    async def restore(self, item_id: str, owner: str | None) -> Item:
        """Undo `delete`."""
        raise NotImplementedError


class Tokens:
    """Tokens, by the hash of their secret."""

    async def add(self, token: Token, secret_sha256: str) -> Token:
        raise NotImplementedError

    async def by_secret(self, secret_sha256: str) -> Token | None:
        """Token of a secret; None if there is none, or if it was revoked."""
        raise NotImplementedError

    async def all(self) -> list[Token]:
        """Tokens by time of creation, revoked ones too."""
        raise NotImplementedError

    async def revoke(self, token_id: str) -> Token:
        """Raises NotFound."""
        raise NotImplementedError
