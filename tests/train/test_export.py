"""Exports: a bundle as it was, and a transformer that diffusers opens with the same output."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minisora.bundle import Bundle, Sampling, load, save
from minisora.dit.model import DiT
from minisora.dit.wan import config_from_wan, state_from_wan
from minisora.errors import UsageError
from minisora.train.export import export_bundle, export_wan
from minisora.vae.model import VideoVAE
from tests.helpers.tiny import VAE, Words
from tests.helpers.wan import TEXT_PAD, both, difference

diffusers = pytest.importorskip("diffusers")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """With a transformer that Wan can say."""
    theirs, _ = both(text_dim=384)
    config = config_from_wan(theirs.config, text_pad=TEXT_PAD)
    dit = DiT(config)
    dit.load_state_dict(state_from_wan(theirs.state_dict(), config))
    folder = tmp_path / "base"
    sampling = Sampling(size=(32, 32), seconds=0.5)
    save(folder, Bundle("tiny", VideoVAE(VAE), dit, Words(), sampling, trained={"recipe": "none"}))
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_bundle_is_copied_as_it_is_and_over_nothing(bundle, tmp_path):
    assert digests(export_bundle(bundle, tmp_path / "out")) == digests(bundle)
    with pytest.raises(UsageError, match="is not empty"):
        export_bundle(bundle, tmp_path / "out")


def test_a_damaged_bundle_is_not_exported(bundle, tmp_path):
    weights = bundle / "dit.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(UsageError, match=r"dit\.safetensors"):
        export_bundle(bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_diffusers_opens_what_is_exported_and_says_the_same(bundle, tmp_path):
    folder = export_wan(bundle, tmp_path / "wan")
    theirs = diffusers.WanTransformer3DModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
    ours = load(bundle, device=torch.device("cpu"), dtype=torch.bfloat16).dit.float().eval()
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters())
    assert difference(theirs, ours, torch.float32, by_token=True) < 2e-5


def test_what_wan_cannot_say_is_refused(bundle, tmp_path):
    opened = load(bundle, device=torch.device("cpu"), dtype=torch.bfloat16)
    other = DiT(replace(opened.dit.config, frame_kinds=True))
    save(tmp_path / "other", replace(opened, name="other", dit=other))
    with pytest.raises(UsageError, match="frame_kinds"):
        export_wan(tmp_path / "other", tmp_path / "wan")
    assert not (tmp_path / "wan").exists()
