"""Papers that stand in other parts of minisora: their commands, files and scores exist."""

from __future__ import annotations

import dataclasses
import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer.main

from minisora.cli.main import app
from minisora.curate import recipe
from minisora.curate.learned import SCORERS
from minisora.curate.scores import SCORES
from minisora.curate.words import WORDS as OF_CAPTIONS
from minisora.zoo.frame.list import entries

ROOT = Path(__file__).parents[2]
POINTERS = {each.name: each for each in entries() if each.runs}
COMMANDS = typer.main.get_command(app).commands


def text_of(name):
    return importlib.import_module(f"minisora.zoo.{name}").__doc__


def test_all_five_are_there():
    assert set(POINTERS) == {"dalle3", "data_juicer", "scepter", "runway", "sora"}


@pytest.mark.parametrize("name", POINTERS)
def test_its_command_is_read_as_it_stands(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program, command, *arguments = shlex.split(POINTERS[name].runs)
    assert program == "minisora"
    context = COMMANDS[command].make_context(command, arguments)  # raises for an option that there is not
    assert context.params


@pytest.mark.parametrize("name", POINTERS)
def test_files_and_commands_that_it_names_exist(name):
    text = text_of(name)
    for path in re.findall(r"\b[\w-]+/[\w/.-]+\.\w+\b", text):
        assert any((folder / path).exists() for folder in (ROOT, ROOT / "src" / "minisora")), path
    for path in re.findall(r"(?<![\w/])(\w+\.py)\b", text):
        assert (ROOT / "src" / "minisora" / "zoo" / path).exists(), path
    for command in re.findall(r"minisora ([a-z]+)\b(?! stands)", text):
        assert command in COMMANDS, command
    assert len(text.splitlines()) >= 35


def test_every_score_and_field_of_data_juicer_s_table_exists():
    scores = {*SCORES, *OF_CAPTIONS, *(column for each in SCORERS.values() for column in each.columns)}
    lines = [line.split("|")[1:4] for line in text_of("data_juicer").splitlines() if line.startswith("| ")][2:]
    assert len(lines) == 20
    named = [name for _, here, notes in lines for name in re.findall(r"`([^`]+)`", here + notes)]
    named += re.findall(r"`([^`: ]+)`", text_of("data_juicer").partition("Ours alone:")[2])
    for name in named:
        section, _, field = name.partition(".")
        if name in ("module:factory", "minisora caption"):
            continue
        assert name in scores or field in {each.name for each in dataclasses.fields(getattr(recipe, section.title()))}
