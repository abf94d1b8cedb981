"""Logs of runs: finding them, curves in the terminal, and a copy for TensorBoard.

A log is JSON lines, one every `log_every` steps (train/loop.py). If a run resumed from an earlier
checkpoint, the repeated steps replace the first ones.

Here: reading logs, the table, curves of block characters. Not here: the page (page.py), expected
losses (train/reference.py).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from minisora.errors import UsageError
from minisora.folders import is_hidden, natural
from minisora.outside import printable
from minisora.tables.objects import json_lines

if TYPE_CHECKING:
    from rich.table import Table

    from minisora.train.reference import Row, Settings

RUNS = Path(".cache/runs")
LOG = "log.jsonl"
SAMPLES = "samples"  # folder of a run, with a folder for each step that samples were made at
BLOCKS = " ▁▂▃▄▅▆▇█"
FIRST = ("loss", "tokens_per_second", "mfu", "norm")  # quantities that come first where all are shown


@dataclass(frozen=True)
class Run:
    """A run's folder and the rows of its log, by rising step."""

    name: str
    folder: Path
    rows: list[Row]

    def series(self, quantity: str) -> tuple[list[float], list[float]]:
        """Steps and values, where there are any."""
        pairs = [(row["step"], row[quantity]) for row in self.rows if quantity in row]
        return [step for step, _ in pairs], [value for _, value in pairs]

    @property
    def age_seconds(self) -> float:
        """Seconds since the log's last line."""
        return max(0.0, time.time() - (self.folder / LOG).stat().st_mtime)


def settings_of(run: Run) -> Settings:
    """A run's settings from its newest checkpoint. Raises UsageError if there is none."""
    for about in sorted(run.folder.glob("step-*/about.json"), reverse=True):
        settings: Settings = json.loads(about.read_text(encoding="utf-8"))["run"]
        return settings
    raise UsageError(f"{run.folder} holds no checkpoint, which would say what was run. Let it run on.")


def find_runs(folder: Path) -> list[Run]:
    """Find runs by run folder, run name, or folder of runs; the most recently written first.

    Raises UsageError if there is none.
    """
    if not folder.exists() and (RUNS / folder).exists():
        folder = RUNS / folder
    logs = sorted(folder.rglob(LOG), key=lambda path: -path.stat().st_mtime)
    if not logs:
        raise UsageError(f"{folder} holds no run: no {LOG} in it. Name a folder that `minisora train` wrote.")
    return [Run(_name(path.parent, folder), path.parent, read_log(path)) for path in logs]


def whole_run(runs: Sequence[Run]) -> Run | None:
    """The run of all these logs, cool-downs included; None if they belong to several."""
    top = min(runs, key=lambda run: len(run.folder.parts))
    return top if all(run.folder.is_relative_to(top.folder) for run in runs) else None


def _name(run: Path, folder: Path) -> str:
    return run.relative_to(folder).as_posix() if run != folder else run.resolve().name


def samples(run: Run, kinds: Collection[str]) -> list[Path]:
    """Files of samples with these suffixes, by step."""
    found = [path for path in (run.folder / SAMPLES).rglob("*") if path.suffix.lower() in kinds]
    return sorted((path for path in found if not is_hidden(path.name)), key=natural)


def read_log(path: Path) -> list[Row]:
    """Read the rows by rising step, without a half-written last line.

    Raises UsageError for a file that is no log.
    """
    rows: list[Row] = []
    found = list(json_lines(path))
    for number, (_, row, _) in enumerate(found, 1):
        if not isinstance(row, dict) or "step" not in row:
            if number == len(found):
                break
            raise UsageError(f"line {number} of {path} is no line of a training log. Remove it, or the file.")
        while rows and rows[-1]["step"] >= row["step"]:
            rows.pop()
        rows.append(row)
    return rows


def quantities(runs: Sequence[Run]) -> list[str]:
    """Names of all logged quantities, the loss and its parts first."""
    names = dict.fromkeys(name for run in runs for row in run.rows for name in row if name != "step")
    parts = [name for name in names if name[:1] == "t" and name[1:].isdigit()]
    order = [FIRST[0], *sorted(parts), *FIRST[1:], *names]
    return [name for name in dict.fromkeys(order) if name in names]


def table(runs: Sequence[Run]) -> Table:
    """A table with the current state of each run."""
    from rich.markup import escape
    from rich.table import Table

    lines = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    for head in ("run", "step", "loss", "", "tokens/s", "MFU", "rate", "last line"):
        lines.add_column(head, justify="left" if head in ("run", "") else "right", no_wrap=True)
    for run in runs:
        last = run.rows[-1] if run.rows else {}
        skipped = last.get("skipped", 0)
        lines.add_row(
            escape(printable(run.name)),
            f"{last.get('step', 0):,.0f}" + (f" ({skipped:.0f} skipped)" if skipped else ""),
            _number(last.get("loss")),
            blocks(run.series("loss")[1], width=10),
            _number(last.get("tokens_per_second")),
            f"{last['mfu']:.0%}" if "mfu" in last else "",
            f"{last['rate']:.0%}" if "rate" in last else "",
            _ago(run.age_seconds),
        )
    return lines


def chart(run: Run, quantity: str, *, width: int = 64, height: int = 6) -> str:
    """A quantity against the step, in rows of blocks."""
    steps, values = run.series(quantity)
    if not values:
        return f"{quantity}: nothing logged"
    columns = _binned(values, width)
    low, high = min(columns), max(columns)
    levels = [height * 8 * (value - low) / (high - low) if high > low else 1.0 for value in columns]
    lines = []
    for row in reversed(range(height)):
        label = _number(high) if row == height - 1 else _number(low) if row == 0 else ""
        # one eighth at least, so that the lowest is seen
        line = "".join(BLOCKS[round(min(max(level - 8 * row, row == 0), 8))] for level in levels)
        lines.append(f"{label:>9} {line}")
    ends = f"{steps[0]:,.0f}", f"{steps[-1]:,.0f}"
    room = max(1, len(columns) - len(ends[0]))
    return "\n".join([f"{quantity}, last {_number(values[-1])}", *lines, f"{'':>9} {ends[0]}{ends[1]:>{room}}"])


def blocks(values: Sequence[float], *, width: int) -> str:
    """A curve in one line."""
    columns = _binned(values, width)
    if not columns:
        return ""
    low, high = min(columns), max(columns)
    return "".join(
        BLOCKS[1 + round(7 * (value - low) / (high - low))] if high > low else BLOCKS[4] for value in columns
    )


def _binned(values: Sequence[float], width: int) -> list[float]:
    """Means over groups of neighbours, so that at most `width` values are left."""
    finite = [value for value in values if math.isfinite(value)]
    count = min(width, len(finite))
    bounds = [len(finite) * n // count for n in range(count + 1)] if count else [0]
    return [sum(finite[a:b]) / (b - a) for a, b in pairwise(bounds)]


def to_tensorboard(runs: Sequence[Run], folder: Path) -> int:
    """Every quantity of every run as a scalar, each run in a folder of its own; returns how many.

    Raises UsageError where TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError("TensorBoard is not installed: pip install tensorboard.") from None
    count = 0
    for run in runs:
        with SummaryWriter(str(folder / run.name)) as writer:
            for row in run.rows:
                for name, value in row.items():
                    if name != "step":
                        writer.add_scalar(name, value, int(row["step"]))
                        count += 1
    return count


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
