"""A module that is imported when it is first used, for files whose names are needed before their work is."""

from __future__ import annotations

import importlib
from typing import Any


class Lazy:
    """Stands for a module of that name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)
