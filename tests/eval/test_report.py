"""The report on a model of known worth."""

from __future__ import annotations

import json

import pytest

from minisora.eval import report
from minisora.eval.following import MODEL, SHUFFLED, THROUGH
from minisora.eval.report import REAL, SECONDS, evaluate, prompts, render_all
from minisora.progress import Event
from tests.helpers.faithful import Faithful


def test_the_report_of_a_faithful_model(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "WORLD_VERSION", 3)  # as if it had been trained on the first one
    count, steps = 6, []
    model = Faithful(render_all(prompts(count)[0], (96, 96)), seconds=SECONDS)
    told = evaluate(model, tmp_path, count=count, on_event=steps.append)
    assert steps == [Event("prompts", n + 1, count) for n in range(count)] and len(set(model.asked)) == count
    assert told.rows[MODEL] == pytest.approx(told.rows[REAL], nan_ok=True)
    assert told.normalised["colour"].value == pytest.approx(1)
    assert told.rows[SHUFFLED]["colour"] < told.rows[MODEL]["colour"]
    assert told.motion_energy["model"] == told.motion_energy["real"] > 0
    assert len(told.loss_by_noise) == 10 and "playroom" in told.vae
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["count"] == count and list(written["rows"]) == [REAL, THROUGH, MODEL, SHUFFLED]
    assert str(told) in (tmp_path / "report.md").read_text() and (tmp_path / "sheet.png").stat().st_size > 10_000
    assert written["world"] == {"trained": 1, "judged": 3}
    assert (
        "was trained on world 1; what it is asked for, and the judge, are of world 3."
        in (tmp_path / "report.md").read_text()
    )
