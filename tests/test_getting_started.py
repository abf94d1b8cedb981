"""The pages for newcomers, held against the program: every command of them is run as printed.

A line with the comment `# long` is not run, but its options are checked, as are those of every
page.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from minisora.cli import app
from minisora.video import read_video

ROOT = Path(__file__).parents[1]
FIRST, README, CHINESE = ROOT / "docs" / "getting-started.md", ROOT / "README.md", ROOT / "README.zh-CN.md"
PAGES = sorted([README, CHINESE, *(ROOT / "docs").glob("*.md")])


@dataclass(frozen=True)
class Step:
    """A piece of code in a page: a command line, a Python block, or a file that a block shows.

    place: file and line, for messages
    kind:  "command", "python" or the name of the file
    """

    place: str
    kind: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)[1:]

    @property
    def is_long(self) -> bool:
        return re.search(r"#\s*long\b", self.text) is not None


def code(page: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Fenced blocks and indented lines: line number, language, lines.

    An indented line is a block of its own.
    """
    language, block, begun = None, list[str](), 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            if language is None:
                language, block, begun = line[3:].strip(), [], number + 1
            else:
                yield begun, language, block
                language = None
        elif language is not None:
            block.append(line)
        elif line.startswith("    "):
            yield number, "", [line.strip()]


def steps(page: Path) -> Iterator[Step]:
    for number, language, lines in code(page):
        named = re.fullmatch(r"# (\S+\.ya?ml)", lines[0]) if lines else None
        if language == "python":
            yield Step(f"{page.name}:{number}", "python", "\n".join(lines))
        elif named:
            yield Step(f"{page.name}:{number}", named[1], "\n".join(lines) + "\n")
        else:
            for n, line in enumerate(lines):
                if line.startswith("minisora "):
                    yield Step(f"{page.name}:{number + n}", "command", line)


def test_steps_are_found_in_fences_and_in_indented_lines(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "text\n\n    minisora image 'a # b' -o a.png   # long: hours\n    make demo\n\n"
        "```yaml\n# mine.yaml\nout: x\n```\n\n```python\nimport minisora\n```\n\n```\nminisora models\n```\n"
    )
    image, file, python, models = steps(page)
    assert image.words == ["image", "a # b", "-o", "a.png"] and image.is_long
    assert (file.kind, file.text) == ("mine.yaml", "# mine.yaml\nout: x\n")
    assert (python.kind, python.text, python.place) == ("python", "import minisora", "page.md:12")
    assert models.words == ["models"] and not models.is_long and models.place == "page.md:16"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_has_the_arguments_and_options_that_a_page_gives_it(page):
    commands = typer.main.get_command(app)
    for step in steps(page):
        if step.kind != "command" or step.words[0].startswith("-"):
            continue
        try:
            context = commands.make_context("minisora", step.words)
            name, command, rest = commands.resolve_command(context, step.words)
            command.make_context(name, rest, parent=context)
        except Exception as error:
            raise AssertionError(f"{step.place}: {step.text}\n{error}") from error


def test_both_readmes_have_the_same_commands():
    def told(page: Path) -> list[tuple[str, list[str] | str, bool]]:
        return [(s.kind, s.words if s.kind == "command" else s.text, s.is_long) for s in steps(page)]

    assert told(README) == told(CHINESE)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_first_half_hour_and_the_readme_run_as_printed(tmp_path, monkeypatch, toybox):
    """By the embedded model, one page after the other, in one folder."""
    monkeypatch.chdir(tmp_path)
    for step in (*steps(FIRST), *steps(README)):
        if step.kind == "python":
            exec(compile(step.text, step.place, "exec"), {"__name__": "page"})
        elif step.kind != "command":
            Path(step.kind).write_text(step.text, encoding="utf-8")
        elif not step.is_long:
            result = CliRunner().invoke(app, step.words)
            assert result.exit_code == 0, f"{step.place}: {step.text}\n{result.output}{result.exception!r}"
            made = [step.words[n + 1] for n, word in enumerate(step.words) if word in ("-o", "--out", "--sheet")]
            assert all(Path(name).exists() for name in made), step.place
    same = [("first-again.mp4", "from-the-file.mp4"), ("cube.mp4", "cube-again.mp4")]
    for one, other in same:  # as the page says
        assert (read_video(one).frames == read_video(other).frames).all(), (one, other)
    assert (read_video("first-again.mp4").frames != read_video("another.mp4").frames).any()
