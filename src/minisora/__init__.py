"""minisora: the whole of Sora, small enough to read.

    import minisora

    model = minisora.load()
    video = model.generate("a small red ball rolls to the left past a green cube")
    video.save("out.mp4")

Names are loaded when they are first used, so that importing this costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minisora.errors import UsageError
    from minisora.generate.canvas import Condition
    from minisora.generate.model import Model, load
    from minisora.video import Video

__version__ = "0.1.0"
__all__ = ["Condition", "Model", "UsageError", "Video", "load"]

_HOME = {
    "Condition": "generate.canvas",
    "Model": "generate.model",
    "UsageError": "errors",
    "Video": "video",
    "load": "generate.model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'minisora' has no attribute {name!r}")
    return getattr(importlib.import_module(f"minisora.{_HOME[name]}"), name)
