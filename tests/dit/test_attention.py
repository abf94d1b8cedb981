from __future__ import annotations

import pytest
import torch
from torch import Tensor

from minisora.dit import attention as module
from minisora.dit.attention import Segments, attention
from minisora.dit.kernels import attention as blocks
from minisora.dit.kernels.attention import plain_attention


def reference(q: Tensor, k: Tensor, v: Tensor, q_lengths: tuple[int, ...], k_lengths: tuple[int, ...]) -> Tensor:
    """Clip by clip, head by head, as in the paper."""
    parts = []
    for one_q, one_k, one_v in zip(q.split(q_lengths), k.split(k_lengths), v.split(k_lengths), strict=True):
        weights = (torch.einsum("lnd,snd->nls", one_q, one_k) / q.shape[-1] ** 0.5).softmax(-1)
        parts.append(torch.einsum("nls,snd->lnd", weights, one_v))
    return torch.cat(parts)


def take(monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    """Weights that are kept, or worked out again two queries at a time."""
    monkeypatch.setattr(module, "KEPT_UP_TO", 10**9 if kept else 0)
    monkeypatch.setattr(blocks, "ROWS", 2)
    monkeypatch.setattr(blocks, "CELLS", 1)


LENGTHS = {
    "one clip": ((7,), (3,)),
    "equal": ((4, 4, 4), (4, 4, 4)),
    "equal queries, unequal keys": ((4, 4, 4), (2, 5, 1)),
    "unequal queries, equal keys": ((3, 5, 2), (4, 4, 4)),
    "runs": ((2, 2, 5, 5, 5, 1), (3, 1, 2, 2, 2, 6)),
    "the same length, apart": ((3, 1, 3), (2, 2, 4)),
}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_the_plain_form_is_that_of_the_paper(lengths):
    torch.manual_seed(0)
    q, k, v = (torch.randn(sum(lengths[n]), 2, 6, dtype=torch.float64) for n in (0, 1, 1))
    torch.testing.assert_close(plain_attention(q, k, v, *lengths), reference(q, k, v, *lengths))


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "again"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_each_clip_attends_to_itself(lengths, kept, monkeypatch):
    take(monkeypatch, kept)
    torch.manual_seed(0)
    q_lengths, k_lengths = lengths
    q = torch.randn(sum(q_lengths), 2, 6, dtype=torch.float64, requires_grad=True)
    k, v = (torch.randn(sum(k_lengths), 2, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    out, expected = attention(q, k, v, Segments(q_lengths, k_lengths)), plain_attention(q, k, v, q_lengths, k_lengths)
    torch.testing.assert_close(out, expected)
    with torch.no_grad():
        assert torch.equal(attention(q, k, v, Segments(q_lengths, k_lengths)), out)
    towards = torch.randn_like(out)
    for got, wanted in zip(
        torch.autograd.grad(out, (q, k, v), towards), torch.autograd.grad(expected, (q, k, v), towards), strict=True
    ):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "again"])
def test_bfloat16_is_near(kept, monkeypatch):
    take(monkeypatch, kept)
    q, k, v = torch.randn(3, 12, 2, 32, generator=torch.Generator().manual_seed(0))
    expected = reference(q, k, v, (6, 6), (6, 6))
    out = attention(q.bfloat16().requires_grad_(), k.bfloat16(), v.bfloat16(), Segments((6, 6), (6, 6)))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, atol=0.03, rtol=0.03)


def test_the_operator_keeps_torch_s_rules():
    """Its schema, fake shapes and gradients, on which compiling and checkpointing rely."""
    q, k, v = (torch.randn(n, 3, 4, dtype=torch.float64, requires_grad=True) for n in (11, 9, 9))
    q_lengths, k_lengths = (5, 5, 1), (3, 4, 2)
    assert blocks.cells(q_lengths, k_lengths) == 2 * 5 * 4 + 1 * 2
    for kept in (0, blocks.cells(q_lengths, k_lengths)):
        lengths = torch.tensor(q_lengths), torch.tensor(k_lengths)
        torch.library.opcheck(blocks.as_operator, (q, k, v, *lengths, kept))


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_a_compiled_block_is_one_graph(lengths):
    """The clips' lengths are read when it runs: no graph breaks, and none is compiled for them."""
    q_lengths, k_lengths = lengths
    q, k, v = (torch.randn(n, 2, 6, requires_grad=True) for n in (sum(q_lengths), sum(k_lengths), sum(k_lengths)))
    graph = torch.compile(attention, backend="aot_eager", fullgraph=True, dynamic=True)
    out, expected = graph(q, k, v, Segments(q_lengths, k_lengths)), reference(q, k, v, q_lengths, k_lengths)
    torch.testing.assert_close(out, expected)
    towards = torch.randn_like(out)
    for got, wanted in zip(
        torch.autograd.grad(out, (q, k, v), towards), torch.autograd.grad(expected, (q, k, v), towards), strict=True
    ):
        torch.testing.assert_close(got, wanted)


def test_long_clips_keep_no_weights():
    """What is saved for the backward pass grows with the length, not with its square."""
    saved: list[int] = []
    q, k, v = (torch.randn(1024, 2, 8, requires_grad=True) for _ in range(3))

    def keep(x: Tensor) -> Tensor:
        saved.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        attention(q, k, v, Segments((1024,), (1024,))).sum().backward()
    assert saved and max(saved) <= 1024 * 2 * 8
