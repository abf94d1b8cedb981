"""Setup of a worker process: one thread, ignores Ctrl-C, ends with its parent."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading


def become_worker() -> None:
    """Turn this process into a worker of the one that started it."""
    import torch

    for number in (signal.SIGINT, signal.SIGTERM):  # they go to the whole group; stopping is the parent's to do
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """End with the parent even if the work hangs and never notices its closed pipe."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a worker has a parent"
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
