"""Work done ahead, in processes of one thread each, and handed over in order.

Threads would do for decoding, but not beside a step that keeps every core busy: the threads of an operator wait for
any core that is taken from them, and those of a worker's operators would take them all.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(make: Callable[[Item], Made], items: Iterable[Item], *, workers: int) -> Generator[Made]:
    """make(item) for each, in order, up to `workers` of them ahead of what is asked for. `make` must pickle.

    workers: 0 makes each when it is asked for, in this process
    """
    if workers == 0:
        yield from map(make, items)
        return
    spawn = multiprocessing.get_context("spawn")  # a fork would copy the locks of the parent's threads as they are
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_become_worker) as pool:
        waiting: deque[Future[Made]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _become_worker() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # they go to the whole group; stopping is the parent's to do
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """A worker holds its queue open itself, so nothing else tells it that a killed parent is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a worker has a parent"
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
