"""How a process works for another: one thread, deaf to Ctrl-C, gone when its parent is."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading


def become_worker() -> None:
    """Make this process a worker of the one that started it."""
    import torch

    for number in (signal.SIGINT, signal.SIGTERM):  # they go to the whole group; stopping is the parent's to do
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """End even where the work hangs, and does not see its pipe close when the parent is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a worker has a parent"
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
