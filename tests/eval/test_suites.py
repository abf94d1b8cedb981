"""Every suite keeps to what the command expects, and the command runs whatever the table holds."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest

from minisora.eval import command, compare
from minisora.eval.rows import Figure, Findings, write_rows
from minisora.eval.suites import PROMPTS, SUITES, Suite
from minisora.progress import no_listener


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_a_suite_takes_what_it_is_given(suite):
    parameters = inspect.signature(suite.module.run).parameters
    assert set(parameters) == {"model", "out", "count", "on_event", *suite.takes}
    assert parameters["count"].default is inspect.Parameter.empty  # the default is the table's


def test_names_are_of_one_suite_each():
    assert len({suite.name for suite in SUITES}) == len(SUITES) and SUITES[0] is PROMPTS
    assert compare.ROWS["world.json"] == "World" and list(compare.ROWS)[-1] == "folder.json"


def fake(asked, findings, name=None):
    def run(model, out: Path, *, count, on_event, **given):
        asked.append((count, given))
        return findings if name is None else write_rows(findings.figures, out, name)

    return SimpleNamespace(run=run)


def test_suites_run_in_turn_and_those_of_no_clips_are_left_out(monkeypatch, tmp_path):
    asked, figure = [], Figure("mine", "measure", "higher", 3, 0.5, 0.4, 0.6, 0.0, 1.0)
    suites = (
        Suite("prompts", fake(asked, Findings(table="a table", notes=("heed this",))), 1, "", takes=("i3d",)),
        Suite("none", fake(asked, Findings(table="not seen")), 1, ""),
        Suite("verbs", fake(asked, Findings((figure,)), "verbs"), 1, "", "Verbs", ("training",)),
    )
    monkeypatch.setattr(command, "SUITES", suites)
    counts, model = {"prompts": 2, "none": 0, "verbs": 3}, SimpleNamespace()
    told = command.evaluate_all(model, tmp_path, counts, training=range(2), i3d=Path("i3d.pt"), on_event=no_listener)
    assert asked == [(2, {"i3d": Path("i3d.pt")}), (3, {"training": range(2)})]
    table, rows, note, page = told.split("\n\n")
    assert table == "a table" and figure.row() in rows and note == "note: heed this" and "page.html" in page


def test_no_more_stickers_are_asked_for_than_prompts():
    assert command.checked({"prompts": 3, "stickers": 160})["stickers"] == 3
    assert command.checked({"prompts": 300, "stickers": 160})["stickers"] == 160
