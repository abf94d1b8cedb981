"""A step on one process and on many, however they share it: same loss, gradients and run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode

from minisora.dit.model import DiT
from minisora.dit.ulysses import Across
from minisora.errors import UsageError
from minisora.train import loop
from minisora.train.config import on_meta
from minisora.train.hints import HintedDiT, hinted_loss
from minisora.train.parallel import (
    KEPT,
    Layout,
    Ranks,
    check_context,
    checkpointed,
    joined,
    mean_of_rows,
    prepare,
)
from minisora.train.velocity import dit_loss
from minisora.vae.loss import VAELoss
from minisora.vae.model import VideoVAE
from tests.helpers.steps import CONFIG, PACKS, TINY, VAE, VAE_RUN, batch, crops, gradients, hinted, network, start


@pytest.fixture(scope="module")
def alone() -> dict[str, Tensor]:
    return gradients(Layout())


@pytest.mark.long
@pytest.mark.parametrize(
    ("processes", "replicate", "context"), [(2, 1, 1), (4, 1, 1), (4, 2, 1), (2, 1, 2), (4, 1, 2)], ids=str
)
def test_many_processes_have_the_gradients_of_one(tmp_path, alone, processes, replicate, context):
    start(tmp_path, processes, "gradients", replicate=replicate, context=context)
    shared = torch.load(tmp_path / "gradients.pt")
    assert shared.keys() == alone.keys()
    for name, value in alone.items():
        assert torch.allclose(value, shared[name], atol=2e-6, rtol=1e-4), (name, (value - shared[name]).abs().max())


@pytest.mark.long
def test_a_process_that_dies_ends_the_run_with_a_reason(tmp_path):
    said = start(tmp_path, 2, "killed", fails=True)
    # torchrun may end the other before it speaks
    assert "UsageError: another process of this run has ended" in said or "closing signal SIGTERM" in said
    assert "Signal 9 (SIGKILL)" in said.split("Root Cause")[1]


@pytest.mark.long
def test_the_last_thing_torchrun_says_is_what_was_wrong(tmp_path):
    said = start(tmp_path, 3, "run", context=3, fails=True)
    assert "4 heads cannot be shared by 3 processes. Ask for a context of 1, 2, 4." in said.split("Root Cause")[1]


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.long
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, monkeypatch):
    """Seven steps on two processes and thirteen on one, and the reverse.

    Equal within the order of a sum.
    """
    monkeypatch.setattr(loop, "matmul_peak", lambda *_: 1e15)
    for folder in ("whole", "two", "one"):
        (tmp_path / folder).mkdir()
    loop.run(CONFIG, tmp_path / "whole")
    start(tmp_path / "two", 2, "run", stop=7)
    loop.run(CONFIG, tmp_path / "two")
    loop.run(CONFIG, tmp_path / "one", stop_at=7)
    start(tmp_path / "one", 2, "run")
    for folder in ("two", "one"):
        assert losses(tmp_path / folder) == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)
        assert (tmp_path / folder / "published.pt").exists()


@pytest.mark.long
def test_a_vae_is_trained_on_two_processes_as_on_one(tmp_path, monkeypatch):
    """Channels-last kernels, unsharded buffers, and Muon, which rounds to bfloat16."""
    monkeypatch.setattr(loop, "matmul_peak", lambda *_: 1e15)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    loop.run(VAE_RUN, tmp_path / "one")
    start(tmp_path / "two", 2, "vae")
    one, two = (torch.load(tmp_path / folder / "published.pt") for folder in ("one", "two"))
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-3)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=5e-3, rtol=0)


def test_activation_checkpointing_gives_the_same_gradients(alone):
    with joined(Layout(recompute=True)) as ranks:
        dit = network(HintedDiT)
        prepare(dit, ranks)
    for n in range(PACKS):
        (hinted_loss(dit, hinted(n), torch.Generator().manual_seed(n))["loss"] / PACKS).backward()
    for name, p in dit.named_parameters():
        assert p.grad is not None and torch.allclose(p.grad, alone[name], atol=1e-7), name


def test_activation_checkpointing_of_a_vae_gives_the_same_gradients():
    told = []
    for layout in (Layout(), Layout(recompute=True)):
        torch.manual_seed(0)
        vae = VideoVAE(VAE).train()
        prepare(vae, Ranks(layout))
        with torch.autocast("cpu", torch.bfloat16):
            loss = VAELoss(latent_noise=0.1)(vae, crops(0), torch.Generator().manual_seed(0))["loss"]
        loss.backward()
        told.append({name: p.grad for name, p in vae.named_parameters() if p.grad is not None})
    plain, again = told
    assert plain.keys() == again.keys() and any(grad.any() for grad in plain.values())
    for name, grad in plain.items():
        torch.testing.assert_close(again[name], grad)


@pytest.mark.long
def test_checkpointed_blocks_are_compiled_too(alone):
    """One graph for every pack, with the same gradients; on a GPU attention still breaks it."""
    torch._dynamo.reset()
    counters.clear()
    dit = network(HintedDiT)
    prepare(dit, Ranks(Layout(recompute=True)), compiled=True)
    for n in range(PACKS):
        (hinted_loss(dit, hinted(n), torch.Generator().manual_seed(n))["loss"] / PACKS).backward()
    for name, p in dit.named_parameters():
        assert p.grad is not None and torch.allclose(p.grad, alone[name], atol=1e-6), name
    assert not counters["graph_break"] and counters["stats"]["unique_graphs"] <= 2


class Counted(TorchDispatchMode):
    """How often each operator is run."""

    def __init__(self) -> None:
        super().__init__()
        self.times: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.times[func.name()] += 1
        return func(*args, **(kwargs or {}))


def test_attention_and_matmuls_are_not_run_twice():
    """And the gradients equal those without activation checkpointing."""
    told = []
    for layout in (Layout(), Layout(recompute=True)):
        dit = network()
        prepare(dit, Ranks(layout))
        with Counted() as counted:
            dit_loss(dit, batch(0), torch.Generator().manual_seed(0))["loss"].backward()
        told.append((counted.times, [p.grad for p in dit.parameters()]))
    (once, plain), (again, checkpointed) = told
    for name in ("minisora::attention_by_blocks", "aten::mm", "aten::addmm"):
        assert again[name] == once[name] > 0, name
    assert again["aten::_to_copy"] + again["aten::gelu"] > once["aten::_to_copy"] + once["aten::gelu"]
    for one, other in zip(plain, checkpointed, strict=True):
        assert one is not None and other is not None and torch.allclose(one, other, atol=1e-7)


def test_tokens_are_exchanged_as_often_as_a_plan_counts(tmp_path):
    """Six times a block and pass, of which recomputing adds one: layouts.seconds_of says so."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/alone", rank=0, world_size=1)
    try:
        for layout, passes in ((Layout(), 2), (Layout(recompute=True), 3)):
            dit = network()
            dit.across = Across(dist.group.WORLD, 0, 1)
            prepare(dit, Ranks(layout))
            with Counted() as counted:
                dit_loss(dit, batch(0), torch.Generator().manual_seed(0))["loss"].backward()
            assert counted.times["c10d::alltoall_base_"] == passes * 6 * TINY.depth
    finally:
        dist.destroy_process_group()


def test_varlen_attention_is_the_operator_that_is_kept():
    import torch.nn.attention.varlen  # which makes the operator

    assert torch.ops.torch_attn._varlen_attn.default.name() in KEPT


def test_a_model_without_parts_has_no_activation_checkpointing():
    for layout, compiled in ((Layout(recompute=True), False), (Layout(), True)):
        with pytest.raises(
            UsageError, match=r"Linear cannot (use activation checkpointing|be compiled): it has no `fsdp_units"
        ):
            prepare(torch.nn.Linear(2, 2), Ranks(layout), compiled=compiled)


def test_activation_checkpointing_keeps_matmuls_only():
    kept: list[tuple[int, ...]] = []
    weight = torch.randn(8, 8, requires_grad=True)

    def forward(x: Tensor) -> Tensor:
        return (x @ weight).sin().cos().exp()

    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(tuple(t.shape)) or t, lambda t: t):
        plain = forward(torch.ones(3, 8)).sum()
        few = len(kept)
        again = checkpointed(forward)(torch.ones(3, 8)).sum()
    assert len(kept) - few < few
    assert torch.equal(torch.autograd.grad(plain, weight)[0], torch.autograd.grad(again, weight)[0])


def test_batches_are_dealt_out(monkeypatch):
    assert list(Ranks().share(3)) == [0, 1, 2]
    monkeypatch.setenv("WORLD_SIZE", "4")
    dealt = []
    for rank in range(4):
        monkeypatch.setenv("RANK", str(rank))
        dealt.append(list(Ranks(Layout(context=2)).share(4)))
    assert dealt == [[0, 2], [0, 2], [1, 3], [1, 3]]
    with pytest.raises(UsageError, match="multiple of 4"):
        Ranks().share(6)


@pytest.mark.parametrize(
    "layout", [Layout(replicate=3), Layout(context=3), Layout(replicate=2, context=4), Layout(context=0)]
)
def test_a_layout_that_the_processes_do_not_fit_is_refused(monkeypatch, layout):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UsageError, match="the product has to divide them"):
        Ranks(layout)


def test_more_processes_than_heads_are_refused():
    with pytest.raises(UsageError, match=r"4 heads cannot be shared by 3 processes.*1, 2, 4"):
        check_context(on_meta(lambda: DiT(TINY)), 3)
    with pytest.raises(UsageError, match="only the transformer"):
        check_context(torch.nn.Linear(2, 2), 2)


def test_stretches_of_tokens_cover_them_all():
    across = Across(None, 1, 3)  # type: ignore[arg-type]
    assert across.sizes(10) == [3, 3, 4] and across.mine(torch.arange(10)).tolist() == [3, 4, 5]


def test_means_leave_out_what_is_not_a_number():
    nan = float("nan")
    told = mean_of_rows([{"a": 1.0, "b": nan, "c": nan}, {"a": 3.0, "b": 2.0, "c": nan}])
    assert told["a"] == 2 and told["b"] == 2 and told["c"] != told["c"]
