from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from minisora.device import has_fast_bf16
from minisora.dit.layers import into_gelu
from minisora.train.lora import LoRALinear


def exact(linear: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    bias = None if linear.bias is None else linear.bias.double()
    return F.gelu(F.linear(x.double(), linear.weight.double(), bias), approximate="tanh")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("grad", [True, False])
def test_a_layer_into_gelu(bias, dtype, grad):
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 96, bias=bias).to(dtype), 3 * torch.randn(50, 64, dtype=dtype)
    with torch.set_grad_enabled(grad):
        out = into_gelu(linear, x)
    rounding = 2.0**-7 if dtype == torch.bfloat16 else 1e-6
    torch.testing.assert_close(out.detach().double(), exact(linear, x).detach(), rtol=rounding, atol=rounding)
    assert out.dtype == dtype and out.requires_grad == grad


@pytest.mark.skipif(not has_fast_bf16(torch.device("cpu")), reason="this CPU has no fast bfloat16")
@torch.no_grad()
def test_sampling_has_no_gelu_of_its_own():
    linear, x = nn.Linear(64, 96).bfloat16(), torch.randn(50, 64).bfloat16()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        into_gelu(linear, x)
    names = {event.key for event in seen.key_averages()}
    assert "mkldnn::_linear_pointwise" in names and "aten::gelu" not in names


@torch.no_grad()
def test_an_adapter_beside_the_layer_is_not_passed_over():
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
    linear, x = nn.Linear(64, 96), torch.randn(50, 64).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        out = into_gelu(linear, x)
    torch.testing.assert_close(out.double(), exact(linear, x), rtol=0.02, atol=0.02)
