"""Reports as self-contained HTML files, and galleries: templates, one style sheet, charts.

    write_page(path, "runs.html", title="toybox", charts=[charts.curves([...])])

A page has no external links and embeds its pictures, so it can be sent as one file; a gallery has
its files beside it.

Here: rendering a template. Not here: charts as SVG (charts.py, family.py), the values of a page
(curate/report.py, eval/page.py, runs/page.py, cli/gallery.py).
"""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from minisora.video.files import replacing

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent


def write_page(path: Path, template: str, **values: object) -> None:
    """Render a template of templates/ to `path`, atomically. Arguments as in `rendered`.

    Raises UsageError if `path` cannot be written.
    """
    text = rendered(template, **values)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")  # file names need not be UTF-8


def rendered(template: str, **values: object) -> str:
    """The text of a template of templates/.

    values: its variables; text is escaped, charts (`Markup`) are not
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([FOLDER / "templates", FOLDER]),  # FOLDER: style.css, which base.html includes
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_url"] = _data_url
    return environment


def _data_url(data: bytes, media_type: str) -> str:
    """An address that holds the file itself, RFC 2397."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
