"""One HTML page of a report's folder: tables with bars and intervals, and the contact sheets.

With a second folder it lists the changes since that one, and a slider blends from its sheets to
these.

Here: the values on the page. Not here: the page itself (pages/templates/evaluation.html), measuring
(report.py, stickers.py, rows.py), the test for a change (compare.py).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minisora import pages
from minisora.errors import UsageError
from minisora.eval.compare import CHANGED, FILES, ROWS, UNKNOWN, read_json, read_report, rows_in, verdict
from minisora.eval.rows import plain
from minisora.pages import charts
from minisora.video.files import replacing

SHEETS = {"sheet.png": "Prompts", "stickers.png": "Stickers", "verbs.png": "Verbs"}
KINDS = {
    "results.json": ("Prompt following", "held-out playroom prompts"),
    "stickers.json": ("Stickers", "one sticker each"),
}
REAL, SHUFFLED = 0, 3  # indices of the ceiling and the floor among the rows of a report


def write_page(folder: Path, other: Path | None = None) -> Path:
    """Write page.html, and report.json with all figures, into a folder of `minisora evaluate`.

    other: an earlier folder to compare with

    Raises UsageError if a folder holds no report or is not writable.
    """
    for each in (folder, other):
        if each is not None and not any((each / name).exists() for name in FILES):
            raise UsageError(f"{each} holds no {', '.join(FILES)}. Give a folder that `minisora evaluate` wrote.")
    data = {name: read_json(folder / name) for name in FILES if (folder / name).exists()}
    try:
        values = {
            "name": next((str(data[name]["model"]) for name in KINDS if name in data), folder.name),
            "changes": None if other is None else _changes(folder, other),
            "reports": [_report(data[name], *words) for name, words in KINDS.items() if name in data],
            "families": [(ROWS[name], _rows(rows_in(data[name]) or [])) for name in ROWS if name in data],
            "around": _around(data[FILES[0]]) if FILES[0] in data else None,
        }
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise UsageError(f"{folder} holds files that `minisora evaluate` did not write: {error!r}.") from error
    with replacing(folder / "report.json") as temporary:
        figures = {Path(name).stem: figures for name, figures in data.items()}
        temporary.write_text(json.dumps(plain(figures), indent=2) + "\n", encoding="utf-8")
    path = folder / "page.html"
    sheets = [_sheet(folder, other, name) for name in SHEETS if (folder / name).exists()]
    pages.write_page(path, "evaluation.html", **values, sheets=sheets, folder=folder, other=other)
    return path


def _changes(folder: Path, other: Path) -> dict[str, Any]:
    before, after = read_report(other), read_report(folder)
    rows, judged = [], 0
    for name, now in after.figures.items():
        if name not in before.figures or (change := verdict(was := before.figures[name], now)) == UNKNOWN:
            continue
        judged += 1
        if change in CHANGED:
            difference = f"{now.value - was.value:+.3f} ± {math.hypot(was.half, now.half):.3f}"
            ends = {"before": _number(was.value), "now": _number(now.value)}
            rows.append({"name": name, **ends, "difference": difference, "verdict": change})
    return {"since": before.what, "judged": judged, "rows": rows}


def _report(data: dict[str, Any], title: str, kind: str) -> dict[str, Any]:
    """The page's values of results.json or stickers.json."""
    names = list(data["rows"])
    rows = []
    for attribute, score in data["normalised"].items():
        marks = [data["rows"][row][attribute] for row in names]
        phrasings = [each[attribute]["value"] for each in data["by_phrasing"].values()]
        ends = score["value"], score["low"], score["high"]
        numbers = [_number(mark) for mark in (*marks, *phrasings)]
        rows.append({"name": attribute, "bar": charts.bar(*ends), "interval": _interval(*ends), "marks": numbers})
    ceiling, floor = names[REAL], names[SHUFFLED]
    words = {"title": title, "count": data["count"], "kind": kind, "ceiling": ceiling, "floor": floor}
    return {**words, "marks": names, "rows": rows}


def _rows(figures: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_row(figure) for figure in figures]


def _row(figure: dict[str, Any]) -> dict[str, Any]:
    floor, ceiling = figure["floor"], figure["ceiling"]
    ends = [figure[key] for key in ("mean", "low", "high")]
    known = None not in (*ends, floor, ceiling) and floor != ceiling
    closed = [(end - floor) / (ceiling - floor) if known else math.nan for end in ends]
    low, high = sorted(closed[1:])  # the ends swap where lower is better
    return {
        "verb": figure["verb"],
        "name": figure["name"],
        "bar": charts.bar(closed[0], low, high),
        "interval": _interval(*ends),
        "floor": _number(floor),
        "ceiling": _number(ceiling),
        "better": figure["better"],
        "clips": figure["n"],
    }


def _around(data: dict[str, Any]) -> dict[str, Any]:
    """The page's values of results.json that are not scores."""
    vae = data.get("vae") or {}
    losses = data.get("loss_by_noise")
    energy, versions, seconds = (data.get(key) or {} for key in ("motion_energy", "versions", "seconds"))
    return {
        "figures": _rows(data.get("figures") or []),
        "vae": [(name, f"{each['psnr_db']:.2f}", f"{each['ssim']:.4f}", each["clips"]) for name, each in vae.items()],
        "loss": charts.columns(losses, "loss") if losses else None,
        "energy": ", ".join(f"{name} {value:.2f}" for name, value in energy.items()),
        "device": data.get("device"),
        "versions": ", ".join(f"{name} {value}" for name, value in versions.items()),
        "seconds": ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()),
    }


def _sheet(folder: Path, other: Path | None, name: str) -> dict[str, Any]:
    earlier = None if other is None or not (other / name).exists() else (other / name).read_bytes()
    return {"title": SHEETS[name], "now": (folder / name).read_bytes(), "before": earlier}


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    return _number(value) if value is None else f"{_number(value)} [{_number(low)}, {_number(high)}]"


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"
