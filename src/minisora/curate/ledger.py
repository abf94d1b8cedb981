"""The ledger: every input row, and where it went.

    rows of annotations + clips that cutting added
        = joined + missing + quarantined (rows, files, samples) + dropped + kept

Blank rows are counted by themselves.

Here: the counts and the check of their sum, as JSON and as a table for the terminal.
Not here: the report page (report.py), the events of a run (runner.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from minisora.video.files import replacing

if TYPE_CHECKING:
    from rich.table import Table

Lost = dict[str, dict[str, int]]  # clips by stage and reason


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Counts of clips; an annotation of a whole file counts as one until its shots are known."""

    rows: int  # annotations as they were read
    cut: int  # clips that cutting whole files into shots added
    joined: int  # rows that named a clip which another row names too: their captions went to the first
    missing: int  # without a file
    quarantined: Lost  # whose row or file could not be read, or that could not be written, by stage and reason
    dropped: Lost  # by stage and reason
    kept: int
    files: int  # that rows were found in
    samples: int  # in the shards; a long clip may be several
    seconds_in: float  # of video in all clips that were measured
    seconds_kept: float
    blank: int = 0  # rows of annotations that hold nothing; in no other count
    notes: list[str] = field(default_factory=list)  # remarks on the annotations

    def __post_init__(self) -> None:
        lost = sum(sum(reasons.values()) for lost in (self.quarantined, self.dropped) for reasons in lost.values())
        went_in, came_out = self.rows + self.cut, self.joined + self.missing + lost + self.kept
        assert went_in == came_out, f"{went_in} clips went in, and {came_out} are accounted for: {self}"


def counted(pairs: Iterable[tuple[str, str]]) -> Lost:
    """Counts of clips by (stage, reason); stages in their order, reasons by falling count."""
    lost: Lost = {}
    for (stage, reason), count in sorted(Counter(pairs).items(), key=lambda each: (-each[1], each[0])):
        lost.setdefault(stage, {})[reason] = count
    return lost


def write_ledger(path: Path, ledger: Ledger) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(asdict(ledger), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def ledger_lines(ledger: Ledger) -> list[tuple[str, str, int]]:
    """Entries (what, why, how many) in the order of the work: positive in, negative out."""
    lines = [("rows of annotations", "", ledger.rows), ("cut", "shots beyond the first of a file", ledger.cut)]
    lines += [("joined", "another row names the clip", -ledger.joined), ("missing", "no file", -ledger.missing)]
    for what, lost in (("quarantined", ledger.quarantined), ("dropped", ledger.dropped)):
        lines += [
            (f"{what}: {stage}", reason, -count) for stage, reasons in lost.items() for reason, count in reasons.items()
        ]
    return [*(line for line in lines if line[2]), ("kept", "", ledger.kept)]


def ledger_table(ledger: Ledger) -> Table:
    """The ledger as a table for the terminal."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for justify in ("left", "left", "right"):
        table.add_column(justify=justify)
    lines = ledger_lines(ledger)
    for what, why, count in lines[:-1]:
        table.add_row(what, why, f"{count:+,}")
    table.add_row("kept", "", f"{ledger.kept:,}", style="bold")
    return table
