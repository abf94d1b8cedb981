"""Rows of a table by token times: their gradient, run eagerly and compiled."""

from __future__ import annotations

import pytest
import torch

from minisora.dit.kernels.modulation import TimeIndex


@pytest.mark.parametrize("index", [[0, 0, 2, 2, 2, 1], [3, 1, 3, 0, 3, 1], [2, 2]])
def test_the_gradient_of_rows_is_the_sum_over_the_tokens_of_each_time(index: list[int]):
    table = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(TimeIndex(torch.tensor(index)).rows, (table,))


@pytest.mark.long
def test_a_compiled_table_gets_the_same_gradient():
    table = torch.randn(9, 32, requires_grad=True)
    times, weights = TimeIndex(torch.randint(0, 9, (100,))), torch.randn(100, 32)

    def loss(table: torch.Tensor) -> torch.Tensor:
        return (times.rows(1 + table) * weights).square().sum()

    (eager,) = torch.autograd.grad(loss(table), table)
    (compiled,) = torch.autograd.grad(torch.compile(loss, dynamic=True)(table), table)
    torch.testing.assert_close(compiled, eager)
