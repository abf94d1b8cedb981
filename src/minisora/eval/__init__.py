"""Metrics and the report: how well a model follows prompts, between floor and ceiling.

Reading order: report.py, score.py; metrics.py, figures.py and quality.py beside them; stickers.py; rows.py and the
families that give rows: verbs.py, aspects.py, motions.py, space.py, physics.py, variety.py, folder.py; command.py,
which runs them all. The judges are in judge/.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minisora.eval.aspects import aspect_figures as aspect_figures
    from minisora.eval.motions import motion_figures as motion_figures
    from minisora.eval.report import Report as Report
    from minisora.eval.report import evaluate as evaluate
    from minisora.eval.rows import verb_table as verb_table
    from minisora.eval.stickers import StickerReport as StickerReport
    from minisora.eval.stickers import left_out as left_out
    from minisora.eval.stickers import sticker_report as sticker_report
    from minisora.eval.verbs import verb_figures as verb_figures

_PLACES = {
    "Report": "report",
    "evaluate": "report",
    "StickerReport": "stickers",
    "left_out": "stickers",
    "sticker_report": "stickers",
    "aspect_figures": "aspects",
    "motion_figures": "motions",
    "verb_figures": "verbs",
    "verb_table": "rows",
}
__all__ = [
    *("Report", "StickerReport", "aspect_figures", "evaluate", "left_out", "motion_figures", "sticker_report"),
    *("verb_figures", "verb_table"),
]


def __getattr__(name: str) -> Any:
    """Loaded at first use, so that `python -m minisora.judge.playroom` does not import itself first."""
    if name not in __all__:
        raise AttributeError(f"module 'minisora.eval' has no attribute {name!r}")
    return getattr(import_module(f"minisora.eval.{_PLACES[name]}"), name)
