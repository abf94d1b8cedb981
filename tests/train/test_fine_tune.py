"""A folder of curated clips becomes a bundle, by full tuning and by adapters; what cannot be trained on is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import minisora.recipes as recipes
from minisora.bundle import Bundle, Sampling, load, save
from minisora.cli import app
from minisora.curate.write import encode
from minisora.data.clips import on_grid, to_clip
from minisora.data.latents import to_members
from minisora.data.shards import Shards, ShardWriter
from minisora.dit.model import DiT
from minisora.errors import UsageError
from minisora.train import loop
from minisora.train.latents import encode_clips
from minisora.vae.model import STRIDE, VideoVAE
from minisora.worlds import playroom
from tests.test_canvas import DIT, VAE

DIT_384 = replace(DIT, text_width=384)


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # runs and latents lie below the working directory
    monkeypatch.setattr(loop, "matmul_peak", lambda *_: 1e15)
    monkeypatch.setattr(loop, "ahead", lambda make, items, workers: (make(item) for item in items))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    vae, dit = VideoVAE(VAE), DiT(DIT_384)
    with torch.no_grad():
        for parameter in dit.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    sampling = Sampling(size=(32, 32), seconds=0.5)
    save(tmp_path / "base", name="tiny", vae=vae, dit=dit, sampling=sampling, trained={"recipe": "none"}, card="")
    return tmp_path / "base"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Clips of two sizes and lengths, and one whose video is cut short."""
    with ShardWriter(tmp_path / "mine") as writer:
        for n, (height, width, num_frames) in enumerate([(32, 48, 9), (44, 36, 11), (32, 32, 5)]):
            clip = playroom.clips([n], height=height, width=width, num_frames=num_frames)[0]
            video = encode(iter([clip.frames]), fps=clip.fps, codec="lossless", crf=0)
            about = {
                "captions": [{"text": "a red ball", "start": 0.0, "stop": (num_frames - 1) / clip.fps}],
                "fps": clip.fps,
            }
            writer.add(f"clip-{n}", {"mp4": video if n < 2 else video[:900], "json": json.dumps(about).encode()})
    return tmp_path / "mine"


def weights(bundle: Bundle) -> dict[str, torch.Tensor]:
    return bundle.dit.state_dict()


def opened(folder: Path) -> Bundle:
    return load(folder, device=torch.device("cpu"), dtype=torch.float32)


@pytest.mark.parametrize("lora", [None, 2])
def test_curated_clips_become_a_bundle(tmp_path, base, data, lora, capsys):
    config = replace(recipes.fine_tune(data, base, lora=lora, steps=3), preview=None, bf16=False)
    assert not (tmp_path / ".cache").exists()  # a plan encodes nothing
    loop.run(config, tmp_path / "run")
    assert "passed over: sample clip-2 is not a curated clip" in capsys.readouterr().err
    before, after = opened(base), opened(tmp_path / "run" / "bundle")
    assert after.name == "tiny-mine" and after.sampling == before.sampling
    assert after.trained["fine_tuned"]["clips"] == 2 and after.known is not None
    changed = {name for name, value in weights(after).items() if not torch.equal(value, weights(before)[name])}
    assert changed and (lora is None or all(name.startswith("blocks.") for name in changed))
    assert torch.equal(after.vae.state_dict()["latent_mean"], before.vae.state_dict()["latent_mean"])


def test_a_clip_that_is_larger_than_a_pack_gets_a_larger_one(base, monkeypatch, tmp_path):
    monkeypatch.setattr(recipes, "TUNING_TOKENS", 8)
    bundle = opened(base)
    clip = playroom.clips([0], height=64, width=48, num_frames=9)[0]
    with ShardWriter(tmp_path / "latents") as writer:
        (stored,) = encode_clips(bundle.vae, bundle.text, [0], [clip])
        columns = {"height": 64, "width": 48, "num_frames": 9}
        writer.add("one", to_members(stored, [len(one) for one in stored.texts], {}), columns=columns)
    batches = recipes.windows_of(Shards(tmp_path / "latents"), bundle)
    rows, columns = 64 // STRIDE // DIT.patch[1], 48 // STRIDE // DIT.patch[2]
    assert batches.budget == 2 * 3 * rows * columns
    assert all(0 < batches(step).tokens <= batches.budget for step in range(20))
    with pytest.raises(UsageError, match="raise `budget`"):
        replace(batches, budget=rows * columns - 1)(0)


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
        recipes.of_file(tmp_path / "mine_too.py")
    (tmp_path / "empty_one.py").write_text("")
    with pytest.raises(UsageError, match="no function `recipe"):
        recipes.of_file(tmp_path / "empty_one.py")


def test_a_run_may_begin_from_a_bundle(base):
    from tests.train.test_parallel import CONFIG

    begun = recipes.begun_from(replace(CONFIG, build=lambda: DiT(DIT_384)), base).build()
    assert torch.equal(begun.state_dict()["enter.weight"], opened(base).dit.state_dict()["enter.weight"])
    with pytest.raises(UsageError, match="does not train a transformer"):
        recipes.begun_from(replace(CONFIG, build=lambda: VideoVAE(VAE)), base).build()


def test_a_clip_is_cut_to_the_grid():
    clip = playroom.clips([0], height=45, width=37, num_frames=12)[0]
    cut = on_grid(clip, side=8, group=4)
    assert cut.frames.shape == (9, 40, 32, 3) and torch.equal(cut.frames, clip.frames[:9, 2:42, 2:34])
    assert all(caption.stop <= 8 / clip.fps for caption in cut.captions)
    with pytest.raises(UsageError, match="smaller than 64"):
        on_grid(clip, side=64, group=4)


def test_a_sample_of_another_kind_is_named():
    with pytest.raises(UsageError, match="sample odd is not a curated clip: KeyError"):
        to_clip("odd", {"json": b"{}"})
