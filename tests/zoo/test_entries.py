"""What holds for every paper: its form, its pages, ten steps of training, its samples."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minisora.errors import UsageError
from minisora.zoo.frame import sets
from minisora.zoo.frame.entry import TABLE, Ask, Entry
from minisora.zoo.frame.list import READING_ORDER, entries, entry
from minisora.zoo.frame.pages import page_of, table, tree

FOLDER = Path(inspect.getfile(sets)).parents[1]
LONGEST = 250  # lines of a paper


def labels(count: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    sizes = [len(words) for words in sets.FIELDS.values()]
    return torch.stack([torch.randint(size, (count,), generator=rng) for size in sizes], 1)


def test_every_module_is_a_paper_in_the_list():
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(READING_ORDER)


@pytest.mark.parametrize("name", READING_ORDER)
def test_form_of_a_paper(name):
    found = entry(name)
    assert len((FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= LONGEST
    text = importlib.import_module(f"minisora.zoo.{name}").__doc__
    assert "What was new:" in text and (found.runs or "Smaller here:" in text)
    assert found.paper.arxiv in text
    assert all(parent in READING_ORDER for parent in found.after)
    assert len(names := [row.name for row in found.rows]) == len(set(names))
    assert all(stage in found.every_stage() for row in found.rows for stage in row.stages)


def test_stages_have_names_of_their_own_and_papers_follow_what_they_build_upon():
    stages = {}
    for each in entries():
        for stage in each.every_stage():
            assert stages.setdefault(stage.name, stage) is stage
        for parent in each.after:
            assert entry(parent).paper.year <= each.paper.year


@pytest.mark.long
@pytest.mark.parametrize("name", READING_ORDER)
def test_ten_steps_lower_the_loss_and_samples_have_the_shape_of_the_set(name):
    found = entry(name)
    models = {}
    for stage in found.every_stage():
        torch.manual_seed(0)
        model = stage.build(models).train()
        batch = replace(sets.random_batch(stage.toy, 4, second=stage.second), labels=labels(4))
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=stage.lr)
        losses = []
        for _ in range(10):
            loss = stage.loss(model, batch, torch.Generator().manual_seed(2))["loss"]  # the same noise: it is learnt
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
        assert all(torch.isfinite(torch.tensor(losses)))
        if not stage.adversarial:
            assert losses[-1] < losses[0]
        models[stage.name] = model.eval().requires_grad_(False)
    for row in found.rows:
        with torch.inference_mode():
            samples = row.sample(models, Ask(labels(2), torch.Generator().manual_seed(0)))
        assert samples.shape == (2, *row.toy.shape)
        assert bool(samples.isfinite().all())


@pytest.mark.parametrize("name", READING_ORDER)
def test_page_of_a_paper(name):
    page = page_of(entry(name))
    assert page.startswith(f"# {entry(name).title}\n")
    assert f"minisora zoo train {name}" in page or entry(name).runs in page


def test_table_and_tree_have_every_paper(tmp_path):
    picture = tree(entries())
    assert all(each.title in picture for each in entries())
    assert table(entries(), tmp_path)


def test_an_unknown_paper_gets_the_nearest():
    with pytest.raises(UsageError, match="Did you mean ddpm"):
        entry("DDPN")


@pytest.mark.parametrize("factor", [0, -1])
def test_a_budget_of_nothing_is_refused(factor):
    with pytest.raises(UsageError, match="trains nothing"):
        TABLE.times(factor)


def test_a_stage_is_trained_after_what_it_needs():
    def names(one: Entry) -> list[str]:
        return [stage.name for stage in one.every_stage()]

    for each in entries():
        order = names(each)
        for stage in each.every_stage():
            assert all(order.index(needed.name) < order.index(stage.name) for needed in stage.needs)
