"""Pages of papers: the table, an entry's own page, the family tree as a picture.

Here: Markdown and SVG from entries and their results. Not here: making results (results.py).
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minisora.pages.family import Box, family_tree
from minisora.zoo.frame.entry import FAMILIES, TABLE, Budget, Entry
from minisora.zoo.frame.results import STORED, Result, path_of

_SEEDS = 10  # of which results are looked for
_BARS = "▁▂▃▄▅▆▇█"
_HEAD = "| {} | FLOPs | samples | parameters | Fréchet | score | evaluations | ms a sample | loss |"
_MORE = 4  # times the table's FLOPs, of the entries that were trained for longer too


def stored(entry: Entry, folder: Path = STORED, budget: Budget = TABLE) -> list[Result]:
    """Results of an entry with a budget, by seed."""
    paths = (path_of(entry, seed=seed, budget=budget, folder=folder) for seed in range(_SEEDS))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


def page_of(entry: Entry, folder: Path = STORED) -> str:
    """An entry as Markdown: what its module says, its rows, its figures, its commands."""
    text = inspect.cleandoc(importlib.import_module(f"minisora.zoo.{entry.name}").__doc__ or "")
    parts = [f"# {entry.title}", f"{entry.paper.reference}", text.partition("\n\n")[2]]
    results = stored(entry, folder)
    parts += [_rows_of(result, f"seed {result['of']['seed']}") for result in results if result["rows"]]
    for result in results:
        if result["figures"]:
            parts.append(_figures(result))
    return "\n\n".join([*parts, _commands(entry)]) + "\n"


def table(entries: Sequence[Entry], folder: Path = STORED, pictures: str = "") -> str:
    """All rows as Markdown, a table for each family and toy set.

    pictures: where those of the results lie, as the page links them; leaves them out if empty
    """
    parts = ['<!-- <meta name="generator" content="minisora"> -->']  # so that the next one may replace it
    for family, title in FAMILIES.items():
        own = [entry for entry in entries if entry.family == family]
        if not own:
            continue
        parts.append(f"## {title}")
        toys: dict[str, list[str]] = {}
        bounds: dict[str, dict[str, Any]] = {}
        for entry in own:
            longer = [result["rows"] for result in stored(entry, folder, TABLE.times(_MORE))[:1]]
            for result in stored(entry, folder)[:1]:
                bounds |= result["bounds"]
                for name, row in result["rows"].items():
                    more = [_frechet(rows[name]) for rows in longer if name in rows] or [""]
                    more += [f"![{name}]({pictures}/{row['picture']})"] if pictures else []
                    toys.setdefault(row["toy"], []).append(_line(name, row, more))
        head = _HEAD + f" Fréchet at {_MORE} x FLOPs |" + (" samples |" if pictures else "")
        for toy, lines in toys.items():
            parts.append("\n".join([head.format(toy), _rule(head), *lines, *_bounds(bounds[toy], head)]))
        parts += [
            f"**{entry.title}**\n\n{_figures(result)}"
            for entry in own
            for result in stored(entry, folder)[:1]
            if result["figures"]
        ]
        parts += [f"- **{entry.title}**: `{entry.runs}`. {entry.new}" for entry in own if entry.runs]
    return "\n\n".join(parts) + "\n"


def _rows_of(result: Result, title: str) -> str:
    lines = [_line(name, row) for name, row in result["rows"].items()]
    ends = [line for each in result["bounds"].values() for line in _bounds(each, _HEAD)]
    return "\n".join([_HEAD.format(title), _rule(_HEAD), *lines, *ends])


def _figures(result: Result) -> str:
    return "\n".join(f"- {name}: {value:.4g}" for name, value in result["figures"].items())


def _rule(head: str) -> str:
    return "|" + " --- |" * (head.count("|") - 1)


def _line(name: str, row: dict[str, Any], more: Sequence[str] = ()) -> str:
    low, high = row["score_interval"]
    cells = [
        name,
        f"{row['flops']:.1e}",
        f"{row['samples']:,}",
        f"{row['parameters'] / 1e6:.1f} M",
        _frechet(row),
        f"{row['score']:.2f} ({low:.2f} to {high:.2f})",
        f"{row['evaluations']:.0f}",
        f"{1000 * row['seconds']:.0f}",
        sparkline([value for _, value in row["loss"]]),
        *more,
    ]
    return "| " + " | ".join(cells) + " |"


def _frechet(row: dict[str, Any]) -> str:
    low, high = row["frechet_interval"]
    return f"{row['frechet']:.2f} ± {(high - low) / 2:.2f}"


def _bounds(each: dict[str, Any], head: str) -> list[str]:
    """Floor and ceiling of a set, as lines below a head of the table."""
    lines = [["*floor*", each["floor"]], ["*ceiling*", each["ceiling"]]]
    rest = " |" * (head.count("|") - 7)
    return [f"| {name} | | | | {of['frechet']:.2f} | {of['score']:.2f} |{rest}" for name, of in lines]


def sparkline(values: Sequence[float], width: int = 12) -> str:
    """A curve in one line of text."""
    if not values:
        return ""
    count = min(width, len(values))
    chosen = [values[round(n * (len(values) - 1) / max(1, count - 1))] for n in range(count)]
    low, high = min(chosen), max(chosen)
    return "".join(_BARS[int((each - low) / ((high - low) or 1) * (len(_BARS) - 1))] for each in chosen)


def _commands(entry: Entry) -> str:
    if entry.runs:
        return f"    {entry.runs}"
    commands = f"    minisora zoo train {entry.name}"
    return commands + f"\n    minisora zoo sample {entry.name}" if entry.rows else commands


def tree(entries: Sequence[Entry]) -> str:
    """The papers, the oldest first, with a line from each to those that it builds upon, as SVG."""
    families = list(FAMILIES)
    boxes = [
        Box(
            name=each.name,
            title=each.title,
            column=families.index(each.family),
            year=each.paper.year,
            after=each.after,
        )
        for each in sorted(entries, key=lambda each: (each.paper.year, each.paper.arxiv or "z"))
    ]
    return family_tree(boxes, list(FAMILIES.values()))
