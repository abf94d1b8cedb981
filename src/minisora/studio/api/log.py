"""Structured log: one JSON object a line, without prompts unless the operator asks for them.

Here: writing lines. Not here: what is counted (metrics.py).
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

LOGGER = logging.getLogger("minisora.studio")


def write(event: str, **facts: Any) -> None:
    """Write a line. facts: JSON values, no text from clients but their ids"""
    _write(event, logging.INFO, facts)


def _write(event: str, level: int, facts: Mapping[str, Any]) -> None:
    if LOGGER.isEnabledFor(level):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() // 1_000_000 % 1000:03d}Z"
        line = {"time": stamp, "level": logging.getLevelName(level).lower(), "event": event, **facts}
        LOGGER.log(level, "%s", json.dumps(line, ensure_ascii=False, default=str))


def write_error(error: BaseException, **facts: Any) -> None:
    """Write a line about a mistake of ours: its class and place; its text may hold a prompt."""
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    _write("error", logging.ERROR, {"error": type(error).__name__, "where": where, **facts})


def to_stderr() -> None:
    """Send the log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
