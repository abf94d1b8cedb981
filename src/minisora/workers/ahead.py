"""Prefetching: items computed ahead of time in single-threaded processes, returned in order.

Threads would do for decoding, but not next to a training step that keeps every core busy: operators
wait for the slowest of their threads, and a worker's operators would take all cores.

Items are assigned round-robin, so the results do not depend on the number of processes. A process
that dies or exceeds its time is replaced and its items are computed again; an item that fails twice
ends the run.

Here: the processes and their messages. Not here: samples (data/shards.py), work whose failures are
rows of a table (pool.py).
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import reprlib
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from typing import Any, Generic, TypeVar

from minisora.errors import UsageError
from minisora.workers.process import become_worker

Item = TypeVar("Item")
Made = TypeVar("Made")

MOST_SECONDS = 1800.0
_skipped: dict[str, None] = {}  # what was; in a worker, while it makes one item
_is_worker = False


def ahead(
    make: Callable[[Item], Made], items: Iterable[Item], *, workers: int, timeout_seconds: float = MOST_SECONDS
) -> Generator[Made]:
    """Yield make(item) for each item, in order, with up to `workers` computed ahead.

    make:            must pickle
    workers:         0: compute each item on demand, in this process and without a time limit
    timeout_seconds: for one item, from when it is waited for

    Exceptions of `make` are raised here. Raises UsageError if an item kills its process or exceeds
    its time twice.
    """
    if workers == 0:
        yield from map(make, items)
        return
    team = [_Worker(make) for _ in range(workers)]
    try:
        waiting: deque[_Worker[Item, Made]] = deque()
        for number, item in enumerate(items):
            team[number % workers].give(item)
            waiting.append(team[number % workers])
            if len(waiting) > workers:
                yield waiting.popleft().take(timeout_seconds)
        while waiting:
            yield waiting.popleft().take(timeout_seconds)
    finally:
        for worker in team:
            worker.end()


def report_skipped(what: str) -> None:
    """Report a skipped sample once, with their number so far, whichever process found it."""
    if what not in _skipped:
        _skipped[what] = None
        if not _is_worker:
            print(f"skipped: {what} ({len(_skipped)} so far)", file=sys.stderr, flush=True)


class _Worker(Generic[Item, Made]):
    """A process, and its items whose results were not taken yet."""

    def __init__(self, make: Callable[[Item], Made]) -> None:
        self.make = make
        self.given: deque[Item] = deque()
        self._start()

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")  # a fork would copy the locks of the parent's threads as they are
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_work, args=(self.make, theirs), daemon=True)
        self.process.start()
        theirs.close()
        # kill at exit: a daemon gets SIGTERM and is waited for, but workers ignore SIGTERM
        Finalize(self, self.process.kill, exitpriority=100)
        self.ready = False  # it has loaded what it needs, which is not time of an item

    def give(self, item: Item) -> None:
        self.given.append(item)
        self._send(item)

    def _send(self, item: Item) -> None:
        with suppress(OSError):  # it has ended, as `take` will see
            self.pipe.send(item)

    def take(self, timeout_seconds: float) -> Made:
        """The result of the oldest item."""
        why = self._wait(timeout_seconds)
        if isinstance(why, str):
            print(f"a process that works ahead was lost ({why}); another begins again", file=sys.stderr, flush=True)
            self.end()
            self._start()
            for item in self.given:
                self._send(item)
            why = self._wait(timeout_seconds)
        item = self.given.popleft()
        if isinstance(why, str):
            raise UsageError(
                f"{reprlib.repr(item)} could not be made ahead, twice: {why}. Look at the data that it reads, and at "
                "the memory that is free; or make nothing ahead (`prefetch=0`), to see where it stops."
            )
        kind, content, skipped = why
        for what in skipped:
            report_skipped(what)
        if kind == "raised":
            raise content
        made: Made = content
        return made

    def _wait(self, timeout_seconds: float) -> tuple[str, Any, list[str]] | str:
        """The process's message about the oldest item, or the reason why there is none."""
        try:
            if not self.ready:
                self.ready = self.pipe.recv()
            if not self.pipe.poll(timeout_seconds):
                return f"not done after {timeout_seconds:g} s"
            answer: tuple[str, Any, list[str]] = self.pipe.recv()
            return answer
        except (EOFError, OSError):  # it ended, perhaps in the middle of a message
            self.process.join()
            status = self.process.exitcode or 0
            return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _work(make: Callable[[Any], Any], pipe: Connection) -> None:
    global _is_worker
    become_worker()
    _is_worker = True
    try:
        pipe.send(True)
        while True:
            item = pipe.recv()
            _skipped.clear()
            try:
                kind, content = "made", make(item)
            except Exception as error:
                error.add_note("".join(traceback.format_exception(error)))  # which pickling leaves out
                kind, content = "raised", error
            pipe.send((kind, content, list(_skipped)))
    except (EOFError, OSError):
        pass  # the parent is gone
