"""A bundle comes back as it was saved, or says what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from minisora import bundle as bundles
from minisora.bundle import Sampling, Student, available, find, load, load_part, save, save_part
from minisora.dit.lora import adapters_of, add_lora, merge_lora
from minisora.dit.model import DiT, DiTConfig
from minisora.errors import UsageError, WeightsError
from minisora.vae.model import VAEConfig, VideoVAE
from tests.helpers.tiny import Words

VAE = VAEConfig(latent_channels=4, widths=(4, 4, 8), latent_width=8, latent_blocks=1)
DIT = DiTConfig(width=16, depth=1, num_heads=2, mlp_width=24, text_width=6, latent_channels=4, time_width=8)
SAMPLING = Sampling(fps=12.0, size=(48, 64), steps=3)


def mine(vae: VideoVAE, dit: DiT) -> bundles.Bundle:
    return bundles.Bundle("mine", vae, dit, Words(), SAMPLING, trained={"steps": 7}, card="# 我的\n")


def read(folder: Path) -> bundles.Bundle:
    return load(folder, device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, VideoVAE, DiT]:
    torch.manual_seed(0)
    vae, dit = VideoVAE(VAE), DiT(DIT)
    vae.calibrate(torch.randn(4), torch.rand(4) + 0.1)
    folder = tmp_path / "mine"
    save(folder, mine(vae, dit))
    return folder, vae, dit


def test_comes_back_as_it_was_saved(saved):
    folder, vae, dit = saved
    bundle = read(folder)
    assert (bundle.name, bundle.sampling, bundle.card) == ("mine", SAMPLING, "# 我的\n")
    assert bundle.trained["steps"] == 7
    assert (bundle.vae.config, bundle.dit.config) == (VAE, DIT)
    for before, after in ((vae, bundle.vae), (dit, bundle.dit)):
        assert not after.training and not any(p.requires_grad for p in after.parameters())
        kept = after.state_dict()
        for name, value in before.state_dict().items():
            stored = value if name.startswith("latent_") else value.bfloat16().float()
            assert torch.equal(kept[name], stored), name


def test_a_second_save_of_the_same_is_the_same_bytes(saved, tmp_path):
    folder, vae, dit = saved
    other = tmp_path / "other"
    save(other, mine(vae, dit))
    assert {path.name: path.read_bytes() for path in other.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


@pytest.mark.parametrize("file", ["vae.safetensors", "dit.safetensors"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:9] + bytes([data[9] ^ 1]) + data[10:],
    ],
    ids=["empty", "header", "half", "a byte short", "a byte long", "a bit of a weight", "a bit of the header"],
)
def test_a_damaged_file_is_named(saved, file: str, damage: Callable[[bytes], bytes]):
    path = saved[0] / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(WeightsError, match=file):
        read(saved[0])


@pytest.mark.parametrize("file", ["vae.safetensors", "dit.safetensors"])
def test_a_missing_file_is_named(saved, file: str):
    (saved[0] / file).unlink()
    with pytest.raises(WeightsError, match=f"{file} is missing"):
        read(saved[0])


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "bundle.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    change(about)
    path.write_text(json.dumps(about), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda about: about.update(format=99), r"format 99, newer than 1"),
        (lambda about: about["dit"].update(colour=1, bend=2), r"unknown fields: bend, colour"),
        (lambda about: about["sampling"].update(colour=1), r"unknown fields: colour"),
        (lambda about: about.pop("vae"), r"lacks vae"),
        (lambda about: about.pop("format"), r"cannot be read"),
        (lambda about: about["dit"].update(depth=2), r"dit.safetensors does not fit its config"),
        (lambda about: about["dit"].update(mlp_width=32), r"dit.safetensors does not fit its config"),
        (lambda about: about["dit"].pop("width"), r"bundle.json"),
        (lambda about: about.update(sha256={}), r"vae.safetensors"),
    ],
    ids=["newer", "unknown", "unknown too", "missing", "no format", "depth", "width", "no width", "no hashes"],
)
def test_a_bundle_that_cannot_be_right_is_refused(saved, change, said):
    edited(saved[0], change)
    with pytest.raises(WeightsError, match=said):
        read(saved[0])


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"format"'])
def test_what_is_no_description_is_refused(saved, text):
    (saved[0] / "bundle.json").write_text(text)
    with pytest.raises(WeightsError, match=r"bundle.json cannot be read"):
        read(saved[0])


def test_an_unknown_name_lists_those_there_are(tmp_path, monkeypatch):
    for name in ("apples", "pears"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bundle.json").write_text("{}")
    monkeypatch.setattr(bundles, "EMBEDDED", tmp_path)
    assert list(available()) == ["apples", "pears"] and find("pears") == tmp_path / "pears"
    with pytest.raises(UsageError, match=r"no model 'plums'. Choose one of: apples, pears"):
        find("plums")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"has no bundle.json"):
        find(tmp_path / "empty")


def test_a_part_alone(tmp_path):
    torch.manual_seed(0)
    vae, other = VideoVAE(VAE), VideoVAE(VAE)
    save_part(vae, tmp_path / "vae.safetensors")
    load_part(other, tmp_path / "vae.safetensors")
    for name, value in vae.state_dict().items():
        assert torch.equal(other.state_dict()[name], value.bfloat16().float()), name
    with pytest.raises(WeightsError, match=r"other.safetensors is missing"):
        load_part(other, tmp_path / "other.safetensors")


def test_a_half_written_bundle_is_not_found(saved, monkeypatch):
    """Killed while the second file is written: what is there must not pass for a bundle."""
    folder, vae, dit = saved

    def fails(part: torch.nn.Module, path: Path) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundles, "save_part", fails)
    with pytest.raises(KeyboardInterrupt):
        save(folder, mine(vae, dit))
    with pytest.raises(UsageError, match="not a bundle"):
        find(folder)


def test_json_says_every_field(saved):
    about = json.loads((saved[0] / "bundle.json").read_text(encoding="utf-8"))
    assert set(about["dit"]) == set(asdict(DIT)) and set(about["sampling"]) == set(asdict(SAMPLING))


def with_student(folder: Path, vae: VideoVAE, dit: DiT) -> Student:
    adapters = {name: torch.randn_like(value) for name, value in adapters_of(add_lora(DiT(DIT), 2)).items()}
    student = Student(adapters=adapters, rank=2, steps=3)
    save(folder, replace(mine(vae, dit), student=student))
    return student


def test_a_student_comes_back_and_is_folded_in_when_it_is_used(saved):
    folder, vae, dit = saved
    assert read(folder).student is None
    given, bundle = with_student(folder, vae, dit), read(folder)
    assert bundle.student is not None and (bundle.student.rank, bundle.student.steps) == (2, 3)
    assert {n: v.bfloat16().float().tolist() for n, v in given.adapters.items()} == {
        n: v.float().tolist() for n, v in bundle.student.adapters.items()
    }
    before = {name: value.clone() for name, value in bundle.dit.state_dict().items()}
    other = bundle.with_student()
    expected = add_lora(DiT(DIT), 2)
    expected.load_state_dict({**before, **bundle.student.adapters})
    expected = merge_lora(expected).state_dict()
    assert {
        name: torch.equal(value, expected[name]) for name, value in other.dit.state_dict().items()
    } == dict.fromkeys(before, True)
    assert all(torch.equal(value, before[name]) for name, value in bundle.dit.state_dict().items())
    assert other.dit is bundle.with_student().dit is not bundle.dit  # made once
    assert not other.dit.training and not any(p.requires_grad for p in other.dit.parameters())
    assert other.dit.enter.weight.data_ptr() == bundle.dit.enter.weight.data_ptr()  # what is the same lies there once


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "student.safetensors").unlink(), "student.safetensors is missing"),
        (lambda folder: (folder / "student.safetensors").write_bytes(b"x"), "student.safetensors is not the file"),
        (lambda folder: edited(folder, lambda about: about["student"].update(rank=3)), "no adapters of rank 3"),
        (lambda folder: edited(folder, lambda about: about["student"].update(colour=3)), "unknown fields: colour"),
    ],
    ids=["missing", "damaged", "rank", "unknown"],
)
def test_a_student_that_cannot_be_right_is_refused(saved, spoil, said):
    folder, vae, dit = saved
    with_student(folder, vae, dit)
    spoil(folder)
    with pytest.raises(WeightsError, match=said):
        read(folder)
