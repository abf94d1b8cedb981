"""Stages of the pool on Ray Data: one machine, or a cluster that sees the same folders.

Each actor runs the work in a process of its own (pool.py), so that a file that crashes or hangs is
quarantined and costs no actor. Results are collected in the order of the rows, and the driver
writes all files, so the output has the same bytes as a local run's.

Here: a stage on Ray. Not here: connecting (ray_cluster.py), stages (pool.py), the order of the work
(curate/runner.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module

import pyarrow as pa

from minisora.errors import UsageError
from minisora.workers.pool import Engine, Pool, Stage
from minisora.workers.ray_cluster import connected

_ROWS_OF_A_BLOCK = 8  # what an actor takes at a time
_REFUSED, _REFUSED_END = "<refused>", "</refused>"  # about what a user can mend: Ray hands on the text of errors alone


def ray_engine(workers: int | None, timeout_seconds: float, address: str | None = None) -> Engine:
    """An engine that runs stages on Ray.

    workers: number of actors, of one CPU each; None: as many as the cluster has
    address: of a running cluster; None: start Ray on this machine

    Raises UsageError when Ray is not installed, or no cluster answers at the address.
    """
    ray = connected(address, num_cpus=(workers or os.cpu_count() or 1) + 1)
    import_module("ray.data")
    size = workers or max(1, int(ray.cluster_resources().get("CPU", 1)) - (address is None))

    def engine(stage: Stage, rows: pa.Table) -> Iterator[pa.Table]:
        if not rows.num_rows:
            return
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        starts = range(0, rows.num_rows, _ROWS_OF_A_BLOCK)
        blocks = [rows.slice(start, _ROWS_OF_A_BLOCK).combine_chunks() for start in starts]
        results = ray.data.from_arrow(blocks).map_batches(
            _Guarded,
            fn_constructor_args=(stage, timeout_seconds),
            batch_format="pyarrow",
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(size=size),
            num_cpus=1,
        )
        try:
            yield from results.iter_batches(batch_size=None, batch_format="pyarrow")
        except ray.exceptions.RayError as error:
            if _REFUSED in str(error):
                message = str(error).rpartition(_REFUSED)[2].split(_REFUSED_END)[0]
                raise UsageError(" ".join(message.split())) from None
            raise

    return engine


class _Guarded:
    """An actor: a pool of one process."""

    def __init__(self, stage: Stage, timeout_seconds: float) -> None:
        self._pool = Pool(stage, 1, timeout_seconds)

    def __call__(self, rows: pa.Table) -> pa.Table:
        try:
            return pa.concat_tables(self._pool.run(rows))
        except UsageError as error:
            raise RuntimeError(f"{_REFUSED}{error}{_REFUSED_END}") from error
