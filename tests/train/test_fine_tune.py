"""A folder of curated clips becomes a bundle, by full tuning and by adapters; errors are named."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import minisora.recipes as recipes
import minisora.recipes.tuning as tuning
from minisora import sources
from minisora.cli import app
from minisora.data.clips import on_grid, to_clip
from minisora.data.latents import to_members
from minisora.data.shards import Shards, ShardWriter
from minisora.dit.model import DiT
from minisora.errors import UsageError
from minisora.recipes import published
from minisora.train import latents, loop
from minisora.train.latents import LatentJob, encode_clips, write_clip_latents, write_latents
from minisora.vae.model import STRIDE, VideoVAE
from minisora.video import Shape
from minisora.workers.lock import one_run
from minisora.worlds import playroom
from tests.helpers.steps import CONFIG
from tests.helpers.tiny import DIT, VAE
from tests.helpers.tuned import DIT_384, base, curated, data, opened, weights

__all__ = ["base", "data"]  # fixtures


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # runs and latents lie below the working directory
    monkeypatch.setattr(loop, "matmul_peak", lambda *_: 1e15)
    monkeypatch.setattr(loop, "ahead", lambda make, items, workers: (make(item) for item in items))


@pytest.mark.parametrize("lora", [None, 2])
def test_curated_clips_become_a_bundle(tmp_path, base, data, lora, capsys):
    config = replace(tuning.fine_tune(data, base, lora=lora, steps=3), preview=None, bf16=False)
    assert not (tmp_path / ".cache").exists()  # a plan encodes nothing
    loop.run(config, tmp_path / "run")
    assert "skipped: sample clip-2 is not a curated clip" in capsys.readouterr().err
    before, after = opened(base), opened(tmp_path / "run" / "bundle")
    assert after.name == "tiny-mine" and after.sampling == before.sampling
    assert after.trained["fine_tuned"]["clips"] == 2 and after.known is not None
    assert before.trained.items() <= after.trained.items()  # what chooses first frames and enlarges, among others
    changed = {name for name, value in weights(after).items() if not torch.equal(value, weights(before)[name])}
    assert changed and (lora is None or all(name.startswith("blocks.") for name in changed))
    assert torch.equal(after.vae.state_dict()["latent_mean"], before.vae.state_dict()["latent_mean"])


def test_a_run_does_not_resume_on_clips_that_were_curated_anew(tmp_path, base, data):
    config = replace(tuning.fine_tune(data, base, steps=2), preview=None, bf16=False)
    loop.run(config, tmp_path / "run", stop_at=1)
    assert tuning.fine_tune(data, base).content == config.content != tuning.fine_tune(data, base, pictures=data).content
    shutil.rmtree(data)
    curated(data, (32, 48, 9), (44, 36, 11))
    other = replace(tuning.fine_tune(data, base, steps=2), preview=None, bf16=False)
    with pytest.raises(UsageError, match="holds a run with another content"):
        loop.run(other, tmp_path / "run")


@pytest.mark.parametrize("budget", [96, 4])
def test_pictures_beside_clips_are_a_quarter_of_every_step(tmp_path, base, data, budget, monkeypatch):
    monkeypatch.setattr(tuning, "TUNING_TOKENS", budget)
    stills = curated(tmp_path / "stills", (32, 32, 1), (32, 32, 1))
    config = replace(tuning.fine_tune(data, base, pictures=stills, steps=1), preview=None, bf16=False)
    loop.run(config, tmp_path / "run")
    assert opened(tmp_path / "run" / "bundle").trained["fine_tuned"]["clips"] == 4
    assert config.prepare is not None
    batches = config.prepare(config).batch
    cells = (32 // STRIDE // DIT.patch[1]) ** 2
    largest = 3 * (48 // STRIDE // DIT.patch[1]) * (32 // STRIDE // DIT.patch[2])
    assert batches.budget >= max(budget, 2 * largest) and batches.picture_share == 0.25
    for step in range(10):
        pack = batches(step).clean
        pictures = [n for n, single in zip(pack.lengths, pack.single.split(pack.lengths), strict=True) if single.all()]
        assert pictures.count(cells) >= int(0.25 * batches.budget / cells) >= 1 and sum(pack.lengths) <= batches.budget


def test_a_clip_that_is_larger_than_a_pack_gets_a_larger_one(base, monkeypatch, tmp_path):
    monkeypatch.setattr(tuning, "TUNING_TOKENS", 8)
    bundle = opened(base)
    clip = playroom.clips([0], Shape(num_frames=9, height=64, width=48, fps=8.0))[0]
    with ShardWriter(tmp_path / "latents") as writer:
        (stored,) = encode_clips(bundle.vae, bundle.text, [0], [clip])
        columns = {"height": 64, "width": 48, "num_frames": 9}
        writer.add("one", to_members(stored, [len(one) for one in stored.texts], {}), columns=columns)
    batches = tuning.windows_of(Shards(tmp_path / "latents"), bundle=bundle)
    rows, columns = 64 // STRIDE // DIT.patch[1], 48 // STRIDE // DIT.patch[2]
    assert batches.budget == 2 * 3 * rows * columns
    assert all(0 < batches(step).tokens <= batches.budget for step in range(20))
    with pytest.raises(UsageError, match="raise `budget`"):
        replace(batches, budget=rows * columns - 1)(0)


def first_of(folder: Path) -> tuple[int, list[str]]:
    """When the first shard was written, and whose latents there are."""
    return (folder / "shard-000000.tar").stat().st_mtime_ns, Shards(folder).columns("of")


def test_latents_are_made_once_for_each_vae_and_by_one_run_at_a_time(base, tmp_path, capsys):
    bundle, folder = opened(base), tmp_path / "latents"
    job = LatentJob(name="few", clips=sources.PLAYROOM, seeds=range(3), height=32, width=32, num_frames=5)
    with one_run(folder / "few", "or do not"), pytest.raises(UsageError, match=f"process {os.getpid()}, is writing"):
        write_latents(folder, [job], bundle.vae, bundle.text)
    write_latents(folder, [job], bundle.vae, bundle.text)
    made, of = first_of(folder / "few")
    assert len(set(of)) == 1
    write_latents(folder, [job], bundle.vae, bundle.text)
    write_latents(folder, [replace(job, seeds=range(5))], bundle.vae, bundle.text)
    assert len(Shards(folder / "few")) == 5 and first_of(folder / "few")[0] == made
    with torch.no_grad():
        bundle.vae.latent_mean.add_(1.0)
    write_latents(folder, [job], bundle.vae, bundle.text)
    assert "are encoded again" in capsys.readouterr().err
    assert len(Shards(folder / "few")) == 3 and not {*first_of(folder / "few")[1]} & {*of}


JOB = LatentJob(name="few", clips=sources.PLAYROOM, seeds=range(2), height=32, width=32, num_frames=5)
OTHER_JOBS = {  # a change of each field, and of what is bound to `clips`
    "name": {"name": "many"},
    "clips": {"clips": sources.PICTURES},
    "fps": {"clips": sources.PLAYROOM_FAST},
    "phrasing": {"clips": partial(sources.PLAYROOM, phrasing="train")},
    "wordings": {"clips": partial(sources.PLAYROOM, wordings=1)},
    "seeds": {"seeds": range(1, 3)},
    "height": {"height": 48},
    "width": {"width": 48},
    "num_frames": {"num_frames": 9},
    "captions": {"captions": "of other templates"},
}


def test_every_field_of_a_job_is_changed_below():
    assert {field.name for field in fields(LatentJob)} <= OTHER_JOBS.keys()


class Made(Exception):
    """Raised in place of making clips."""


@pytest.fixture
def stored(base, tmp_path, monkeypatch):
    """A function that raises Made where latents are not those of JOB that were stored before."""
    bundle, folder = opened(base), tmp_path / "latents"
    write_latents(folder, [JOB], bundle.vae, bundle.text)

    def made(*_: object, **__: object) -> None:
        raise Made

    monkeypatch.setattr(latents, "ahead", made)

    def again(job: LatentJob = JOB) -> None:
        if job.name != JOB.name:  # as if it had been stored under the other name
            shutil.copytree(folder / JOB.name, folder / job.name)
        write_latents(folder, [job], bundle.vae, bundle.text)

    again.bundle = bundle
    return again


@pytest.mark.parametrize("change", OTHER_JOBS.values(), ids=OTHER_JOBS)
def test_another_job_is_never_given_what_was_stored(stored, change):
    stored()
    with pytest.raises(Made):
        stored(replace(JOB, **change))


@pytest.mark.parametrize("what", ["world", "vae", "text", "singles"])
def test_what_a_job_was_encoded_by_is_in_its_key(stored, what, monkeypatch):
    if what == "world":
        monkeypatch.setattr(latents, "WORLD_VERSION", latents.WORLD_VERSION + 1)
    elif what == "singles":
        monkeypatch.setattr(latents, "INSIDE", latents.INSIDE + 1)
    elif what == "text":
        stored.bundle.text.fingerprint = "another"
    else:
        stored.bundle.vae.latent_std.data.mul_(2.0)
    with pytest.raises(Made):
        stored()


def test_a_key_says_functions_and_data_by_name():
    """What the key is made of cannot be confused, and what has no name is refused."""
    told = latents._by_name
    assert told(sources.playroom_clips) == "minisora.sources.playroom_clips"
    assert told(partial(max, 1, key=2)) == {"of": max, "args": (1,), "key": 2}
    assert told(JOB)["of"] is LatentJob and told(JOB)["seeds"] == range(2)
    with pytest.raises(AssertionError, match="no name of its own"):
        told(lambda: None)
    with pytest.raises(TypeError, match="Tensor cannot be part"):
        told(torch.zeros(2))


def test_curated_clips_are_encoded_anew_for_another_text_encoder(base, data, tmp_path, monkeypatch):
    bundle, folder = opened(base), tmp_path / "latents"
    write_clip_latents(folder, Shards(data), bundle.vae, bundle.text, side=STRIDE)
    before = first_of(folder)[1]
    bundle.text.fingerprint = "another"
    write_clip_latents(folder, Shards(data), bundle.vae, bundle.text, side=STRIDE)
    assert not {*first_of(folder)[1]} & {*before}


def test_a_skipped_sample_is_not_tried_again(base, data, tmp_path, capsys, monkeypatch):
    bundle, folder = opened(base), tmp_path / "latents"
    folder.mkdir()
    (folder / ".shard-000000.1.part.parquet").write_bytes(b"")  # of a run that was killed
    write_clip_latents(folder, Shards(data), bundle.vae, bundle.text, side=STRIDE)
    assert "skipped: sample clip-2" in capsys.readouterr().err and len(Shards(folder)) == 2
    monkeypatch.setattr(latents, "Pool", lambda *_: pytest.fail("it was tried again"))
    write_clip_latents(folder, Shards(data), bundle.vae, bundle.text, side=STRIDE)
    assert capsys.readouterr().err == "" and len(Shards(folder)) == 2


def test_a_damaged_sample_does_not_stop_previews_and_publishing(tmp_path):
    with ShardWriter(tmp_path / "some") as writer:
        for n in range(3):
            writer.add(f"clip-{n}", {"json": json.dumps({"captions": [[f"clip {n}", 0.0, 1.0, 2]]}).encode()})
    tar = tmp_path / "some" / "shard-000000.tar"
    tar.write_bytes(tar.read_bytes().replace(b'"clip 1"', b'"clap 1"'))
    shards = Shards(tmp_path / "some")
    assert [published.clip_caption(shards, n) for n in range(3)] == ["clip 0", "clip 2", "clip 2"]


def test_the_command_says_what_it_would_take_and_what_it_needs(base, data):
    runner = CliRunner()
    told = runner.invoke(app, ["train", "fine-tune", "--from", str(base), "--data", str(data), "--dry-run"])
    assert told.exit_code == 0 and "parameters, 600 steps" in told.output and "memory:" in told.output
    assert not Path(".cache").exists()
    for wrong, says in {
        ("fine-tune",): "give --data a folder",
        ("fine-tune", "--from", str(base), "--data", "nowhere"): "holds no shards",
        ("vae-toybox", "--lora", "4"): "are for the recipe fine-tune",
        ("fine-tune", "--steps", "0"): "give 1 or more",
        ("nothing",): "there is no recipe 'nothing'",
        ("missing.py",): "there is no file missing.py",
    }.items():
        refused = runner.invoke(app, ["train", *wrong])
        assert refused.exit_code == 2 and says in refused.output, refused.output


def test_a_file_of_ones_own_is_a_recipe(tmp_path, base):
    (tmp_path / "mine_too.py").write_text("import minisora.recipes\nmade = 3\ndef recipe():\n    return made\n")
    with pytest.raises(UsageError, match="returned int, not a RunConfig"):
        recipes.recipe_from_file(tmp_path / "mine_too.py")
    (tmp_path / "empty_one.py").write_text("")
    with pytest.raises(UsageError, match="no function `recipe"):
        recipes.recipe_from_file(tmp_path / "empty_one.py")


def test_a_run_may_begin_from_a_bundle(base):
    begun = recipes.initialised_from(replace(CONFIG, build=lambda: DiT(DIT_384)), base).build()
    assert torch.equal(begun.state_dict()["enter.weight"], opened(base).dit.state_dict()["enter.weight"])
    with pytest.raises(UsageError, match="does not train a transformer"):
        recipes.initialised_from(replace(CONFIG, build=lambda: VideoVAE(VAE)), base).build()


def test_a_clip_is_cut_to_the_grid():
    clip = playroom.clips([0], Shape(num_frames=12, height=45, width=37, fps=8.0))[0]
    cut = on_grid(clip, side=8, group=4)
    assert cut.frames.shape == (9, 40, 32, 3) and torch.equal(cut.frames, clip.frames[:9, 2:42, 2:34])
    assert all(caption.stop <= 8 / clip.fps for caption in cut.captions)
    with pytest.raises(UsageError, match="smaller than 64"):
        on_grid(clip, side=64, group=4)


def test_a_sample_of_another_kind_is_named():
    with pytest.raises(UsageError, match="sample odd is not a curated clip: KeyError"):
        to_clip("odd", {"json": b"{}"})
