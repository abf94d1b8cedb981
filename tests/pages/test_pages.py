"""Rendering: what is escaped, what is refused, and what is left of a failed page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

import minisora
from minisora.errors import UsageError
from minisora.pages import FOLDER, charts, write_page
from tests.helpers.html import parsed

SOURCE = Path(minisora.__file__).parent
RUN = {"name": "a", "colour": charts.colour(0), "step": "1", "loss": "", "folder": Path("a"), "samples": []}


def values(**changed: object) -> dict[str, object]:
    return {"name": "a", "runs": [RUN], "charts": [], **changed}


def test_text_is_escaped_and_charts_are_not(tmp_path):
    sample = {"name": 'a"b.png', "data": b"\xff\x00", "media_type": "image/png"}
    chart = {"words": "<loss>", "svg": Markup("<svg></svg>")}
    name = "<script>&co"
    write_page(
        tmp_path / "a.html", "runs.html", **values(name=name, runs=[{**RUN, "samples": [sample]}], charts=[chart])
    )
    page = parsed(tmp_path / "a.html")
    assert "<script>&co: training" in page.text and "<loss>" in page.text and "svg" in page.tags
    assert page.addresses == ["data:image/png;base64,/wA="]


def test_every_page_has_the_one_style_sheet(tmp_path):
    style = (FOLDER / "style.css").read_text(encoding="utf-8")
    write_page(tmp_path / "a.html", "runs.html", **values())
    assert style.strip() in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in style
    for template in (FOLDER / "templates").glob("*.html"):
        text = template.read_text(encoding="utf-8")
        assert (template.name == "base.html") == ("<style" in text)
        assert template.name == "base.html" or text.startswith('{% extends "base.html" %}')


def test_html_stands_in_templates_alone():
    for path in SOURCE.rglob("*.py"):
        if path != FOLDER / "charts.py":
            text = path.read_text(encoding="utf-8")
            assert not any(tag in text for tag in ("<div", "<table", "<td", "<p>", "<svg", "<html")), path


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.html"
    write_page(path, "runs.html", **values())
    old = path.read_text()
    with pytest.raises(UndefinedError, match="charts"):
        write_page(path, "runs.html", name="a", runs=[])
    assert path.read_text() == old and list(tmp_path.iterdir()) == [path]
    with pytest.raises(UsageError, match="not written"):
        write_page(tmp_path / "none" / "a.html", "runs.html", **values())


def test_names_of_files_need_not_be_text(tmp_path):
    write_page(tmp_path / "a.html", "runs.html", **values(name="a\udcff"))
    assert "<h1>a?</h1>" in (tmp_path / "a.html").read_text()


def test_the_command_line_does_without(tmp_path):
    code = "import sys; from minisora.cli import app; sys.exit('jinja2' in sys.modules or 'markupsafe' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
