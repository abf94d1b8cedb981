"""The frame on a paper of the tests' own: trained, measured, kept, gone on with, shown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from minisora.cli.main import app
from minisora.zoo import ddpm
from minisora.zoo.frame import measure, sets, train
from minisora.zoo.frame.entry import Budget, Row, Stage
from minisora.zoo.frame.pages import page_of, sparkline, stored, table
from minisora.zoo.frame.results import result_of
from minisora.zoo.nets.unet import UNetConfig

TOY = sets.Toy(name="few", num_frames=1, side=32, count=16)
TINY = UNetConfig(widths=(8, 8), attention=(1,), blocks=1, head_width=8, embedding=16)
BUDGET = Budget(flops=1.0, samples=8, clips=4)  # the fewest steps
STAGE = Stage(name="few", toy=TOY, build=lambda models: ddpm.EpsilonNet(TINY), loss=ddpm.loss, batch_size=4)


def noise(models, ask):
    models["few"](ask.normal(*TOY.shape), torch.zeros(len(ask), dtype=torch.long), ask.labels)
    return ask.normal(*TOY.shape).clamp(-1, 1)


@pytest.fixture
def few(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for module in (sets, measure):
        monkeypatch.setattr(module, "HELD_OUT", 32)
    rows = tuple(Row(name=name, sample=noise, stages=(STAGE,), toy=TOY) for name in ("one", "other"))
    return replace(ddpm.ENTRY, stages=(STAGE,), rows=rows, figures=lambda models, seed: {"seed": float(seed)})


@pytest.mark.long
def test_a_paper_is_trained_once_and_measured_row_by_row(few, monkeypatch):
    stopped = replace(few, rows=(few.rows[0], replace(few.rows[1], sample=lambda models, ask: 1 / 0)))
    with pytest.raises(ZeroDivisionError):
        result_of(stopped, budget=BUDGET)
    monkeypatch.setattr(train, "run", None)  # it is not trained again
    (path,) = sets.FOLDER.parent.glob("results/*.json")
    first = json.loads(path.read_text())["rows"]["one"]
    done = json.loads(json.dumps(result_of(few, budget=BUDGET)))
    assert done == json.loads(path.read_text())
    assert done["rows"]["one"] == first and done["figures"] == {"seed": 0.0}
    other = done["rows"]["other"]
    assert other["evaluations"] == 1 and other["samples"] == 4 * train.FEWEST_STEPS
    assert other["seconds"] != done["stages"]["few"]["seconds"]  # of a sample, not of the training
    assert other["parameters"] == sum(p.numel() for p in ddpm.EpsilonNet(TINY).parameters())
    low, high = done["bounds"]["few"]["floor"], done["bounds"]["few"]["ceiling"]
    assert high["score"] > 0.9 > low["score"] and high["frechet"] < low["frechet"]
    assert len(list(path.parent.glob("*.png"))) == 2
    assert stored(few, path.parent) == []  # of another budget than the table's


@pytest.mark.long
def test_a_set_is_the_same_whoever_makes_it(few):
    samples, labels = sets.opened(TOY, "train")
    assert samples.shape == (16, 32, 32, 3) and samples.std() > 10
    step = sets.ToyBatches(toy=TOY, batch_size=4)(7)
    assert torch.equal(step.x, sets.ToyBatches(toy=TOY, batch_size=4)(7).x) and step.x.abs().max() <= 1
    sets.opened.cache_clear()
    for file in sets.prepared(TOY).glob("*.npy"):
        file.unlink()
    again, same = sets.opened(TOY, "train")
    assert (again == samples).all() and (same == labels).all()


def test_files_of_others_are_not_replaced(tmp_path):
    mine = tmp_path / "mine.md"
    mine.write_text("mine")
    refused = CliRunner().invoke(app, ["zoo", "table", "-o", str(mine)])
    assert refused.exit_code == 2 and mine.read_text() == "mine"
    for _ in range(2):  # what it wrote itself it replaces
        done = CliRunner().invoke(
            app, ["zoo", "table", "-o", str(tmp_path / "t.md"), "--tree", str(tmp_path / "t.svg")]
        )
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["show", "ddpn"], "Did you mean ddpm?"),
        (["train"], "give a paper's name, or --all"),
        (["train", "ddpm", "--all"], "give a paper's name, or --all"),
        (["train", "ddpm", "--budget", "0"], "trains nothing"),
        (["sample", "vivit"], "has nothing to sample"),
        (["sample", "ddpm", "-o", "a.xyz"], "no suffix"),
    ],
)
def test_what_cannot_be_done_is_said(words, says, capsys):
    done = CliRunner().invoke(app, ["zoo", *words])
    assert done.exit_code == 2
    assert says in done.output


def result(**row):
    """A stored result of one row."""
    figures = {"frechet": 1.5, "frechet_interval": [1.25, 1.75], "score": 0.5, "score_interval": [0.4, 0.6]}
    cost = {"evaluations": 20, "seconds": 0.01, "flops": 2e14, "samples": 100, "parameters": 1e6}
    shown = {"loss": [[1, 2.0], [2, 1.0]], "toy": "few", "picture": "ddpm-0-row1.png"}
    return {
        "of": {"seed": 0},
        "rows": {"a row": figures | cost | shown | row},
        "bounds": {"few": {"floor": figures, "ceiling": figures}},
        "figures": {"bits": 3.0},
    }


def test_pages_show_what_is_stored(few, tmp_path):
    (tmp_path / "ddpm-0.json").write_text(json.dumps(result()))
    line = "| a row | 2.0e+14 | 100 | 1.0 M | 1.50 ± 0.25 | 0.50 (0.40 to 0.60) | 20 | 10 | █▁ |"
    page = page_of(few, tmp_path)
    assert line + "\n" in page and "- bits: 3" in page and sparkline([]) == ""
    (tmp_path / "ddpm-0-x4.json").write_text(json.dumps(result(frechet=0.7, frechet_interval=[0.6, 0.8])))
    assert line + " 0.70 ± 0.10 |\n" in table([few], tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "ddpm-0-row1.png")
    done = CliRunner().invoke(app, ["zoo", "table", "--folder", str(tmp_path), "-o", str(tmp_path / "t.md")])
    assert done.exit_code == 0 and (tmp_path / "t" / "ddpm-0-row1.png").exists()
    lines = [each for each in (tmp_path / "t.md").read_text().splitlines() if each.startswith("|")]
    assert line + " 0.70 ± 0.10 | ![a row](t/ddpm-0-row1.png) |" in lines
    assert {each.count("|") for each in lines} == {12}
