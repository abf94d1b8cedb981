"""A database behind asyncio: one writer, some readers, and its version.

All writes run in one thread, in the order they were asked for, so that no two ever wait for each
other. Those that came while the last were written share a transaction, each in a savepoint of its
own, and so one sync of the disk. SQLite keeps a write-ahead log and syncs it at every commit: what
is committed survives a crash of the machine.

Here: connections, threads, migrations, errors. Not here: tables (tables.py), statements (store.py).
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import alembic.command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from minisora.errors import UsageError
from minisora.studio.jobs import StorageFull, Unavailable

Answer = TypeVar("Answer")
READERS = 2  # threads
_MOST_WRITES = 64  # in one transaction
_PG_DISK_FULL = "53100"  # SQLSTATE
_CLAIM, _CLAIM_TRIES = 0x6D696E69736F7261, 10  # key of the lock: "minisora"


class Database:
    """A database by its address. Opening it brings its tables up to date.

    Raises UsageError for an address that does not open, or tables of a newer version.
    """

    def __init__(self, address: str) -> None:
        self._engine = _engine(address)
        try:
            self._claim = _claimed(self._engine)
            _migrate(self._engine)
        except BaseException:
            self._engine.dispose()
            raise
        self._asked: queue.SimpleQueue[_Write] = queue.SimpleQueue()
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._readers = ThreadPoolExecutor(READERS, "store-reader")
        self._last = 0.0

    async def write(self, change: Callable[[Connection], Answer]) -> Answer:
        """Run a change as a whole or not at all; it is on disk when this returns.

        It may be called again on a database without its effects. A caller that is cancelled
        meanwhile does not undo it.

        Raises StorageFull; Unavailable, after which the change may be there or not.
        """
        answer = Future[Answer]()
        answer.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        self._asked.put(_Write(change, answer))
        self._writer.submit(self._write_all)
        return await asyncio.wrap_future(answer)

    async def read(self, query: Callable[[Connection], Answer]) -> Answer:
        """Run a query; it sees every change that was finished before."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._transaction, query)

    async def close(self) -> None:
        """Finish what was asked for, and close all connections."""
        await asyncio.to_thread(self._closed)

    def now(self) -> float:
        """Unix time, later at every call; for the writer only."""
        self._last = max(time.time(), self._last + 1e-6)
        return self._last

    def _closed(self) -> None:
        for threads in (self._writer, self._readers):
            threads.shutdown()
        if self._claim is not None:
            self._claim.close()
        self._engine.dispose()

    def _write_all(self) -> None:
        """Run what was asked for in one transaction; if that fails, each change in its own."""
        asked = list[_Write]()
        while len(asked) < _MOST_WRITES and not self._asked.empty():
            asked.append(self._asked.get())
        if len(asked) > 1 and self._written_together(asked):
            return
        for each in asked:
            try:
                answer = self._transaction(each.change)
            except Exception as error:
                each.answer.set_exception(error)
            else:
                each.answer.set_result(answer)

    def _written_together(self, asked: Sequence[_Write]) -> bool:
        """Run several changes in one transaction; False if that failed and none was made."""
        try:
            done = self._transaction(lambda connection: [_tried(connection, each) for each in asked])
        except Exception:
            return False
        for each, answer, error in done:
            if error is None:
                each.answer.set_result(answer)
            else:
                each.answer.set_exception(error)
        return True

    def _transaction(self, action: Callable[[Connection], Answer]) -> Answer:
        try:
            with self._engine.begin() as connection:
                return action(connection)
        except DBAPIError as error:
            if _is_full(error.orig):
                raise StorageFull("the disk is full: free some space on the server, then try again.") from error
            if error.connection_invalidated or isinstance(error, OperationalError):
                raise Unavailable("the database does not answer: try again in a minute.") from error
            raise


@dataclass(frozen=True)
class _Write:
    """A change that was asked for."""

    change: Callable[[Connection], Any]
    answer: Future[Any]


def _tried(connection: Connection, asked: _Write) -> tuple[_Write, Any, Exception | None]:
    """Run one change of several; what it raises undoes it alone, unless the database failed."""
    try:
        with connection.begin_nested():
            return asked, asked.change(connection), None
    except DBAPIError:
        raise
    except Exception as error:
        return asked, None, error


def _engine(address: str) -> Engine:
    try:
        url = make_url(address)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        engine = create_engine(url, pool_pre_ping=url.drivername != "sqlite")
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise UsageError(
            f"the database {address.partition('@')[2] or address!r} cannot be used ({error}). Give sqlite:///FILE, "
            "or postgresql://USER:PASSWORD@HOST/NAME with pip install 'minisora[postgresql]'."
        ) from None
    if url.drivername == "sqlite":
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _set_up(connection: sqlite3.Connection, record: Any) -> None:
    connection.isolation_level = None  # the driver is not to begin transactions: it ignores savepoints
    for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 10000"):
        connection.execute(f"PRAGMA {setting}")


def _claimed(engine: Engine) -> Connection | None:
    """Claim a PostgreSQL database for as long as the connection is open; SQLite's folder is locked.

    Raises UsageError if another server has it.
    """
    if engine.dialect.name != "postgresql":
        return None
    with _opening(engine):
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        for _ in range(_CLAIM_TRIES):  # a server that was killed may have it for a moment
            if connection.scalar(select(func.pg_try_advisory_lock(_CLAIM))):
                return connection
            time.sleep(0.5)
        connection.close()
    raise UsageError(f"another studio uses the database {_shown(engine)}. Stop it, or give another database.")


@contextmanager
def _opening(engine: Engine) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise UsageError(f"the database {_shown(engine)} does not open: {error.orig}. Check its address.") from None


def _shown(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _migrate(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    with _opening(engine), engine.begin() as connection:
        present = MigrationContext.configure(connection).get_current_revision()
        if present is not None and present not in {each.revision for each in script.walk_revisions()}:
            raise UsageError(
                f"{_shown(engine)} was written by a newer minisora (tables of version {present!r}). Update minisora."
            )
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")


def _is_full(error: Any) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or (
        getattr(error, "sqlstate", None) == _PG_DISK_FULL
    )
