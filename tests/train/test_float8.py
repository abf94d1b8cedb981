"""Matmuls in float8: near those in float32, and all that is kept stays as it was.

On a CPU, which does them slowly.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from minisora.dit.lora import add_lora
from minisora.dit.model import DiT
from minisora.errors import UsageError
from minisora.runs.logs import read_log
from minisora.train import loop
from minisora.train.config import OptimConfig
from minisora.train.parallel import Layout, Ranks, prepare
from minisora.train.velocity import dit_loss
from minisora.vae.model import VideoVAE
from tests.helpers import steps
from tests.helpers.steps import CONFIG, VAE, batch, network

FLOAT8 = replace(
    CONFIG,
    name="float8",
    steps=60,
    packs=1,
    batch=lambda step: batch(step % 3),
    optim=OptimConfig(lr=3e-3),
    log_every=10,
    float8=True,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(loop, "matmul_peak", lambda *_: 1e15)


def gradients(dit: DiT) -> dict[str, Tensor]:
    dit_loss(dit, batch(0), torch.Generator().manual_seed(0))["loss"].backward()
    return {name: p.grad for name, p in dit.named_parameters() if p.grad is not None}


def prepared(*, recompute: bool = False) -> DiT:
    dit = network()
    prepare(dit, Ranks(Layout(recompute=recompute)), float8=True)
    return dit


def test_gradients_are_near_those_without():
    exact, near = gradients(network()), gradients(prepared())
    assert exact.keys() == near.keys()
    for name, grad in exact.items():
        assert torch.cosine_similarity(grad.flatten(), near[name].flatten(), dim=0) > 0.95, name
    assert not torch.equal(exact["blocks.0.qkv.weight"], near["blocks.0.qkv.weight"])


def test_activation_checkpointing_gives_the_same_gradients():
    once, again = gradients(prepared()), gradients(prepared(recompute=True))
    for name, grad in once.items():
        torch.testing.assert_close(again[name], grad)


def test_a_run_learns_and_leaves_a_plain_model_and_goes_on_without(tmp_path, capsys):
    loop.run(FLOAT8, tmp_path / "one")
    assert "fp32 and float8" in capsys.readouterr().err
    first, *_, last = (row["loss"] for row in read_log(tmp_path / "one" / "log.jsonl"))
    assert last < 0.8 * first
    network().load_state_dict(torch.load(tmp_path / "one" / "published.pt"))
    loop.run(replace(FLOAT8, float8=False, steps=70), tmp_path / "one")
    assert read_log(tmp_path / "one" / "log.jsonl")[-1]["step"] == 70


def test_what_cannot_be_is_said(tmp_path, monkeypatch):
    def unasked(run):
        raise AssertionError("data are made first")

    adapted = replace(FLOAT8, build=lambda: add_lora(network(), 4), prepare=unasked)
    with pytest.raises(UsageError, match=r"no layer of this DiT can be computed in float8: .* without an adapter"):
        loop.run(adapted, tmp_path)
    with pytest.raises(UsageError, match="no layer of this VideoVAE"):
        prepare(VideoVAE(VAE), Ranks(), float8=True)
    with pytest.raises(UsageError, match="Linear cannot be computed in float8"):
        prepare(torch.nn.Linear(16, 16), Ranks(), float8=True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100")
    ranks = Ranks()
    ranks.device = torch.device("cuda")
    with pytest.raises(UsageError, match="NVIDIA A100 has no float8"):
        prepare(network(), ranks, float8=True)
    monkeypatch.setitem(sys.modules, "torchao.float8", None)
    with pytest.raises(UsageError, match=r"pip install 'minisora\[float8\]'"):
        prepare(network(), Ranks(), float8=True)


@pytest.mark.long
def test_it_is_compiled_too():
    torch._dynamo.reset()
    dit = network()
    prepare(dit, Ranks(), compiled=True, float8=True)
    eager, compiled = gradients(prepared()), gradients(dit)
    for name, grad in eager.items():
        assert torch.cosine_similarity(grad.flatten(), compiled[name].flatten(), dim=0) > 0.99, name


@pytest.mark.long
@pytest.mark.parametrize("context", [1, 2])
def test_two_processes_have_the_gradients_of_one(tmp_path, context):
    """Near: each scales its own share of the tokens and of the weights to float8's range."""
    alone = steps.gradients(Layout(), float8=True)
    steps.start(tmp_path, 2, "float8", context=context)
    for name, value in torch.load(tmp_path / "gradients.pt").items():
        assert torch.cosine_similarity(value.flatten(), alone[name].flatten(), dim=0) > 0.99, name
