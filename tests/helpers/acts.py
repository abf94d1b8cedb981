"""A stage that does what its rows say: crash, hang, raise."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import pyarrow as pa

from minisora.errors import InputError, UsageError


@dataclass(frozen=True)
class Act:
    """Does what its row says."""

    def __call__(self, rows: pa.Table, /) -> pa.Table:
        told = []
        for act in rows.column("act").to_pylist():
            if act == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if act == "leave":
                os._exit(3)
            if act == "hang":
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.Signals)
                time.sleep(600)
            if act == "raise":
                raise ValueError("a list index\nout of range")
            if act == "damaged":
                raise InputError("truncated", "it ends too early")
            if act == "refuse":
                raise UsageError("install it first")
            if act == "slow":
                time.sleep(0.3)
            told.append({"act": act, "said": "done"})
        return pa.Table.from_pylist(told)

    def failed(self, rows: pa.Table, reason: str, message: str) -> pa.Table:
        return pa.Table.from_pylist([{"act": act, "said": f"{reason}: {message}"} for act in rows["act"].to_pylist()])


ACTS = ["slow", "a", "crash", "b", "raise", "leave", "c", "damaged", "d", "hang", "crash", "e"]
REASONS = {"crash": "crashed", "leave": "crashed", "raise": "error", "damaged": "truncated", "hang": "timeout"}
SAID = [REASONS.get(act, "done") for act in ACTS]


def acts_table(acts: list[str]) -> pa.Table:
    return pa.table({"act": acts})
