"""Logs, curves, pages and references, on logs written here."""

from __future__ import annotations

import base64
import io
import json
import math
import random
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from minisora.cli import app
from minisora.errors import UsageError
from minisora.recipes import RECIPES
from minisora.runs.logs import blocks, chart, find_runs, quantities, read_log, to_tensorboard, whole_run
from minisora.runs.page import write_page
from minisora.runs.picture import picture
from minisora.train import reference as references
from minisora.train.reference import Row, keep, loss_warning, make_reference, reference_of
from tests.helpers.html import parsed

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def rows_of(seed: int = 0, *, steps: int = 1000, scale: float = 1.0) -> list[Row]:
    """A loss that falls as they do, with scatter."""
    rng = random.Random(seed)
    return [
        {
            "step": step,
            "loss": scale * (0.3 + 1.5 * math.exp(-step / 150)) * rng.gauss(1, 0.02),
            "t0": 0.5,
            "t1": 0.4,
            "tokens_per_second": 3000.0,
            "mfu": 0.4,
            "norm": 0.5,
            "rate": 1.0,
            "skipped": 0,
        }
        for step in range(20, steps + 1, 20)
    ]


def write(folder: Path, rows: list[Row]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_steps_done_again_take_the_place_of_the_first(tmp_path):
    """As after a kill: the log goes to 100, the checkpoint was of 60."""
    first, again = rows_of(steps=100), rows_of(1, steps=140)[3:]
    path = write(tmp_path, first + again) / "log.jsonl"
    assert read_log(path) == first[:3] + again


def test_a_line_half_written_is_left_out_and_a_strange_file_refused(tmp_path):
    path = write(tmp_path, rows_of(steps=100)) / "log.jsonl"
    path.write_text(path.read_text() + '{"step": 120, "lo')
    assert [row["step"] for row in read_log(path)] == [20, 40, 60, 80, 100]
    path.write_text("hello\n" + path.read_text())
    with pytest.raises(UsageError, match="line 1"):
        read_log(path)


def test_runs_are_found_by_folder_and_in_folders(tmp_path):
    write(tmp_path / "a", rows_of())
    write(tmp_path / "old" / "b", rows_of(steps=500))
    assert {run.name for run in find_runs(tmp_path)} == {"a", "old/b"}
    (alone,) = find_runs(tmp_path / "a")
    assert alone.name == "a"
    assert alone.series("loss")[0][-1] == 1000
    assert quantities([alone])[:4] == ["loss", "t0", "t1", "tokens_per_second"]
    with pytest.raises(UsageError, match="holds no run"):
        find_runs(tmp_path / "none")
    assert whole_run(find_runs(tmp_path)) is None
    write(tmp_path / "a" / "cooldown-from-00001000", rows_of())
    whole = whole_run(find_runs(tmp_path / "a"))
    assert whole is not None and whole.name == "a"


def test_curves_rise_where_values_do(tmp_path):
    rows: list[Row] = [{"step": n, "loss": n} for n in range(64)]
    (run,) = find_runs(write(tmp_path, rows))
    lines = chart(run, "loss", width=32, height=4).splitlines()
    assert lines[0] == "loss, last 63"
    heights = [sum(" ▁▂▃▄▅▆▇█".index(line[10 + column]) for line in lines[1:5]) for column in range(32)]
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (1, 32)
    assert blocks([1, 2, 3], width=8) == "▁▅█" or blocks([1, 2, 3], width=8) == "▁▄█"
    assert blocks([], width=8) == ""


def test_the_page_stands_alone_and_shows_all(tmp_path):
    one = write(tmp_path / "one", rows_of())
    write(tmp_path / "two", rows_of(1, steps=400))
    (one / "samples" / "step-00000500").mkdir(parents=True)
    (one / "samples" / "step-00000500" / "sheet.png").write_bytes(PIXEL)
    runs = find_runs(tmp_path)
    page = parsed(write_page(runs, tmp_path / "page.html"))
    assert page.tags.count("polyline") == 2 * len(quantities(runs))
    assert "step-00000500/sheet.png" in page.text
    assert page.addresses == ["data:image/png;base64," + base64.b64encode(PIXEL).decode()]
    assert "nan" not in (tmp_path / "page.html").read_text()


def test_tensorboard_reads_what_was_logged(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rows = rows_of(steps=100)
    runs = find_runs(write(tmp_path / "run", rows))
    assert to_tensorboard(runs, tmp_path / "board") == 5 * (len(rows[0]) - 1)
    events = accumulator.EventAccumulator(str(tmp_path / "board" / "run"))
    events.Reload()
    read = [(event.step, event.value) for event in events.Scalars("loss")]
    assert [step for step, _ in read] == [row["step"] for row in rows]
    assert [value for _, value in read] == pytest.approx([row["loss"] for row in rows])


SETTINGS = {"recipe": "toy", "seed": 0, "packs": 1, "origin": "", "optim": {"lr": 0.001}}


def test_another_seed_stays_on_course_and_a_bad_run_does_not():
    reference = make_reference(SETTINGS, rows_of(0))
    others = [row for seed in range(1, 6) for row in rows_of(seed)]
    left = [row for row in others if loss_warning(reference, int(row["step"]), row["loss"])]
    assert len(left) <= 0.02 * len(others)
    for row in rows_of(7, scale=1.3):
        assert "look at the data first" in (loss_warning(reference, int(row["step"]), row["loss"]) or "")
    assert "lower" in (loss_warning(reference, 500, 0.1) or "")
    assert "not a number" in (loss_warning(reference, 500, math.nan) or "")
    assert loss_warning(reference, 5000, 9.0) is None  # nothing is known there


def test_references_are_kept_and_found(tmp_path):
    reference = make_reference(SETTINGS, rows_of())
    keep(reference, tmp_path)
    assert reference_of(SETTINGS, tmp_path) == reference
    for same in ({"seed": 1}, {"content": "weights of another machine"}):
        assert reference_of({**SETTINGS, **same}, tmp_path) == reference
    for other in ({"recipe": "other"}, {"packs": 2}, {"origin": "from toybox"}, {"optim": {"lr": 0.01}}):
        assert reference_of({**SETTINGS, **other}, tmp_path) is None
    loss, tolerance = reference.at(150) or (0.0, 0.0)
    assert loss == pytest.approx(0.3 + 1.5 * math.exp(-1), abs=tolerance)
    with pytest.raises(UsageError, match="10 or more"):
        make_reference(SETTINGS, rows_of(steps=100))


def test_every_reference_that_comes_with_the_package_can_be_read():
    paths = list(references.FOLDER.glob("*.json"))
    assert paths
    for path in paths:
        reference = reference_of(RECIPES[path.stem]().settings())
        assert reference is not None, "the recipe has changed since"
        assert len(reference.steps) == len(reference.loss) == len(reference.tolerance) >= 10


def test_a_picture_in_a_terminal(tmp_path):
    """Two pixels a character: red over blue, then two greens; a wide one is made to fit."""
    image = Image.new("RGB", (2, 2), (0, 255, 0))
    image.putpixel((0, 0), (255, 0, 0))
    image.putpixel((0, 1), (0, 0, 255))
    image.save(tmp_path / "small.png")
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=80)
    console.print(picture(tmp_path / "small.png", width=80))
    told = console.file.getvalue()
    assert told.count("▀") == 2
    assert "38;2;255;0;0;48;2;0;0;255m▀" in told
    assert "38;2;0;255;0;48;2;0;255;0m▀" in told
    Image.new("RGB", (400, 100)).save(tmp_path / "wide.png")
    lines = picture(tmp_path / "wide.png", width=40).plain.splitlines()
    assert [len(line) for line in lines] == [40] * 5


def test_the_command(tmp_path):
    write(tmp_path / "a", rows_of())
    one = CliRunner().invoke(app, ["runs", str(tmp_path / "a"), "--page", str(tmp_path / "page.html")])
    assert one.exit_code == 0, one.output
    assert "1,000" in one.stdout
    assert "█" in one.stdout
    assert (tmp_path / "page.html").exists()
    assert "samples, " not in one.stdout
    for step in (20, 40):
        sheet = tmp_path / "a" / "samples" / f"step-{step:08d}" / "sheet.png"
        sheet.parent.mkdir(parents=True)
        sheet.write_bytes(PIXEL)
    assert f"samples, {sheet}" in CliRunner().invoke(app, ["runs", str(tmp_path / "a")]).stdout
    write(tmp_path / "b", rows_of())
    refused = CliRunner().invoke(app, ["runs", str(tmp_path), "--keep-reference"])
    assert refused.exit_code == 2
    unsaved = CliRunner().invoke(app, ["runs", str(tmp_path / "a"), "--keep-reference"])
    assert "no checkpoint" in unsaved.stderr
