"""One HTML page of runs: every quantity of their logs as a curve, runs side by side, and their latest samples.

It holds all that it shows, its pictures too, so it can be sent as one file.

Here: the page. Not here: reading logs (logs.py).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from minisora import webpage
from minisora.runs.logs import SAMPLES, Run, quantities, samples
from minisora.video.files import replacing

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
_WIDTH, _HEIGHT, _LEFT, _BELOW = 360, 160, 54, 18


def write_page(runs: Sequence[Run], path: Path) -> Path:
    """Write the page of these runs to `path`."""
    told = "".join(_row(run, n) for n, run in enumerate(runs))
    charts = "\n".join(_chart(runs, quantity) for quantity in quantities(runs))
    pictures = "\n".join(_samples(run) for run in runs)
    head = "".join(f"<th>{name}</th>" for name in ("run", "step", "loss", "folder"))
    body = f"<table><tr>{head}</tr>{told}</table>\n<div class=charts>{charts}</div>\n{pictures}"
    title = ", ".join(run.name for run in runs[:3]) + (" ..." if len(runs) > 3 else "")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(webpage.page(f"{title}: training", body, _STYLE, heading=title), encoding="utf-8")
    return path


def _row(run: Run, n: int) -> str:
    last = run.rows[-1] if run.rows else {}
    cells = (f"{last.get('step', 0):,.0f}", f"{last['loss']:.4f}" if "loss" in last else "", escape(str(run.folder)))
    key = f'<i style="background: {_colour(n)}"></i>{escape(run.name)}'
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in (key, *cells)) + "</tr>"


def _chart(runs: Sequence[Run], quantity: str) -> str:
    drawn = [(n, *run.series(quantity)) for n, run in enumerate(runs)]
    drawn = [(n, steps, values) for n, steps, values in drawn if values]
    every = sorted(value for _, _, values in drawn for value in values)
    # the first steps and a burst would flatten all the rest: the highest hundredth is cut off
    low, high = every[0], every[max(0, round(0.99 * len(every)) - 1)]
    high = high if high > low else low + (abs(low) or 1.0)
    first, last = min(steps[0] for _, steps, _ in drawn), max(steps[-1] for _, steps, _ in drawn)

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 4) * (step - first) / max(1, last - first)

    def y(value: float) -> float:
        return 6 + (_HEIGHT - _BELOW - 6) * (high - min(value, high)) / (high - low)

    lines = "".join(
        f'<polyline style="stroke: {_colour(n)}" points="'
        + " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in zip(steps, values, strict=True))
        + '"/>'
        for n, steps, values in drawn
    )
    bottom = _HEIGHT - _BELOW
    marks = (
        f'<path d="M{_LEFT} 2V{bottom}H{_WIDTH}"/>'
        f'<text x="{_LEFT - 4}" y="10" class=end>{high:.4g}</text>'
        f'<text x="{_LEFT - 4}" y="{bottom}" class=end>{low:.4g}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 4}">{first:,.0f}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 4}" class=end>{last:,.0f}</text>'
    )
    words = escape(_words(quantity))
    return (
        f"<figure><figcaption>{words}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role=img aria-label="{words}">{marks}{lines}</svg></figure>'
    )


def _words(quantity: str) -> str:
    if quantity[:1] == "t" and quantity[1:].isdigit():
        return f"loss at noise level {quantity[1:]}, counted from the data"
    return WORDS.get(quantity, quantity)


def _samples(run: Run) -> str:
    """The newest pictures, by the step they were made at."""
    found = samples(run, PICTURES)
    if not found:
        return ""
    shown = []
    for path in reversed(found[-MOST_PICTURES:]):
        data = base64.b64encode(path.read_bytes()).decode()
        where = escape(path.relative_to(run.folder / SAMPLES).as_posix())
        image = f'<img src="data:{PICTURES[path.suffix.lower()]};base64,{data}" alt="{where}">'
        shown.append(f"<figure><figcaption>{where}</figcaption>{image}</figure>")
    return f"<h2>Samples of {escape(run.name)}</h2>\n" + "\n".join(shown)


def _colour(n: int) -> str:
    return f"hsl({(210 + 137.5 * n) % 360:.0f} 60% 50%)"  # the golden angle keeps any number of hues apart


_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fdfdfc; --faint: #6a7078; --rule: #dcdfe3 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e6e9; --paper: #16181b; --faint: #9aa1a9; --rule: #33383e } }
body { margin: 0 auto; padding: 1rem; max-width: 80rem; color: var(--ink); background: var(--paper);
       font: 15px/1.5 system-ui, sans-serif }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .8rem .2rem 0; text-align: left } th, figcaption { color: var(--faint); font-weight: 600 }
i { display: inline-block; width: .8em; height: .8em; margin-right: .5em; border-radius: 50% }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; margin: 1.5rem 0 }
figure { margin: 0 } svg { width: 100%; height: auto } img { max-width: 100%; image-rendering: pixelated }
polyline { fill: none; stroke-width: 1.5; stroke-linejoin: round } path { fill: none; stroke: var(--rule) }
text { font: 10px system-ui, sans-serif; fill: var(--faint) } .end { text-anchor: end }
"""
