"""Lazy import: a module that is imported when it is first used."""

from __future__ import annotations

import importlib
from typing import Any


class Lazy:
    """Proxy of a module; the first attribute access imports it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)
