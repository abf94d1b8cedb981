"""One HTML page of a report's folder: tables with bars and intervals, and the contact sheets.

It holds all that it shows, its pictures too, so it can be sent as one file. With a second folder it says what changed
since that one, and a slider goes from its sheets to these.

Here: the page. Not here: measuring (report.py, stickers.py, rows.py), what counts as a change (compare.py).
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from minisora import webpage
from minisora.errors import UsageError
from minisora.eval.compare import CHANGED, FILES, ROWS, UNKNOWN, read_json, read_report, verdict
from minisora.eval.rows import plain
from minisora.video.files import replacing
from minisora.webpage import table

SHEETS = {"sheet.png": "Prompts", "stickers.png": "Stickers", "verbs.png": "Verbs"}
REAL, THROUGH, MODEL, SHUFFLED = range(4)  # of the rows of a report, in their order
_LEFT, _RIGHT = -0.25, 1.25  # ends of a bar's axis; the floor is 0 and the ceiling 1


def write_page(folder: Path, other: Path | None = None) -> Path:
    """Write page.html, and report.json with all figures in one, into a folder that `minisora evaluate` wrote.

    other: an earlier folder to compare with

    Raises UsageError where a folder holds no report, or cannot be written.
    """
    for each in (folder, other):
        if each is not None and not any((each / name).exists() for name in FILES):
            raise UsageError(f"{each} holds no {', '.join(FILES)}. Give a folder that `minisora evaluate` wrote.")
    data = {name: read_json(folder / name) for name in FILES if (folder / name).exists()}
    try:
        parts = [_changes(folder, other)] if other is not None else []
        parts += [_report(data[name], name) for name in FILES[:2] if name in data]
        parts += [_rows(ROWS[name], data[name]) for name in ROWS if name in data]
        parts += [_around(data[FILES[0]])] if FILES[0] in data else []
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise UsageError(f"{folder} holds files that `minisora evaluate` did not write: {error!r}.") from error
    parts += [_sheet(folder, other, name) for name in SHEETS if (folder / name).exists()]
    title = next((str(data[name]["model"]) for name in FILES[:2] if name in data), folder.name)
    with replacing(folder / "report.json") as temporary:
        figures = {Path(name).stem: figures for name, figures in data.items()}
        temporary.write_text(json.dumps(plain(figures), indent=2) + "\n", encoding="utf-8")
    path = folder / "page.html"
    with replacing(path) as temporary:
        temporary.write_text(
            webpage.page(f"{title}: report", "\n".join(parts), _STYLE, heading=title), encoding="utf-8"
        )
    return path


def _changes(folder: Path, other: Path) -> str:
    before, after = read_report(other), read_report(folder)
    rows, judged = [], 0
    for name, now in after.figures.items():
        if name not in before.figures or (said := verdict(was := before.figures[name], now)) == UNKNOWN:
            continue
        judged += 1
        if said in CHANGED:
            change = f"{now.value - was.value:+.3f} ± {math.hypot(was.half, now.half):.3f}"
            rows.append([escape(name), _number(was.value), _number(now.value), change, f'<b class="{said}">{said}</b>'])
    return (
        f"<h2>Since {escape(before.what)}</h2>\n"
        f"<p>{len(rows)} of {judged} figures changed beyond noise: the interval of the difference leaves out 0.</p>\n"
        + (table(["", "before", "now", "difference", ""], rows) if rows else "")
    )


def _report(data: dict[str, Any], name: str) -> str:
    """Of results.json or stickers.json."""
    stickers = name == FILES[1]
    names = list(data["rows"])
    rows = []
    for attribute, score in data["normalised"].items():
        marks = [data["rows"][row][attribute] for row in names]
        phrasings = [each[attribute]["value"] for each in data["by_phrasing"].values()]
        cells = [
            _bar(score["value"], score["low"], score["high"]),
            _interval(score["value"], score["low"], score["high"]),
        ]
        rows.append([escape(attribute), *cells, *map(_number, [*marks, *phrasings])])
    head = ["", "floor to ceiling", "normalised [95 %]", *names, "seen words", "unseen words"]
    kind = "one sticker each" if stickers else "held-out playroom prompts"
    return (
        f"<h2>{'Stickers' if stickers else 'Prompt following'}</h2>\n"
        f"<p>{data['count']} prompts, {kind}. A judge that sees frames only gives marks; on real clips that is the "
        f"ceiling ({escape(names[REAL])}), on clips held against other prompts the floor ({escape(names[SHUFFLED])}). "
        f"{_LEGEND}</p>\n" + table(head, rows)
    )


def _rows(title: str, figures: Sequence[dict[str, Any]]) -> str:
    rows = []
    before = None
    for figure in figures:
        floor, ceiling = figure["floor"], figure["ceiling"]
        ends = [figure[key] for key in ("mean", "low", "high")]
        known = None not in (*ends, floor, ceiling) and floor != ceiling
        closed = [(end - floor) / (ceiling - floor) if known else math.nan for end in ends]
        ends = sorted(closed[1:])  # where lower is better the interval turns round
        verb = "&emsp;" if figure["verb"] == before else f"<b>{escape(figure['verb'])}</b>"
        before = figure["verb"]
        cells = [_bar(closed[0], *ends), _interval(figure["mean"], figure["low"], figure["high"])]
        cells += [_number(floor), _number(ceiling), escape(figure["better"]), str(figure["n"])]
        rows.append([f"{verb} {escape(figure['name'])}", *cells])
    head = ["", "floor to ceiling", "model [95 %]", "floor", "ceiling", "better", "clips"]
    return f"<h2>{title}</h2>\n<p>{_LEGEND}</p>\n{table(head, rows)}"


def _around(data: dict[str, Any]) -> str:
    parts = []
    if vae := data.get("vae"):
        rows = [
            [escape(name), f"{each['psnr_db']:.2f}", f"{each['ssim']:.4f}", str(each["clips"])]
            for name, each in vae.items()
        ]
        parts.append("<h3>VAE, held-out clips</h3>\n" + table(["", "PSNR dB", "SSIM", "clips"], rows))
    if losses := data.get("loss_by_noise"):
        parts.append("<h3>Held-out loss by noise level, 0 to 1</h3>\n" + _columns(losses))
    energy = data.get("motion_energy") or {}
    told = ", ".join(f"{escape(name)} {value:.2f}" for name, value in energy.items())
    made = ", ".join(f"{escape(name)} {escape(str(value))}" for name, value in data.get("versions", {}).items())
    timed = ", ".join(f"{escape(name)} {value:.0f}" for name, value in data.get("seconds", {}).items())
    parts.append(f"<p>Motion energy, mean difference of neighbouring frames of 255: {told or 'not measured'}.</p>")
    parts.append(f"<p>On {escape(str(data.get('device')))}; {made}. Seconds: {timed}.</p>")
    beside = [_rows("Beside real clips", data["figures"])] if data.get("figures") else []
    return "\n".join([*beside, "<h2>Around it</h2>", *parts])


def _sheet(folder: Path, other: Path | None, name: str) -> str:
    now = f'<img src="{_picture(folder / name)}" alt="contact sheet of {escape(folder.name)}">'
    heading = f"<h2>{SHEETS[name]}, as pictures</h2>\n"
    if other is None or not (other / name).exists():
        return f"{heading}<div class=sheet>{now}</div>"
    was = f'<img class=over src="{_picture(other / name)}" alt="contact sheet of {escape(other.name)}">'
    slider = (
        '<input type=range min=0 max=100 value=50 aria-label="from the earlier sheet to this one" '
        "oninput=\"this.parentNode.style.setProperty('--at', this.value + '%')\">"
    )
    names = f"<p>Left of the line: {escape(str(other))}. Right of it: {escape(str(folder))}.</p>\n"
    return f"{heading}{names}<div class=both>{slider}<div class=sheet>{now}{was}<i class=line></i></div></div>"


def _picture(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _bar(value: float | None, low: float | None, high: float | None) -> str:
    """From the floor, 0, to the value; the line is its interval. What lies beyond the axis ends in its edge."""
    if value is None or low is None or high is None or not all(map(math.isfinite, (value, low, high))):
        return "<span class=none>not measured</span>"

    def x(at: float) -> float:
        return 200 * (min(max(at, _LEFT), _RIGHT) - _LEFT) / (_RIGHT - _LEFT)

    start, end = sorted((x(0), x(value)))
    return (
        f'<svg viewBox="0 0 200 18" role=img aria-label="{value:.2f} of the way, {low:.2f} to {high:.2f}">'
        f'<rect class=value x="{start:.1f}" y="4" width="{end - start:.1f}" height="10"/>'
        f'<path class=mark d="M{x(0):.1f} 0V18M{x(1):.1f} 0V18"/>'
        f'<path class=interval d="M{x(low):.1f} 9H{x(high):.1f}M{x(low):.1f} 6V12M{x(high):.1f} 6V12"/></svg>'
    )


def _columns(values: Sequence[float]) -> str:
    most = max(values) or 1.0
    bars = ""
    for n, value in enumerate(values):
        height = 60 * value / most
        bars += f'<rect class=value x="{36 * n + 4}" y="{64 - height:.1f}" width="28" height="{height:.1f}"/>'
        bars += f'<text x="{36 * n + 18}" y="76">{value:.2f}</text>'
    return f'<svg class=columns viewBox="0 0 {36 * len(values)} 80" role=img aria-label="loss">{bars}</svg>'


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    return _number(value) if value is None else f"{_number(value)} [{_number(low)}, {_number(high)}]"


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


_LEGEND = "The left tick of a bar is the floor, the right one the ceiling, the line across its interval of 95 %."

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fdfdfc; --faint: #6a7078; --rule: #dcdfe3;
        --value: #4a7fb5; --mark: #a33; --better: #1d7a3e; --worse: #b3261e }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6e9; --paper: #16181b; --faint: #9aa1a9; --rule: #33383e;
          --value: #5b93cb; --mark: #ff8a80; --better: #6fcf8f; --worse: #ff8a80 } }
body { margin: 0 auto; padding: 1rem; max-width: 80rem; color: var(--ink); background: var(--paper);
       font: 15px/1.5 system-ui, sans-serif }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 .5em }
p { max-width: 46rem; color: var(--faint) }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap }
th { font-weight: 600; color: var(--faint) }
th:first-child, td:first-child { text-align: left }
svg { display: block; width: 200px; height: 18px }
svg.columns { width: 100%; max-width: 560px; height: auto }
.value { fill: var(--value) } .mark { stroke: var(--mark); fill: none }
.interval { stroke: var(--ink); stroke-width: 1.5; fill: none }
text { font: 9px sans-serif; text-anchor: middle; fill: var(--faint) }
.better { color: var(--better) } .worse { color: var(--worse) } .none { color: var(--faint) }
.sheet { position: relative; line-height: 0 } .sheet img { width: 100%; image-rendering: pixelated }
.both { --at: 50% } .both input { width: 100%; margin: 0 0 .5rem }
.over { position: absolute; left: 0; top: 0; clip-path: inset(0 calc(100% - var(--at)) 0 0) }
.line { position: absolute; top: 0; bottom: 0; left: var(--at); border-left: 2px solid var(--mark) }
"""
