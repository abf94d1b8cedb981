"""The plan of a run, as a value and as text.

Here: `Plan`, and units in words. Not here: where its numbers come from (estimate.py).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from minisora.runs.devices import Device
from minisora.runs.layouts import Placed

if TYPE_CHECKING:
    from rich.table import Table as RichTable


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The estimated cost of a run in bytes, seconds and FLOPs.

    `memory` is of one device, `seconds` of one step.

    whose:   source of the MFU, as text to follow it
    sample:  the unit that `samples` counts, as text
    beside:  bytes that encoding latents and text states takes, before training
    storage: bytes of the data, each sample seen once
    """

    name: str
    device: Device
    mfu: float
    parameters: int
    sample: str
    tokens: int
    forward: float
    samples: int
    price: float | None
    placed: Placed
    whose: str = ""
    beside: dict[str, float] = field(default_factory=dict)
    storage: dict[str, float] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return -(-self.samples // self.placed.batch)

    @property
    def hours(self) -> float:
        return self.steps * self.placed.step_seconds / 3600

    @property
    def cost(self) -> float | None:
        return None if self.price is None else self.price * self.hours * self.placed.count

    @property
    def whole_mfu(self) -> float:
        """MFU of a whole step: useful FLOPs over the peak of all devices in its time."""
        useful = 3 * self.forward * self.placed.batch
        return useful / self.placed.step_seconds / (self.placed.count * self.device.flops)

    @property
    def limit(self) -> str:
        """The part of a step that takes longest, and whether more memory would help."""
        part, seconds = max(self.placed.seconds.items(), key=lambda item: item[1])
        text = f"{part}, {seconds / self.placed.step_seconds:.0%} of a step"
        return text + ("; memory: activation checkpointing is on" if self.placed.layout.recompute else "")

    def to_json(self) -> str:
        derived = {name: getattr(self, name) for name in ("steps", "hours", "cost", "whole_mfu", "limit")}
        return json.dumps({**asdict(self), **derived}, indent=2)

    def rows(self) -> list[tuple[str, str]]:
        """Lines of the plan: a heading, or "", and the text."""
        placed, layout = self.placed, self.placed.layout
        split = placed.count // layout.replicate
        flops = 3 * self.forward * placed.batch
        rows = [
            ("model", f"{self.name}, {self.parameters:,} parameters"),
            ("devices", f"{placed.count} x {self.device.name}, {si(self.device.flops)}FLOP/s each"),
            ("sample", f"{self.sample}: {self.tokens:,} tokens, {si(self.forward)}FLOP forward, twice that backward"),
            ("layout", f"weights split over {split}, {layout.replicate} copies; a sample on {layout.context} devices"),
            ("", f"packs of {placed.samples}, {placed.packs} packs a step; {_kept(layout.recompute)}"),
            ("", f"--replicate {layout.replicate} --context {layout.context}" + " --recompute" * layout.recompute),
            ("memory", f"{gb(placed.bytes)} of {gb(self.device.memory)} on each device"),
            *(("", f"{part} {gb(size)}") for part, size in placed.memory.items()),
            ("step", f"{placed.step_seconds:.3g} s for {placed.batch:,} samples, {si(flops)}FLOP"),
            *(("", f"{part} {seconds:.3g} s") for part, seconds in placed.seconds.items() if seconds > 0),
            ("assumed", f"{self.mfu:.0%} MFU of the arithmetic{self.whose}; with all the rest {self.whole_mfu:.0%}"),
            ("limit", self.limit),
            ("run", f"{self.samples:,} samples, {self.steps:,} steps, {hours_in_words(self.hours)}"),
        ]
        if self.cost is not None:
            rows.append(("cost", f"{self.cost:,.0f} at {self.price:g} for a device and hour"))
        rows += [
            ("storage" if n == 0 else "", f"{what} {gb(size)}") for n, (what, size) in enumerate(self.storage.items())
        ]
        rows += [
            ("before" if n == 0 else "", f"{what} {gb(size)}") for n, (what, size) in enumerate(self.beside.items())
        ]
        return rows

    def __str__(self) -> str:
        return "\n".join(f"{head:<9}{text}" for head, text in self.rows())

    def __rich__(self) -> RichTable:
        from rich.table import Table

        grid = Table.grid(padding=(0, 2))
        for head, text in self.rows():
            grid.add_row(f"[bold]{head}[/]", text)
        return grid


def _kept(recompute: bool) -> str:
    return (
        "activation checkpointing: all but matmuls and attention is computed twice"
        if recompute
        else "no activation checkpointing"
    )


def si(value: float) -> str:
    """Format with an SI prefix, for a unit to follow: 1.42e9 -> "1.42 G"."""
    for power, letter in ((18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if value >= 0.9995 * 10**power:  # what .3g would round up to it
            return f"{value / 10**power:.3g} {letter}"
    return f"{value:.3g} "


def gb(size: float) -> str:
    return f"{si(size)}B"


def hours_in_words(hours: float) -> str:
    return f"{hours / 24:,.1f} days" if hours >= 48 else f"{hours:.3g} h" if hours >= 1 else f"{hours * 60:.2g} min"
