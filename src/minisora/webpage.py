"""Reports as one HTML file without links: the page around them, and tables.

Not here: what stands on a page and how it is drawn (eval/page.py, curate/report.py, runs/page.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def page(title: str, body: str, style: str, *, heading: str | None = None) -> str:
    """A whole page. body: HTML; style: CSS; title and heading: text, the heading the title where none is given"""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<h1>{escape(heading or title)}</h1>
{body}
</body>
</html>
"""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Cells are HTML; the head is text."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return (
        f"<div class=wide><table><thead><tr>{top}</tr></thead><tbody>\n" + "\n".join(lines) + "\n</tbody></table></div>"
    )
