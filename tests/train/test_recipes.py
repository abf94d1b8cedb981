"""Recipes as a user meets them: planned without data, and bad input refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod
from pathlib import Path
from shutil import copytree

import pytest
import torch
from typer.testing import CliRunner

import minisora.recipes as recipes
from minisora.bundle import Bundle, Sampling, save, save_part
from minisora.caption import files as captioner_files
from minisora.caption.files import load_captioner, save_captioner
from minisora.cli import app
from minisora.dit.model import DiT
from minisora.errors import UsageError
from minisora.recipes import transformer, upscaler
from minisora.recipes.vae import trained_vae
from minisora.runs.estimate import largest_batch
from minisora.runs.known import known
from minisora.train.loop import State
from minisora.train.parallel import Ranks
from minisora.vae.model import GROUP, STRIDE, VAEConfig, VideoVAE
from minisora.video import read_image
from tests.helpers.tiny import DIT, VAE, Words


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # runs and latents lie below the working directory


@pytest.mark.parametrize(
    "command",
    [
        ("train", "toybox-pictures", "--dry-run"),
        ("train", "toybox", "--from", "toybox", "--dry-run"),
        ("train", "toybox-student", "--dry-run"),
        ("train", "vae-toybox", "--dry-run"),
        ("train", "toybox-upscale", "--dry-run"),
        ("plan", "toybox-pictures", "--gpus", "8xH100"),
    ],
)
def test_a_recipe_is_planned_before_there_is_data(tmp_path, command, monkeypatch):
    monkeypatch.setenv("MINISORA_CACHE", str(tmp_path / "nothing"))
    told = CliRunner().invoke(app, list(command))
    assert told.exit_code == 0, told.output
    assert "parameters" in told.output and "tokens" in told.output
    assert list(tmp_path.iterdir()) == []


def test_what_is_planned_by_is_of_the_size_that_is_trained_on():
    run = recipes.toybox()
    height, width = transformer.SAMPLING.size
    frames = transformer.SAMPLING.seconds * transformer.SAMPLING.fps
    _, rows, columns = transformer.DIT.patch
    assert (1 + frames // GROUP, height // STRIDE // rows, width // STRIDE // columns) == transformer.TOKENS
    assert largest_batch(run).tokens % prod(transformer.TOKENS) == 0


def test_the_upscaler_leaves_something_to_look_at(tmp_path, monkeypatch):
    monkeypatch.setattr(upscaler, "trained_vae", lambda: VideoVAE(VAE).eval())
    run = recipes.toybox_upscale()
    assert run.preview is not None
    run.preview(run.build().eval(), tmp_path)
    assert read_image(tmp_path / "sheet.png").shape == (4 * 256, 3 * 256, 3)


def test_clips_come_after_pictures():
    with pytest.raises(UsageError, match="run `minisora train toybox-pictures` first"):
        recipes.toybox().build()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("OptimConfig(lr=1, warmup=3)", "OptimConfig has no field 'warmup'. Did you mean warmup_steps?"),
        ("replace(toybox_pictures(), stepz=3)", "RunConfig has no field 'stepz'. Did you mean steps?"),
        ("toybox_pictures(stepz=3)", "toybox_pictures has no field 'stepz'. Did you mean steps?"),
        ("replace(toybox_pictures(), packs=0)", "toybox-pictures: packs=0 has to be 1 or more."),
        ("Layout(zzz=3)", "Layout has no field 'zzz'. It has: replicate, context, recompute."),
    ],
)
def test_a_field_that_is_not_there_is_named_with_the_nearest(tmp_path, text, says):
    name = f"misnamed_{abs(hash(text))}"  # a module is imported once
    names = "from dataclasses import replace\nfrom minisora.recipes import toybox_pictures\n"
    types = "from minisora.train.config import OptimConfig\nfrom minisora.train.parallel import Layout\n"
    (tmp_path / f"{name}.py").write_text(f"{names}{types}def recipe():\n    return {text}\n")
    refused = CliRunner().invoke(app, ["train", f"{name}.py", "--dry-run"])
    assert refused.exit_code == 2
    assert refused.output.splitlines()[-1] in (f"error: {name}.py: {says}", f"error: {says}")


def test_a_mistake_inside_a_recipe_keeps_its_own_error(tmp_path):
    (tmp_path / "mistaken.py").write_text("def recipe():\n    return None + 1\n")
    with pytest.raises(TypeError, match="unsupported operand"):
        recipes.recipe_from_file(tmp_path / "mistaken.py")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    save(tmp_path / "small", Bundle("small", VideoVAE(VAE), DiT(DIT), Words(), Sampling()))
    return tmp_path / "small"


def test_a_bundle_of_another_config_is_refused(small):
    other = replace(
        recipes.toybox_pictures(), build=lambda: DiT(replace(DIT, mlp_width=2 * DIT.mlp_width)), compile=False
    )
    with pytest.raises(UsageError, match=r"dit\.safetensors does not fit its config: size mismatch for blocks"):
        State(recipes.initialised_from(other, small), Ranks())


@pytest.mark.parametrize("change", [{"dit": {"widht": 3}}, {"sampling": {}}, {"vae": 3}], ids=str)
def test_a_bundle_that_says_something_else_cannot_be_planned(small, change):
    assert known(str(small)).config == DIT
    about = json.loads((small / "bundle.json").read_text())
    (small / "bundle.json").write_text(json.dumps({**about, **change}))
    with pytest.raises(UsageError, match=r"bundle\.json does not say what model this is"):
        known(str(small))


def test_with_a_base_latents_and_bundle_are_of_its_vae(tmp_path):
    """Otherwise a transformer would go on with latents of another VAE, without a word."""
    embedded = trained_vae()
    with torch.no_grad():
        embedded.latent_mean.add_(1.0)
    save(tmp_path / "other", Bundle("other", embedded, DiT(transformer.DIT), Words(), Sampling()))
    for recipe in (recipes.toybox_pictures, recipes.toybox):
        run = recipe(base=tmp_path / "other")
        assert run.origin == f"from {tmp_path / 'other'}" and run.build() is not None
    assert torch.equal(trained_vae(tmp_path / "other").latent_mean, embedded.latent_mean)
    assert not torch.equal(trained_vae().latent_mean, embedded.latent_mean)


def test_a_run_says_which_weights_it_begins_with(tmp_path):
    """Other clips under a known name would go unnoticed; a run from scratch says nothing."""
    fresh = (recipes.vae_toybox, recipes.captioner_playroom)
    assert [recipe().origin + recipe().content for recipe in fresh] == [""] * 2
    save(tmp_path / "base", bundle := Bundle("base", trained_vae(), DiT(transformer.DIT), Words(), Sampling()))
    captioner = copytree(captioner_files.EMBEDDED, tmp_path / "captioner")
    begun = (
        lambda: recipes.toybox_pictures(base=tmp_path / "base"),
        lambda: recipes.toybox(base=tmp_path / "base"),
        lambda: recipes.initialised_from(recipes.toybox_pictures(), tmp_path / "base"),
        lambda: recipes.captioner_playroom(base=captioner),
    )
    before = [recipe().content for recipe in begun]
    assert [recipe().content for recipe in begun] == before
    with torch.no_grad():
        next(bundle.dit.parameters()).add_(1.0)
    save(tmp_path / "base", bundle)
    network = load_captioner(captioner)
    next(network.parameters()).add_(1.0)
    save_captioner(network, captioner, network.trained)
    assert all(now != was for now, was in zip([recipe().content for recipe in begun], before, strict=True))


@pytest.mark.parametrize("recipe", [recipes.toybox_pictures, recipes.toybox, recipes.toybox_upscale])
def test_another_vae_is_another_run(recipe):
    """Its latents are others: a run that goes on with them would go unnoticed."""
    before = recipe().content
    own = Path(".cache/runs/vae-toybox/vae.safetensors")
    own.parent.mkdir(parents=True)
    save_part(VideoVAE(VAEConfig()), own)
    assert recipe().content != before


def test_clips_begin_with_the_pictures_that_are_there():
    pictures = Path(".cache/runs/toybox-pictures/dit.safetensors")
    pictures.parent.mkdir(parents=True)
    contents = []
    for _ in range(2):
        save_part(DiT(transformer.DIT), pictures)
        contents += [recipes.toybox().content, recipes.toybox().content]
    assert contents[0] == contents[1] != contents[2] == contents[3]
