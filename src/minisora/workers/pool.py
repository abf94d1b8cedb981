"""A pool of worker processes for work that may crash or hang.

Each process does one row at a time. A row that raises, exceeds its time limit or crashes its
process becomes a failed row with the reason; the process is replaced and the rest continues.
Results come in the order of the rows, and only a few rows are processed ahead of the consumer, so
memory does not grow with their number.

Here: stages, and running one on this machine. Not here: running one on Ray (ray_runner.py), the
stages themselves (curate/).
"""

from __future__ import annotations

import errno
import multiprocessing
import multiprocessing.connection
import signal
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import pyarrow as pa

from minisora.errors import InputError, UsageError
from minisora.video.files import cannot_write
from minisora.workers.process import become_worker

_BYTES = 256 << 20  # of a file, for each of which there is the whole time again
_AHEAD = 8  # rows for each process that may be done before the oldest of them is


class Stage(Protocol):
    """A function from rows to rows.

    It must pickle; heavy resources are loaded at the first call.
    """

    def __call__(self, rows: pa.Table, /) -> pa.Table:
        """At least one row for each of `rows`, in their order; if it raises, that of `failed`."""

    def failed(self, rows: pa.Table, reason: str, message: str) -> pa.Table:
        """Result for rows that failed. reason: one word, which the ledger counts by"""


Engine = Callable[[Stage, pa.Table], Iterator[pa.Table]]  # the results for the rows of a table, in order


class _Worker:
    """A process, and the row that it works on."""

    def __init__(self, stage: Stage) -> None:
        # forkserver: a new process in milliseconds, and no copy of our threads' locks
        forks = "forkserver" in multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context("forkserver" if forks else "spawn")
        if forks:
            context.set_forkserver_preload([__name__, "torch", type(stage).__module__])
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(stage, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.ready = False  # it has loaded what it needs, which is not time of a row
        self.row: int | None = None
        self.deadline = 0.0  # of time.monotonic()

    def end(self) -> int | None:
        """Kill the process; returns its exit status, negative for a signal, ours included."""
        self.process.kill()
        self.process.join()
        self.pipe.close()
        return self.process.exitcode


@dataclass(eq=False)
class Pool:
    """Processes for one stage, started when there are rows; as a context manager, ended at exit.

    timeout_seconds: for one row, and again for each 256 MB of its `size_bytes`
    """

    stage: Stage
    workers: int
    timeout_seconds: float

    def __post_init__(self) -> None:
        assert self.workers > 0 and self.timeout_seconds > 0, (self.workers, self.timeout_seconds)
        self._pool: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._pool:
            worker.end()
        self._pool = []

    def run(self, rows: pa.Table) -> Generator[pa.Table]:
        """Yield stage(row) for each row, in order. Raises the UsageErrors of the stage."""
        done: dict[int, pa.Table] = {}
        begun = taken = 0
        while taken < rows.num_rows:
            while len(self._pool) < min(self.workers, rows.num_rows - taken - len(done)):
                self._pool.append(_Worker(self.stage))
            for worker in self._pool:
                if worker.ready and worker.row is None and begun < min(rows.num_rows, taken + _AHEAD * self.workers):
                    worker.row, worker.deadline = begun, time.monotonic() + self._patience(rows.slice(begun, 1))
                    begun += 1
                    _send(worker.pipe, rows.slice(worker.row, 1))
            for worker in self._wait():
                row, result = worker.row, self._receive(worker, rows)
                if row is not None and result is not None:
                    done[row] = result
            while taken in done:
                yield done.pop(taken)
                taken += 1

    def _patience(self, row: pa.Table) -> float:
        size = row.column("size_bytes")[0].as_py() if "size_bytes" in row.column_names else 0
        return self.timeout_seconds * (1 + size // _BYTES)

    def _wait(self) -> list[_Worker]:
        """Workers that have sent an answer, have ended or have exceeded their time."""
        busy = [worker for worker in self._pool if worker.row is not None or not worker.ready]
        deadline = min((worker.deadline for worker in busy if worker.row is not None), default=None)
        patience = None if deadline is None else max(0.0, deadline - time.monotonic())
        handles = [handle for worker in busy for handle in (worker.pipe, worker.process.sentinel)]
        heard = set(multiprocessing.connection.wait(handles, patience))
        now = time.monotonic()
        return [
            worker
            for worker in busy
            if worker.pipe in heard
            or worker.process.sentinel in heard
            or (worker.row is not None and now >= worker.deadline)
        ]

    def _receive(self, worker: _Worker, rows: pa.Table) -> pa.Table | None:
        """The result of the worker's row, if it has succeeded or failed; else None."""
        answer = None
        if worker.pipe.poll():
            try:
                answer = worker.pipe.recv()
            except (EOFError, OSError):  # it ended, perhaps in the middle of an answer
                worker.process.join()
        row = None if worker.row is None else rows.slice(worker.row, 1)
        if answer is None:
            crashed = not worker.process.is_alive()
            self._pool.remove(worker)
            status = worker.end()
            if row is None:
                raise RuntimeError(f"a worker ended before its first row, with status {status}")
            if crashed:
                return self.stage.failed(row, "crashed", _ending(status))
            waited = self._patience(row)
            each = " for each 256 MB" if waited > self.timeout_seconds else ""
            return self.stage.failed(row, "timeout", f"not done after {waited:g} s, the `timeout_seconds`{each}")
        kind, content = answer
        worker.row = None
        if kind == "refused":
            raise UsageError(content)
        if kind == "ready":
            worker.ready = True
            return None
        return content if kind == "done" else self.stage.failed(row, *content)


def _send(pipe: Connection, row: pa.Table) -> None:
    with suppress(OSError):  # the process may have ended, which its sentinel reports
        pipe.send(pa.Table.from_pylist(row.to_pylist(), schema=row.schema))  # a slice would pickle with its whole table


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        return f"its process was ended by {signal.Signals(-status).name}"
    return f"its process ended with status {status}"


def _work(stage: Stage, pipe: Connection) -> None:
    become_worker()
    try:
        pipe.send(("ready", None))
        while True:
            pipe.send(_answer(stage, pipe.recv()))
    except (EOFError, OSError):
        pass  # the parent is gone


def _answer(stage: Stage, row: pa.Table) -> tuple[str, Any]:
    try:
        return "done", stage(row)
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, InputError):
            return "failed", (error.reason, text)
        if isinstance(error, UsageError):
            return "refused", text
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):  # not the file's fault
            return "refused", str(cannot_write(Path(tempfile.gettempdir()), error))
        return "failed", ("error", f"{type(error).__name__}: {text}")
