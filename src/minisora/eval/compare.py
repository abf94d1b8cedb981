"""Comparison of two reports: figures that got better, got worse, or differ by noise only.

A difference is significant if its interval excludes 0. Its half width is the root of the sum of
squares of both half widths, as for independent measurements. Both reports use the same prompts, so
this test is conservative. Of 20 unchanged figures one is expected to count as a change.

Here: reading reports, and the comparison as text. Not here: measuring (report.py, stickers.py,
rows.py).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minisora.errors import UsageError
from minisora.eval.suites import SUITES

ROWS = {  # files that hold only figures, and their titles
    **{f"{suite.name}.json": suite.title for suite in SUITES if suite.title},
    "folder.json": "A folder of videos",
}
FILES = ("results.json", "stickers.json", *ROWS)
CHANGED, SAME, UNKNOWN = ("worse", "better"), "same", "no interval"


@dataclass(frozen=True)
class Measured:
    """A figure of a report with its 95 % bootstrap interval; NaN if it has none."""

    value: float
    low: float
    high: float
    better: str  # "higher" or "lower"

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Found:
    """A report's figures by name, and a line that names its subject."""

    what: str
    figures: dict[str, Measured]


def compare(a: Path, b: Path) -> str:
    """Compare report a with report b, as a table and a summary in Markdown.

    a, b: two files of one kind, such as results.json or verbs.json, or two folders of them

    Raises UsageError if a file is not a report, or the two have no figure in common.
    """
    one, other = read_report(a), read_report(b)
    both = [name for name in one.figures if name in other.figures]
    if not both:
        raise UsageError(f"{a} and {b} have no figure in common. Give two results of the same kind.")
    names: dict[str, list[str]] = {verdict: [] for verdict in (CHANGED[1], CHANGED[0], SAME, UNKNOWN)}
    lines = [
        f"a: {one.what}",
        f"b: {other.what}",
        "",
        "| figure | a | b | b - a | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in both:
        was, now = one.figures[name], other.figures[name]
        change = verdict(was, now)
        names[change].append(name)
        difference = f"{now.value - was.value:+.3f}"
        if change != UNKNOWN:
            difference += f" ± {math.hypot(was.half, now.half):.3f}"
        lines.append(f"| {name} | {_cell(was)} | {_cell(now)} | {difference} | {'' if change == SAME else change} |")
    lines.append("")
    lines += [f"{change}: {', '.join(names[change]) or 'nothing'}" for change in (CHANGED[1], CHANGED[0])]
    lines.append(f"{len(names[SAME])} within noise, {len(names[UNKNOWN])} without an interval to say")
    for path, mine, theirs in ((a, one, other), (b, other, one)):
        if alone := [name for name in mine.figures if name not in theirs.figures]:
            lines.append(f"only in {path}: {', '.join(alone)}")
    return "\n".join(lines)


def verdict(was: Measured, now: Measured) -> str:
    """Classify a difference as one of CHANGED, SAME and UNKNOWN."""
    change, half = now.value - was.value, math.hypot(was.half, now.half)
    if math.isnan(change) or math.isnan(half):
        return UNKNOWN
    if abs(change) <= half:  # <=: two equal figures with intervals of zero width are the same
        return SAME
    return CHANGED[(change > 0) == (now.better == "higher")]


def read_report(path: Path) -> Found:
    """Read the figures of one file, or of all the files in a folder."""
    files = [path / name for name in FILES if (path / name).exists()] if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{path} holds no {', '.join(FILES)}. Give a folder that `minisora evaluate` wrote.")
    figures: dict[str, Measured] = {}
    what: list[str] = []
    for file in files:
        data = read_json(file)
        try:
            if (rows := rows_in(data)) is not None:
                read = _rows(rows)
            else:
                stickers = "asked" in data
                what.append(f"{data['model']}, {data['count']} prompts{' of stickers' if stickers else ''}")
                scores = {name: _measured(score, "value", "higher") for name, score in data["normalised"].items()}
                read = {f"stickers: {name}": score for name, score in scores.items()} if stickers else scores
                read |= {} if stickers else _others(data)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{file} is not what `minisora evaluate` writes: {error!r}.") from error
        figures |= {name: figure for name, figure in read.items() if not math.isnan(figure.value)}
    return Found("; ".join([*what, str(path)]), figures)


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises UsageError if it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}.") from error


def rows_in(data: Any) -> list[dict[str, Any]] | None:
    """Rows of a file of ROWS, None for another; folder.json holds its videos too."""
    return data if isinstance(data, list) else data["figures"] if "videos" in data else None


def _others(data: dict[str, Any]) -> dict[str, Measured]:
    """The figures of results.json that are not scores, most of them without an interval."""
    values: dict[str, tuple[float, str]] = {}
    for source, figures in (data.get("vae") or {}).items():
        values |= {f"VAE, {source}: {key}": (figures[key], "higher") for key in ("psnr_db", "ssim")}
    if losses := data.get("loss_by_noise"):
        values["held-out loss"] = (sum(losses) / len(losses), "lower")
    alone = {name: Measured(value, math.nan, math.nan, better) for name, (value, better) in values.items()}
    return alone | _rows(data.get("figures") or [])


def _rows(figures: list[dict[str, Any]]) -> dict[str, Measured]:
    return {f"{row['verb']}: {row['name']}": _measured(row, "mean", row["better"]) for row in figures}


def _measured(row: dict[str, Any], key: str, better: str) -> Measured:
    value, low, high = (math.nan if row[name] is None else float(row[name]) for name in (key, "low", "high"))
    return Measured(value, low, high, better)


def _cell(figure: Measured) -> str:
    interval = "" if math.isnan(figure.half) else f" [{figure.low:.3f}, {figure.high:.3f}]"
    return f"{figure.value:.3f}{interval}"
