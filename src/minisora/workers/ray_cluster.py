"""Joining a Ray cluster, or starting Ray on this machine for this process.

Here: the connection; Ray is imported on use. Not here: what runs on it (ray_runner.py,
studio/ray_workers.py).
"""

from __future__ import annotations

import os
from typing import Any

from minisora.errors import UsageError


def connected(address: str | None, *, logs: bool = False, **local: Any) -> Any:
    """The module `ray`, connected.

    address: of a running cluster, or "auto" for the one on this machine; None: start Ray on this
             machine, without dashboard and statistics of use; it ends with this process
    logs:    print what actors print
    local:   arguments of ray.init for a Ray of our own

    Raises UsageError when Ray is not installed, or no cluster answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UsageError("Ray is not installed. Run: pip install 'minisora[ray]', or leave out --engine ray.") from None
    if not ray.is_initialized():
        own = {"address": "local", "include_dashboard": False, **local}
        try:
            ray.init(log_to_driver=logs, **(own if address is None else {"address": address}))
        except Exception as error:  # Ray raises bare ones too
            message = " ".join(str(error).split())[:200].rstrip(".")
            raise UsageError(f"Ray cannot be reached at {address or 'this machine'}: {message}.") from error
    return ray
