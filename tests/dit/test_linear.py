"""A layer gives the result of float64 on every path, and its caches follow its weights."""

from __future__ import annotations

import gc
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from minisora.device import has_fast_bf16
from minisora.dit.kernels.linear import _ORDERED, into_gelu, linear
from minisora.dit.lora import LoRALinear

fast_bf16 = pytest.mark.skipif(not has_fast_bf16(torch.device("cpu")), reason="this CPU has no fast bfloat16")


def exact(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    bias = None if layer.bias is None else layer.bias.double()
    return F.gelu(F.linear(x.double(), layer.weight.double(), bias), approximate="tanh")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("grad", [True, False])
def test_a_layer_into_gelu(bias, dtype, grad):
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 96, bias=bias).to(dtype), 3 * torch.randn(50, 64, dtype=dtype)
    with torch.set_grad_enabled(grad):
        out = into_gelu(layer, x)
    rounding = 2.0**-7 if dtype == torch.bfloat16 else 1e-6
    torch.testing.assert_close(out.detach().double(), exact(layer, x).detach(), rtol=rounding, atol=rounding)
    assert out.dtype == dtype and out.requires_grad == grad


@fast_bf16
@torch.no_grad()
def test_sampling_has_no_gelu_of_its_own():
    layer, x = nn.Linear(64, 96).bfloat16(), torch.randn(50, 64).bfloat16()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        into_gelu(layer, x)
    names = {event.key for event in seen.key_averages()}
    assert "mkldnn::_linear_pointwise" in names and "aten::gelu" not in names


@torch.no_grad()
def test_an_adapter_next_to_the_layer_is_not_skipped():
    torch.manual_seed(0)
    adapted = LoRALinear(nn.Linear(64, 96).bfloat16(), rank=4, alpha=4)
    adapted.up.normal_()
    x = torch.randn(50, 64).bfloat16()
    near = exact(adapted.merged(), x)
    torch.testing.assert_close(into_gelu(adapted, x).double(), near, rtol=0.05, atol=0.1)
    assert not torch.allclose(exact(adapted, x), near, rtol=0.05, atol=0.1)


@torch.no_grad()
def test_float32_weights_under_autocast():
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 96), torch.randn(50, 64).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        out = into_gelu(layer, x)
    torch.testing.assert_close(out.double(), exact(layer, x), rtol=0.02, atol=0.02)


def frozen(width: int = 64) -> nn.Linear:
    return nn.Linear(width, 96).bfloat16().requires_grad_(False)


def operators(layer: nn.Module, x: torch.Tensor) -> set[str]:
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        linear(layer, x)
    return {event.key for event in seen.key_averages()}


@pytest.mark.parametrize("rows", [1, 50, 700])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("learnt", [True, False])
@torch.no_grad()
def test_a_layer_in_sampling(rows, bias, learnt):
    torch.manual_seed(0)
    layer, x = nn.Linear(80, 96, bias=bias).bfloat16().requires_grad_(learnt), torch.randn(rows, 80).bfloat16()
    right = F.linear(x.double(), layer.weight.double(), layer.bias.double() if bias else None)
    for _ in range(2):
        torch.testing.assert_close(linear(layer, x).double(), right, rtol=2.0**-7, atol=2.0**-7)


@fast_bf16
@torch.no_grad()
def test_frozen_weights_are_put_in_order_once():
    layer, x = frozen(), torch.randn(50, 64).bfloat16()
    reorder = "mkldnn::_reorder_linear_weight"
    assert reorder in operators(layer, x)
    assert reorder not in operators(layer, x) and "mkldnn::_linear_pointwise" in operators(layer, x)
    assert reorder not in operators(layer.requires_grad_(), x)


def doubled(layer: nn.Linear) -> None:
    layer.weight.mul_(2)


def loaded(layer: nn.Linear) -> None:
    layer.load_state_dict({name: 2 * value for name, value in layer.state_dict().items()})


def given_other_data(layer: nn.Linear) -> None:
    layer.weight.data = layer.weight.data * 2


def changed_in_float32(layer: nn.Linear) -> None:
    layer.float().weight.mul_(2)
    layer.bfloat16()


def given_another(layer: nn.Linear) -> None:
    layer.weight = nn.Parameter(2 * layer.weight, requires_grad=False)


@pytest.mark.parametrize("change", [doubled, loaded, given_other_data, changed_in_float32, given_another])
@torch.no_grad()
def test_weights_that_change_are_followed(change):
    layer, x = frozen(), torch.randn(50, 64).bfloat16()
    for _ in range(3):
        linear(layer, x)
        change(layer)
        torch.testing.assert_close(linear(layer, x), layer(x), rtol=2.0**-7, atol=2.0**-7)


def test_in_inference_mode_and_after_it():
    layer, x = frozen(), torch.randn(50, 64).bfloat16()
    with torch.inference_mode():
        made_there, first = deepcopy(layer), linear(layer, x)
        assert torch.equal(linear(made_there, x), first)
    with torch.no_grad():
        assert torch.equal(linear(layer, x), first) and torch.equal(linear(made_there, x), first)


@torch.no_grad()
def test_what_is_held_goes_with_its_layer_and_into_no_copy():
    layer, x = frozen(), torch.randn(50, 64).bfloat16()
    held = len(_ORDERED)
    linear(layer, x)
    twin = deepcopy(layer)
    twin.weight.mul_(2)
    torch.testing.assert_close(linear(twin, x), twin(x), rtol=2.0**-7, atol=2.0**-7)
    assert len(_ORDERED) == held + 2 * has_fast_bf16(torch.device("cpu"))
    del layer, twin
    gc.collect()
    assert len(_ORDERED) <= held


@torch.no_grad()
def test_a_hook_is_not_skipped():
    layer, x, seen = frozen(), torch.randn(50, 64).bfloat16(), []
    layer.register_forward_hook(lambda *of_call: seen.append(of_call[-1]))
    out = linear(layer, x)
    assert len(seen) == 1 and torch.equal(seen[0], out)
