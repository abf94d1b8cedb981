"""Metrics and the report: how well a model follows prompts, between floor and ceiling.

Reading order: report.py, score.py, judge.py, tracks.py, segment.py, train.py; metrics.py and figures.py beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minisora.eval.report import Report as Report
    from minisora.eval.report import evaluate as evaluate

__all__ = ["Report", "evaluate"]


def __getattr__(name: str) -> Any:
    """Loaded at first use, so that `python -m minisora.eval.judge` does not import itself first."""
    if name not in __all__:
        raise AttributeError(f"module 'minisora.eval' has no attribute {name!r}")
    from minisora.eval import report

    return getattr(report, name)
