"""Adapters: no effect at first, merged equal to apart, all else bit for bit as it was."""

from __future__ import annotations

import pytest
import torch

from minisora.dit.lora import LoRALinear, add_lora, merge_lora
from minisora.errors import UsageError
from minisora.train.optim import OptimConfig, build_optimizers
from minisora.train.velocity import dit_loss
from tests.helpers.steps import batch, network


def said(dit: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return dit(batch(0).clean)


def test_it_says_the_same_at_first():
    plain = network()
    assert torch.equal(said(add_lora(network(), 4)), said(plain))


@pytest.mark.parametrize("alpha", [None, 16.0])
def test_merged_it_says_what_it_said_apart(alpha):
    dit = add_lora(network(), 3, alpha=alpha)
    generator = torch.Generator().manual_seed(1)
    for module in dit.modules():
        if isinstance(module, LoRALinear):
            torch.nn.init.normal_(module.up, std=0.2, generator=generator)
    apart, names = said(dit), set(network().state_dict())
    assert not torch.allclose(apart, said(network()), atol=1e-3)
    merged = merge_lora(dit)
    assert torch.allclose(said(merged), apart, atol=1e-5)
    assert set(merged.state_dict()) == names and not any(isinstance(m, LoRALinear) for m in merged.modules())


def test_only_adapters_learn_and_the_rest_stays_bit_for_bit():
    dit = add_lora(network(), 4)
    before = {name: p.detach().clone() for name, p in dit.named_parameters()}
    optimizers = build_optimizers(dit, OptimConfig(lr=1e-2, muon_lr=0.02))
    for step in range(3):
        dit_loss(dit, batch(step), torch.Generator().manual_seed(step))["loss"].backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    changed = {name for name, p in dit.named_parameters() if not torch.equal(p, before[name])}
    adapters = {name for name in before if name.endswith((".down", ".up"))}
    assert changed <= adapters and {name for name in adapters if name.endswith(".up")} <= changed


def test_a_rank_of_nothing_is_refused():
    with pytest.raises(UsageError, match="rank 0"):
        add_lora(network(), 0)
