"""The loss against plain loops and a known minimum."""

import pytest
import torch

from minisora.diffusion import flow_matching_loss, loss_by_bin, velocity, velocity_error


def arrays(seed=0):
    return torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(seed))


def test_loss_is_the_mean_over_tokens_to_be_made():
    predicted, x0, eps = arrays()
    made = torch.tensor([[True, False, True, True, False], [False, False, False, True, False]])
    by_hand = [
        ((predicted[b, i] - eps[b, i] + x0[b, i]) ** 2).mean().item() for b in range(2) for i in range(5) if made[b, i]
    ]
    assert flow_matching_loss(predicted, x0, eps, made).item() == pytest.approx(sum(by_hand) / 4)
    assert torch.equal(flow_matching_loss(velocity(x0, eps), x0, eps, made), torch.tensor(0.0))


def test_given_tokens_carry_no_gradient_and_weights_weigh():
    predicted, x0, eps = arrays(1)
    predicted.requires_grad_()
    made = torch.zeros(2, 5)
    made[0, 1], made[1, 2] = 1.0, 3.0
    loss = flow_matching_loss(predicted, x0, eps, made)
    error = velocity_error(predicted, x0, eps)
    torch.testing.assert_close(loss, 0.25 * error[0, 1] + 0.75 * error[1, 2])
    loss.backward()
    assert torch.equal(predicted.grad.abs().sum(-1) > 0, made > 0)


def test_nothing_to_be_made_is_zero_with_a_zero_gradient():
    predicted, x0, eps = arrays(2)
    predicted.requires_grad_()
    loss = flow_matching_loss(predicted, x0, eps, torch.zeros(2, 5, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and not predicted.grad.any()


def test_loss_is_taken_in_float32():
    predicted, x0, eps = arrays(3)
    made = torch.ones(2, 5, dtype=torch.bool)
    rounded = predicted.bfloat16()
    loss = flow_matching_loss(rounded, x0, eps, made)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, (rounded.double() - eps.double() + x0.double()).square().mean().float())


def test_best_constant_velocity_has_the_loss_of_the_variance():
    """x0 and eps independent standard normal: nothing beats v = 0, whose loss is 2."""
    x0, eps = torch.randn(2, 1, 20_000, 4, generator=torch.Generator().manual_seed(4))
    loss = flow_matching_loss(torch.zeros_like(x0), x0, eps, torch.ones(1, 20_000))
    assert loss.item() == pytest.approx(2, abs=0.05)


def test_loss_by_bin():
    t = torch.tensor([0.0, 0.1, 0.26, 0.99, 1.0, 0.5])
    loss = torch.tensor([1.0, 3.0, 5.0, 7.0, 9.0, 4.0])
    assert loss_by_bin(loss, t, 4).tolist() == [2.0, 5.0, 4.0, 8.0]
    sparse = loss_by_bin(loss[:2], t[:2], bins=4)
    assert sparse[0] == 2 and sparse[1:].isnan().all()
