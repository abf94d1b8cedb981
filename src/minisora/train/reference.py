"""Reference losses: the curve of a run that worked, and a check of other runs against it.

A reference is the smoothed loss of a run at some steps, with a tolerance: DEVIATIONS standard
deviations of its own values around the smooth curve, and at least TOLERANCE of it, as other seeds
and machines give other runs. It holds for one recipe with its settings: another lr, other data or
other initial weights give another curve. It covers the stable phase, where the loss does not depend
on the length of the run; a cool-down is not checked.

Here: making, finding and checking against references. Not here: the logs they are made from
(runs/logs.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from minisora.errors import UsageError
from minisora.video.files import replacing

Row = dict[str, float]  # one line of a log
Settings = dict[str, Any]  # as `RunConfig.settings` returns them
FOLDER = Path(__file__).parent / "reference"
KNOTS = 40  # points of the curve that are stored
DEVIATIONS = 3.0
TOLERANCE = 0.05  # share of the loss
NOT_COMPARED = ("seed", "content")  # initial weights trained on another machine are never the same


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A loss curve: steps, loss and tolerance have equal length and are interpolated linearly."""

    run: Settings
    steps: tuple[float, ...]
    loss: tuple[float, ...]
    tolerance: tuple[float, ...]
    mfu: float  # the median of its log

    def at(self, step: float) -> tuple[float, float] | None:
        """Loss and tolerance at a step; None outside the stored curve."""
        if not self.steps[0] <= step <= self.steps[-1]:
            return None
        return float(np.interp(step, self.steps, self.loss)), float(np.interp(step, self.steps, self.tolerance))


def loss_warning(reference: Reference, step: int, loss: float) -> str | None:
    """A warning if a logged loss, a mean over steps, is outside the tolerance, else None."""
    if not isfinite(loss):
        return f"the loss of step {step} is not a number"
    expected = reference.at(step)
    if expected is None or abs(loss - expected[0]) <= expected[1]:
        return None
    fact = f"the loss of step {step}, {loss:.3f}, is not the {expected[0]:.3f} ± {expected[1]:.3f} of the reference"
    if loss > expected[0]:
        return f"{fact}: look at the data first, then at the learning rate and the gradient's norm"
    return f"{fact}, it is lower: the data may be easier than the recipe's, or hold what it should not"


def make_reference(run: Settings, rows: Sequence[Row]) -> Reference:
    """Make a reference from the rows of a log, smoothed over five rows.

    Five are few enough that a sudden drop stays visible.

    Raises UsageError if there are too few rows to separate the curve from its scatter.
    """
    points = [(row["step"], row["loss"]) for row in rows if "loss" in row and isfinite(row["loss"])]
    if len(points) < 10:
        raise UsageError(f"{run['recipe']}: {len(points)} logged losses; a reference needs 10 or more. Let it run on.")
    values = [loss for _, loss in points]
    smooth = [fmean(values[max(0, n - 2) : n + 3]) for n in range(len(values))]
    squares = [(value - mean) ** 2 for value, mean in zip(values, smooth, strict=True)]
    # the residual to a mean of five that includes the value itself has 4/5 of the variance
    spread = [(fmean(squares[max(0, n - 5) : n + 6]) / 0.8) ** 0.5 for n in range(len(values))]
    count = min(KNOTS, len(points))
    chosen = [round(n * (len(points) - 1) / (count - 1)) for n in range(count)]
    return Reference(
        run=run,
        steps=tuple(points[n][0] for n in chosen),
        loss=tuple(round(smooth[n], 5) for n in chosen),
        tolerance=tuple(round(max(DEVIATIONS * spread[n], TOLERANCE * smooth[n]), 5) for n in chosen),
        mfu=round(median(row["mfu"] for row in rows), 3),
    )


def keep(reference: Reference, folder: Path = FOLDER) -> Path:
    """Write a reference where `reference_of` finds it.

    Raises UsageError if the folder is not writable.
    """
    path = folder / f"{reference.run['recipe']}.json"
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(asdict(reference)) + "\n", encoding="utf-8")
    return path


def reference_of(run: Settings, folder: Path = FOLDER) -> Reference | None:
    """The stored reference for a recipe with these settings, NOT_COMPARED aside, or None."""
    path = folder / f"{run['recipe']}.json"
    if not path.exists():
        return None
    about = json.loads(path.read_text(encoding="utf-8"))
    kept, asked = ({k: v for k, v in each.items() if k not in NOT_COMPARED} for each in (about["run"], run))
    if kept != asked:
        return None
    curve = {key: tuple(about[key]) for key in ("steps", "loss", "tolerance")}
    return Reference(run=about["run"], mfu=about["mfu"], **curve)
