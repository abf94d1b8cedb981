"""Files that crash, hang or fail cost their own row and nothing else."""

from __future__ import annotations

import pyarrow as pa
import pytest

from minisora.errors import UsageError
from minisora.workers.pool import Pool
from tests.helpers.acts import Act, acts_table


def run(acts: list[str], workers: int = 2, timeout_seconds: float = 120.0) -> list[tuple[str, str]]:
    with Pool(Act(), workers, timeout_seconds) as pool:
        tables = list(pool.run(acts_table(acts)))
    return [(row["act"], row["said"]) for table in tables for row in table.to_pylist()]


def test_a_row_that_fails_costs_itself_alone_and_the_order_stays():
    acts = ["slow", "a", "crash", "b", "raise", "leave", "c", "damaged", "d", "crash", "crash", "e"]
    told = run(acts)
    assert [act for act, _ in told] == acts
    said = dict(told)
    assert said["crash"] == "crashed: its process was ended by SIGSEGV"
    assert said["leave"] == "crashed: its process ended with status 3"
    assert said["raise"] == "error: ValueError: a list index out of range"
    assert said["damaged"] == "truncated: it ends too early"
    assert {said[act] for act in ("slow", "a", "b", "c", "d", "e")} == {"done"}


@pytest.mark.long
def test_a_row_that_hangs_is_ended_while_the_others_go_on():
    """The time is long for what takes none, as a busy machine may be slow to begin."""
    told = run(["a", "hang", "b", "c", "hang", "d"], timeout_seconds=10.0)
    hung = "timeout: not done after 10 s, the `timeout_seconds`"
    assert [said for _, said in told] == ["done", hung, "done", "done", hung, "done"]


def test_what_is_no_fault_of_a_row_ends_the_run():
    with pytest.raises(UsageError, match="install it first"):
        run(["a", "refuse", "b"])


def test_no_rows_start_no_process():
    assert run([]) == []


def test_results_do_not_pile_up_behind_a_slow_row():
    """The reader is ahead by a bounded number of rows, whatever their number."""
    with Pool(Act(), 2, 30.0) as pool:
        results = pool.run(acts_table(["slow"] + ["a"] * 400))
        next(results)
        frame = results.gi_frame
        assert frame is not None and len(frame.f_locals["done"]) <= 16
        results.close()


def test_a_large_file_has_more_time():
    pool = Pool(Act(), 1, 10.0)
    for size, seconds in ((0, 10), (300_000_000, 20), (5_000_000_000, 190)):
        assert pool._patience(pa.table({"act": ["a"], "size_bytes": [size]})) == seconds
    assert pool._patience(acts_table(["a"])) == 10
