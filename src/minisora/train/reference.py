"""Is my training working? Losses of a run that did, and whether another stays near them.

A reference is the loss of a run at some steps, smoothed, with what it may differ by: three deviations of its own values
around the smooth curve, and at least TOLERANCE of it, as other seeds and machines give other runs. It is of one
recipe with its settings: other rates, other data or other weights to begin with give another curve. It is of the stable
phase, where the loss does not hang on how long the run will be; a cool-down is told nothing.

Here: making, finding and asking references. Not here: the logs they are made from (runs/logs.py).
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

Row = dict[str, float]  # of a log
Settings = dict[str, Any]  # of `RunConfig.settings`
FOLDER = Path(__file__).parent / "reference"
KNOTS = 40  # places of the curve that are kept
DEVIATIONS = 3.0
TOLERANCE = 0.05  # share of the loss


@dataclass(frozen=True, kw_only=True)
class Reference:
    """steps, loss and tolerance have the same length; between steps they are straight lines."""

    run: Settings
    steps: tuple[float, ...]
    loss: tuple[float, ...]
    tolerance: tuple[float, ...]
    mfu: float  # the median of its log

    def at(self, step: float) -> tuple[float, float] | None:
        """Loss and tolerance; None outside of what was seen."""
        if not self.steps[0] <= step <= self.steps[-1]:
            return None
        return float(np.interp(step, self.steps, self.loss)), float(np.interp(step, self.steps, self.tolerance))


def off_course(reference: Reference, step: int, loss: float) -> str | None:
    """What to say of a loss, a mean over some steps as the log has it, that is not what it should be at this step."""
    if not isfinite(loss):
        return f"the loss of step {step} is not a number"
    expected = reference.at(step)
    if expected is None or abs(loss - expected[0]) <= expected[1]:
        return None
    said = f"the loss of step {step}, {loss:.3f}, is not the {expected[0]:.3f} ± {expected[1]:.3f} of the reference"
    if loss > expected[0]:
        return f"{said}: look at the data first, then at the learning rate and the gradient's norm"
    return f"{said}, it is lower: the data may be easier than the recipe's, or hold what it should not"


def make_reference(run: Settings, rows: Sequence[Row]) -> Reference:
    """From a log. Each value is smoothed over its neighbours, so few that a drop stays a drop.

    Raises UsageError where there are too few rows to tell the curve from its scatter.
    """
    points = [(row["step"], row["loss"]) for row in rows if "loss" in row and isfinite(row["loss"])]
    if len(points) < 10:
        raise UsageError(f"{run['recipe']}: {len(points)} logged losses; a reference needs 10 or more. Let it run on.")
    values = [loss for _, loss in points]
    smooth = [fmean(values[max(0, n - 2) : n + 3]) for n in range(len(values))]
    squares = [(value - mean) ** 2 for value, mean in zip(values, smooth, strict=True)]
    # a mean of five takes a fifth of the scatter with it
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
    """Write it where `reference_of` finds it. Raises UsageError where that cannot be written."""
    path = folder / f"{reference.run['recipe']}.json"
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(asdict(reference)) + "\n", encoding="utf-8")
    return path


def reference_of(run: Settings, folder: Path = FOLDER) -> Reference | None:
    """The one that is kept for a recipe with these settings, the seed apart, if any."""
    path = folder / f"{run['recipe']}.json"
    if not path.exists():
        return None
    about = json.loads(path.read_text(encoding="utf-8"))
    if {**about["run"], "seed": run["seed"]} != run:
        return None
    curve = {key: tuple(about[key]) for key in ("steps", "loss", "tolerance")}
    return Reference(run=about["run"], mfu=about["mfu"], **curve)
