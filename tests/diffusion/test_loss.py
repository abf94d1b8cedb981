"""The loss against plain loops and a known minimum."""

import pytest
import torch

from minisora.diffusion import flow_matching_loss, loss_by_bin, velocity, velocity_error


def arrays(seed=0):
    return torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(seed))


TIMES = torch.tensor([[0.1, 0.9, 0.2, 0.6, 0.0], [0.5, 0.5, 0.7, 1.0, 0.3]])
MASK = torch.tensor([[True, False, True, True, False], [False, False, False, True, False]])


def test_loss_is_the_mean_over_tokens_to_be_generated():
    predicted, x0, eps = arrays()
    by_hand = [
        ((predicted[b, i] - eps[b, i] + x0[b, i]) ** 2).mean().item() for b in range(2) for i in range(5) if MASK[b, i]
    ]
    told = flow_matching_loss(predicted, x0, eps, TIMES, MASK)
    assert told["loss"].item() == pytest.approx(sum(by_hand) / 4)
    # times 0.1, 0.2, 0.6 and 1: two in the first quarter, one each in the third and the last
    quarters = [sum(by_hand[:2]) / 2, float("nan"), by_hand[2], by_hand[3]]
    assert [told[f"t{n}"].item() for n in range(4)] == pytest.approx(quarters, nan_ok=True)
    assert torch.equal(flow_matching_loss(velocity(x0, eps), x0, eps, TIMES, MASK)["loss"], torch.tensor(0.0))


def test_given_tokens_carry_no_gradient():
    predicted, x0, eps = arrays(1)
    predicted.requires_grad_()
    flow_matching_loss(predicted, x0, eps, TIMES, MASK)["loss"].backward()
    assert torch.equal(predicted.grad.abs().sum(-1) > 0, MASK)
    torch.testing.assert_close(predicted.grad[MASK], (predicted - eps + x0)[MASK].detach() * 2 / (4 * MASK.sum()))


def test_loss_is_taken_in_float32():
    predicted, x0, eps = arrays(3)
    rounded = predicted.bfloat16()
    error = velocity_error(rounded, x0, eps)
    assert error.dtype == torch.float32
    torch.testing.assert_close(error, (rounded.double() - eps.double() + x0.double()).square().mean(-1).float())


def test_best_constant_velocity_has_the_loss_of_the_variance():
    """x0 and eps independent standard normal: nothing beats v = 0, whose loss is 2."""
    x0, eps = torch.randn(2, 1, 20_000, 4, generator=torch.Generator().manual_seed(4))
    told = flow_matching_loss(torch.zeros_like(x0), x0, eps, torch.rand(1, 20_000), torch.ones(1, 20_000).bool())
    assert told["loss"].item() == pytest.approx(2, abs=0.05)


def test_loss_by_bin():
    t = torch.tensor([0.0, 0.1, 0.26, 0.99, 1.0, 0.5])
    loss = torch.tensor([1.0, 3.0, 5.0, 7.0, 9.0, 4.0])
    assert loss_by_bin(loss, t, 4).tolist() == [2.0, 5.0, 4.0, 8.0]
    sparse = loss_by_bin(loss[:2], t[:2], bins=4)
    assert sparse[0] == 2 and sparse[1:].isnan().all()
