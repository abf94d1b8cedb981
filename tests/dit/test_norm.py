from __future__ import annotations

import pytest
import torch
from torch import Tensor

from minisora.dit.block import RMSNorm
from minisora.dit.kernels import norm
from minisora.dit.kernels.norm import plain_rms_norm, rms_norm
from minisora.dit.rope import rope_table

HEAD = 12


def exact(x: Tensor, gain: Tensor, eps: float, table: Tensor | None) -> Tensor:
    """The paper's formula, then the rotation, each as it is written, in float64."""
    rows = x.double() / torch.sqrt(x.double().square().mean(-1, keepdim=True) + eps) * gain.double()
    if table is None:
        return rows
    even, odd = rows.unflatten(-1, (-1, HEAD // 2, 2)).unbind(-1)
    cos, sin = table.double().view(len(x), *[1] * (x.ndim - 1), HEAD // 2, 2).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-3)


def given(shape: tuple[int, ...], dtype: torch.dtype, turned: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    torch.manual_seed(0)
    x = torch.randn(shape[0], *shape[1:-1], shape[-1] + 5).to(dtype)[..., : shape[-1]]  # rows that do not lie together
    table = rope_table(torch.rand(shape[0], 3) * 9, HEAD) if turned else None
    return x.requires_grad_(), torch.randn(shape[1:]).requires_grad_(), table


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(1, 24), (11, 24), (11, 2, 24), (40, 2, 36)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("form", [plain_rms_norm, rms_norm])
def test_both_forms_are_the_formula_and_so_are_their_gradients(form, shape, turned, dtype, monkeypatch):
    monkeypatch.setattr(norm, "CELLS", 100)
    x, gain, table = given(shape, dtype, turned)
    out, expected = form(x, gain, 1e-3, table), exact(x, gain, 1e-3, table)
    torch.testing.assert_close(out, expected.to(dtype))
    with torch.no_grad():
        assert torch.equal(form(x, gain, 1e-3, table), out)
    towards = torch.randn_like(out)
    got = torch.autograd.grad(out, (x, gain), towards)
    wanted = torch.autograd.grad(expected, (x, gain), towards.double())
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_by_differences():
    x, gain, table = given((5, 2, 24), torch.float64, True)
    gain = gain.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda *args: rms_norm(*args, 1e-3, table), (x, gain))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("form", [plain_rms_norm, rms_norm])
def test_bfloat16_is_rounded_once(form, turned):
    x, gain, table = given((30, 2, 24), torch.bfloat16, turned)
    out = form(x, gain, 1e-6, table)
    assert out.dtype == torch.bfloat16
    expected = exact(x, gain, 1e-6, table)
    torch.testing.assert_close(out.double(), expected, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("turned", [False, True])
def test_the_operator_keeps_torch_s_rules(turned):
    x, gain, table = given((7, 2, 24), torch.float32, turned)
    torch.library.opcheck(norm._rms_norm, (x, gain, 1e-6, table))


@pytest.mark.parametrize("turned", [False, True])
def test_compiled_it_is_the_same(turned):
    x, gain, table = given((30, 2, 24), torch.float32, turned)
    out = rms_norm(x, gain, 1e-6, table)
    compiled = torch.compile(rms_norm, backend="aot_eager", fullgraph=True)(x, gain, 1e-6, table)
    torch.testing.assert_close(compiled, out)
    towards = torch.randn_like(out)
    for got, wanted in zip(
        torch.autograd.grad(compiled, (x, gain), towards), torch.autograd.grad(out, (x, gain), towards), strict=True
    ):
        torch.testing.assert_close(got, wanted)


def test_what_is_kept_is_what_it_was_given():
    """No float32 copy of the stream: beside the input a number for each row."""
    saved: list[Tensor] = []
    x, gain, table = given((64, 2, 24), torch.bfloat16, True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        rms_norm(x, gain, 1e-6, table)
    assert sum(t.numel() for t in saved if t.data_ptr() != x.data_ptr()) <= 64 * 2 + gain.numel() + 64 * HEAD


def test_a_frozen_gain_gets_no_gradient():
    module = RMSNorm(8).requires_grad_(False)
    x = torch.randn(3, 8, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None and module.gain.grad is None
