"""Pages: links lead somewhere, the notebook's index is whole, the glossary's symbols exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE, DOCS = ROOT / "src" / "minisora", ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```|`[^`\n]*`|^    .*?$", "", text, flags=re.DOTALL | re.MULTILINE)


@cache
def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if not re.match(r"https?://", target):
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), target


def test_the_notebook_has_a_row_for_each_entry_and_an_entry_for_each_row():
    text = (DOCS / "log.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (\d{4}-\d\d-\d\d) \| \[.+?\]\(#(\d+)-", text, flags=re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(1, len(rows) + 1))
    assert all(number == linked for number, _, linked in rows)
    date, entries = "", list[tuple[str, str]]()
    for heading in re.findall(r"^#{2,3} (.+)$", text, flags=re.MULTILINE):
        if re.fullmatch(r"\d{4}-\d\d-\d\d", heading):
            assert heading > date, "the days are in order"
            date = heading
        elif date:
            entries.append((heading.split(".")[0], date))
    assert entries == [(number, date) for number, date, _ in rows]


def names_in(body: list[ast.stmt]) -> set[str]:
    """What a module or a class defines; of a class also what its methods set on self."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
            if isinstance(node, ast.ClassDef):
                found |= {f"{node.name}.{name}" for name in names_in(node.body)}
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def glossary() -> list[list[str]]:
    """Its rows: term, meaning, symbols, source."""
    text = (DOCS / "glossary.md").read_text(encoding="utf-8").partition("## Letters of shapes")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in rows if row[0] not in ("term", "---")]


def test_the_symbols_of_the_glossary_exist():
    missing = []
    for term, _, symbols, _ in glossary():
        for file, name in re.findall(r"`([\w/]+\.py): ([\w.]+)`", symbols):
            path = SOURCE / file
            if not path.is_file() or name not in names_in(ast.parse(path.read_text(encoding="utf-8")).body):
                missing.append(f"{term}: {file}: {name}")
    assert not missing, missing


def test_the_glossary_says_each_term_once():
    terms = [each for row in glossary() for each in row[0].split(", ")]
    assert sorted(set(terms)) == sorted(terms)
