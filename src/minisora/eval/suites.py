"""The suites of `minisora evaluate`: each a module, an option and a line of the table.

The module has `run(model, out, *, count, on_event)`: it measures a model over `count` clips, writes
its files into the folder `out`, NAME.json among them, and returns its `Findings` (rows.py).

Here: the table. `--help` reads it, so the modules are imported only when they run.
Not here: running them all (command.py), the options (cli/evaluate.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from minisora.lazy import Lazy


@dataclass(frozen=True)
class Suite:
    """A family of measures.

    name:  name of the option for its count, and of its files
    count: default number of clips; 0 skips the suite
    help:  unit of the count
    title: title of its rows on the page; empty if it writes a report of its own
    takes: further arguments of its `run`, by name: i3d, training (see `evaluate_all`)
    """

    name: str
    module: Lazy
    count: int
    help: str
    title: str = ""
    takes: tuple[str, ...] = ()


PROMPTS = Suite("prompts", Lazy("minisora.eval.report"), 200, "Held-out prompts to ask for", takes=("i3d",))
SUITES = (
    PROMPTS,  # its option is --count, and it is never skipped
    Suite("stickers", Lazy("minisora.eval.stickers"), 160, "Held-out stagings of stickers to ask for"),
    Suite("verbs", Lazy("minisora.eval.verbs"), 24, "Held-out clips that every other verb is measured on", "Verbs"),
    Suite("aspects", Lazy("minisora.eval.aspects"), 24, "Held-out prompts at each of three aspects", "Aspects"),
    Suite("motions", Lazy("minisora.eval.motions"), 6, "Held-out clips of each motion that are extended", "Motions"),
    Suite("world", Lazy("minisora.eval.world"), 6, "Held-out scenes of each kind for 3D and physics", "World"),
    Suite(
        "variety",
        Lazy("minisora.eval.variety"),
        8,
        "Prompts for combinations, seeds and copying",
        "Variety",
        ("training",),
    ),
)
