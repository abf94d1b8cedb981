"""World consistency, against the simulator: 3D of a static world, physics of moving things.

Here: the suite. Not here: 3D consistency (space.py), physics (physics.py).
"""

from __future__ import annotations

from pathlib import Path

from minisora.eval.physics import physics_figures
from minisora.eval.rows import Findings, write_rows
from minisora.eval.space import space_figures
from minisora.generate.model import Model
from minisora.progress import OnEvent, no_listener


def run(model: Model, out: Path, *, count: int, on_event: OnEvent = no_listener) -> Findings:
    """Measure `count` scenes of each kind; world.json and world.md go into the folder `out`."""
    figures = [
        *space_figures(model, count=count, on_event=on_event),
        *physics_figures(model, count=count, on_event=on_event),
    ]
    return write_rows(figures, out, "world")
