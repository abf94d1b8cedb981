"""One HTML page of runs: every quantity of their logs as a curve, and their latest samples.

Here: the values that the page shows. Not here: the page itself (pages/templates/runs.html), reading
logs (logs.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minisora import pages
from minisora.pages import charts
from minisora.runs.logs import SAMPLES, Run, quantities, samples

PICTURES = {".png": "image/png", ".gif": "image/gif", ".webp": "image/webp", ".jpg": "image/jpeg"}
MOST_PICTURES = 12  # of one run
WORDS = {
    "loss": "loss",
    "tokens_per_second": "tokens a second",
    "mfu": "MFU, share of the matmul peak",
    "norm": "norm of the gradient, before clipping",
    "clipped": "steps whose gradient was clipped, share",
    "rate": "learning rate, share of its peak",
    "wait_share": "time spent waiting for data, share",
    "memory_bytes": "most memory so far, bytes",
    "seconds_per_step": "seconds a step",
}


def write_page(runs: Sequence[Run], path: Path) -> Path:
    """Write the page of these runs to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pages.write_page(
        path,
        "runs.html",
        name=", ".join(run.name for run in runs[:3]) + (" ..." if len(runs) > 3 else ""),
        runs=[_run(run, number) for number, run in enumerate(runs)],
        charts=[_chart(runs, quantity) for quantity in quantities(runs)],
    )
    return path


def _run(run: Run, number: int) -> dict[str, Any]:
    last = run.rows[-1] if run.rows else {}
    return {
        "name": run.name,
        "colour": charts.colour(number),
        "step": f"{last.get('step', 0):,.0f}",
        "loss": f"{last['loss']:.4f}" if "loss" in last else "",
        "folder": run.folder,
        "samples": [_sample(run, path) for path in reversed(samples(run, PICTURES)[-MOST_PICTURES:])],
    }


def _sample(run: Run, path: Path) -> dict[str, Any]:
    name = path.relative_to(run.folder / SAMPLES).as_posix()
    return {"name": name, "data": path.read_bytes(), "media_type": PICTURES[path.suffix.lower()]}


def _chart(runs: Sequence[Run], quantity: str) -> dict[str, Any]:
    words = _words(quantity)
    lines = [charts.Curve(number, *run.series(quantity)) for number, run in enumerate(runs)]
    return {"words": words, "svg": charts.curves([line for line in lines if line.y], words)}


def _words(quantity: str) -> str:
    if quantity[:1] == "t" and quantity[1:].isdigit():
        return f"loss at noise level {quantity[1:]}, counted from the data"
    return WORDS.get(quantity, quantity)
