"""The shape of the project: imports, lengths of files, functions and prose, installed packages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import distributions
from pathlib import Path
from unicodedata import east_asian_width

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "minisora"

# A part may import from those before it in this list, and from itself.
ORDER = [
    *("errors", "outside", "progress", "lazy", "folders", "tables", "device", "diffusion", "video", "pages"),
    *("network_files", "worlds", "workers", "data", "judge", "curate", "vae", "upscale", "text", "caption", "dit"),
    *("bundle", "generate", "weights", "train", "sources", "eval", "runs", "recipes", "zoo", "studio", "cli"),
    "__main__",
]
LONGEST_FILE = 420
LONGEST_FUNCTION, MOST_PARAMETERS = 60, 8
LONGEST_LINE_OF_PROSE = 100  # columns
LINK_ALONE = re.compile(r"!?\[[^\]]*\]\(\S+\)|<?https?://\S+>?")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])

FILES = sorted(SOURCE.rglob("*.py"))


def part(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imported_names(path: Path, text: str, *, for_types: bool = True) -> set[str]:
    """Modules, and names in them, that the text of a file imports anywhere, inside functions too.

    for_types: also where only a type checker comes
    """
    names: set[str] = set()
    package = ("minisora", *path.relative_to(SOURCE).parent.parts)
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_types:
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def imported_parts(path: Path, text: str) -> set[str]:
    """The parts of minisora that the text of a file names anywhere."""
    pieces = [name.split(".") for name in imported_names(path, text) if name.startswith("minisora.")]
    return {piece[1] for piece in pieces if piece[1] in ORDER}


def test_every_part_has_its_place():
    parts = {part(path) for path in FILES} - {"__init__"}
    assert parts <= set(ORDER), f"give {sorted(parts - set(ORDER))} a place in ORDER"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_go_one_way(path):
    if path == SOURCE / "__init__.py":
        return
    imported = imported_parts(path, path.read_text(encoding="utf-8"))
    later = {name for name in imported if ORDER.index(name) > ORDER.index(part(path))}
    assert not later, f"{part(path)} may not import {sorted(later)}"


def test_the_design_lists_the_parts_in_their_order():
    rows = (ROOT / "docs" / "design.md").read_text(encoding="utf-8").split("| place |")[1].split("\n\n")[0]
    listed = [name.strip("/") for row in rows.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert listed == ORDER[:-1]


def test_the_reader_of_imports_sees_them_all():
    text = """
import minisora.vae
from . import encoder
def late():
    from minisora import dit
    from ..data import pack
"""
    assert imported_parts(SOURCE / "text" / "unwritten.py", text) == {"vae", "dit", "data", "text"}


def test_no_files_import_each_other_in_a_circle():
    modules = {".".join(("minisora", *path.relative_to(SOURCE).with_suffix("").parts)): path for path in FILES}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    graph = {}
    for name, path in modules.items():
        names = imported_names(path, path.read_text(encoding="utf-8"), for_types=False)
        graph[name] = {each if each in modules else each.rpartition(".")[0] for each in names} & set(modules) - {name}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the files


def test_files_stay_short():
    lines = {path.relative_to(SOURCE).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > LONGEST_FILE} == {}


def test_tests_share_what_lies_in_helpers_only():
    found = {
        path.relative_to(ROOT).as_posix(): re.findall(r"^(?:from|import) (tests\.\S+)", path.read_text("utf-8"), re.M)
        for path in (ROOT / "tests").rglob("*.py")
    }
    assert not {name for name, names in found.items() if any(not each.startswith("tests.helpers") for each in names)}


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of all parameters but the object and the class of a method."""
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def too_long(text: str) -> set[str]:
    """Functions of a file with more than LONGEST_FUNCTION lines or MOST_PARAMETERS."""
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {
        each.name
        for each in functions
        if (each.end_lineno or 0) - each.lineno >= LONGEST_FUNCTION or len(parameters(each)) > MOST_PARAMETERS
    }


def test_functions_stay_short():
    found = {path.relative_to(SOURCE).as_posix(): too_long(path.read_text(encoding="utf-8")) for path in FILES}
    assert {name: names for name, names in found.items() if names} == {}


def test_long_functions_are_seen():
    def lines(name: str, count: int) -> str:
        return f"def {name}():\n" + "    x = 1\n" * (count - 1)

    most = [f"p{n}" for n in range(MOST_PARAMETERS)]
    text = lines("short", LONGEST_FUNCTION) + lines("long", LONGEST_FUNCTION + 1) + "class A:\n"
    text += f"    async def few(self, {', '.join(most)}): ...\n    def many(cls, *, {', '.join([*most, 'one'])}): ...\n"
    assert too_long(text) == {"long", "many"}


def columns(line: str) -> int:
    """The columns that a line takes in a terminal: characters of East Asian width take two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in line)


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines of a page that are not in a table or a block of code, and not a link alone."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith(("|", "    ")) and not LINK_ALONE.fullmatch(line.strip()):
            yield number, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_of_prose_are_short(page):
    text = page.read_text(encoding="utf-8")
    assert {number: line for number, line in prose(text) if columns(line) > LONGEST_LINE_OF_PROSE} == {}


def test_what_counts_as_prose():
    text = "a\n| b |\n    c\n```\nd\n```\n![e](f.png)\n<https://g.h>\n- i [j](k), l\n"
    assert list(prose(text)) == [(1, "a"), (9, "- i [j](k), l")]
    assert columns("ab，中文") == 8


def test_commands_print_by_one_function():
    """Which escapes what a terminal would obey."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in (SOURCE / "cli").glob("*.py")}
    printing = re.compile(r"typer\.echo\(|(?<![.\w])print\(")
    assert {name for name, text in texts.items() if printing.search(text)} == {"console.py"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_torchvision_and_one_opencv():
    """In our pinned versions and in this environment: both would duplicate shared libraries."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    for line in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), f"{line!r} is no exact version"
    pinned = [normal(line.split("==")[0]) for line in pins]
    assert len(pinned) == len(set(pinned))
    installed = {normal(found.metadata["Name"]) for found in distributions()}
    for names in (set(pinned), installed):
        assert "torchvision" not in names
        assert sum(name.startswith("opencv-") for name in names) <= 1
