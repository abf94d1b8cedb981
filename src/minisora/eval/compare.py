"""Two reports side by side: what got better, what got worse, and what is noise.

A difference counts where its interval leaves out 0. Half its width is the root of the sum of squares of both half
widths, as of independent measurements. Both reports ask the same prompts, which makes this err towards noise. Of 20
figures that did not change, one may still be called a change.

Here: reading reports, and the comparison as text. Not here: measuring (report.py, stickers.py, rows.py).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minisora.errors import UsageError
from minisora.eval.suites import SUITES

ROWS = {  # files of figures alone, and what they are called
    **{f"{suite.name}.json": suite.title for suite in SUITES if suite.title},
    "folder.json": "A folder of videos",
}
FILES = ("results.json", "stickers.json", *ROWS)
CHANGED, SAME, UNKNOWN = ("worse", "better"), "same", "no interval"


@dataclass(frozen=True)
class Measured:
    """A figure of a report, with the interval that holds 95 % of the bootstrap's draws; NaN where there is none."""

    value: float
    low: float
    high: float
    better: str  # "higher" or "lower"

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Found:
    """A report's figures by name, and a line that says what it is a report of."""

    what: str
    figures: dict[str, Measured]


def compare(a: Path, b: Path) -> str:
    """What changed from a to b, as a table and a summary.

    a, b: two files of one kind, such as results.json or verbs.json, or two folders that hold some of them

    Raises UsageError where a file is none of these, or where the two have no figure in common.
    """
    one, other = read_report(a), read_report(b)
    both = [name for name in one.figures if name in other.figures]
    if not both:
        raise UsageError(f"{a} and {b} have no figure in common. Give two results of the same kind.")
    told: dict[str, list[str]] = {verdict: [] for verdict in (CHANGED[1], CHANGED[0], SAME, UNKNOWN)}
    lines = [
        f"a: {one.what}",
        f"b: {other.what}",
        "",
        "| figure | a | b | b - a | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in both:
        was, now = one.figures[name], other.figures[name]
        said = verdict(was, now)
        told[said].append(name)
        change = f"{now.value - was.value:+.3f}"
        if said != UNKNOWN:
            change += f" ± {math.hypot(was.half, now.half):.3f}"
        lines.append(f"| {name} | {_cell(was)} | {_cell(now)} | {change} | {'' if said == SAME else said} |")
    lines.append("")
    lines += [f"{said}: {', '.join(told[said]) or 'nothing'}" for said in (CHANGED[1], CHANGED[0])]
    lines.append(f"{len(told[SAME])} within noise, {len(told[UNKNOWN])} without an interval to say")
    for path, mine, theirs in ((a, one, other), (b, other, one)):
        if alone := [name for name in mine.figures if name not in theirs.figures]:
            lines.append(f"only in {path}: {', '.join(alone)}")
    return "\n".join(lines)


def verdict(was: Measured, now: Measured) -> str:
    """One of CHANGED, SAME and UNKNOWN."""
    change, half = now.value - was.value, math.hypot(was.half, now.half)
    if math.isnan(change) or math.isnan(half):
        return UNKNOWN
    if abs(change) <= half:  # the interval holds 0, and two equal figures without any width are the same
        return SAME
    return CHANGED[(change > 0) == (now.better == "higher")]


def read_report(path: Path) -> Found:
    """The figures of one file, or of all that are in a folder."""
    files = [path / name for name in FILES if (path / name).exists()] if path.is_dir() else [path]
    if not files:
        raise UsageError(f"{path} holds no {', '.join(FILES)}. Give a folder that `minisora evaluate` wrote.")
    figures: dict[str, Measured] = {}
    what: list[str] = []
    for file in files:
        data = read_json(file)
        try:
            if isinstance(data, list):
                told = _rows(data)
            else:
                stickers = "asked" in data
                what.append(f"{data['model']}, {data['count']} prompts{' of stickers' if stickers else ''}")
                scores = {name: _measured(score, "value", "higher") for name, score in data["normalised"].items()}
                told = {f"stickers: {name}": score for name, score in scores.items()} if stickers else scores
                told |= {} if stickers else _others(data)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{file} is not what `minisora evaluate` writes: {error!r}.") from error
        figures |= {name: figure for name, figure in told.items() if not math.isnan(figure.value)}
    return Found("; ".join([*what, str(path)]), figures)


def read_json(path: Path) -> Any:
    """Raises UsageError where there is no such file, or it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}.") from error


def _others(data: dict[str, Any]) -> dict[str, Measured]:
    """What the report gives beside its scores, most of it without an interval."""
    told: dict[str, tuple[float, str]] = {}
    for source, figures in (data.get("vae") or {}).items():
        told |= {f"VAE, {source}: {key}": (figures[key], "higher") for key in ("psnr_db", "ssim")}
    if losses := data.get("loss_by_noise"):
        told["held-out loss"] = (sum(losses) / len(losses), "lower")
    alone = {name: Measured(value, math.nan, math.nan, better) for name, (value, better) in told.items()}
    return alone | _rows(data.get("figures") or [])


def _rows(figures: list[dict[str, Any]]) -> dict[str, Measured]:
    return {f"{row['verb']}: {row['name']}": _measured(row, "mean", row["better"]) for row in figures}


def _measured(row: dict[str, Any], key: str, better: str) -> Measured:
    value, low, high = (math.nan if row[name] is None else float(row[name]) for name in (key, "low", "high"))
    return Measured(value, low, high, better)


def _cell(figure: Measured) -> str:
    interval = "" if math.isnan(figure.half) else f" [{figure.low:.3f}, {figure.high:.3f}]"
    return f"{figure.value:.3f}{interval}"
