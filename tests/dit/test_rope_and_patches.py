from __future__ import annotations

import pytest
import torch

from minisora.data.patch import grid_positions, patchify, unpatchify
from minisora.dit.rope import rope_table, rotate_


@pytest.mark.parametrize("patch", [(1, 1, 1), (1, 2, 2), (2, 1, 3)])
def test_unpatchify_undoes_patchify(patch):
    z = torch.randn(2, 4, 6, 12, 5)
    grid = tuple(size // p for size, p in zip(z.shape[1:4], patch, strict=True))
    tokens = patchify(z, patch)
    assert tokens.shape == (2, grid[0] * grid[1] * grid[2], patch[0] * patch[1] * patch[2] * 5)
    assert torch.equal(unpatchify(tokens, patch, grid), z)


def test_tokens_and_positions_are_in_one_order():
    """Latents that hold their own place: each token then says its position."""
    places = torch.stack(torch.meshgrid(torch.arange(3.0), torch.arange(4.0), torch.arange(6.0), indexing="ij"), -1)
    first_cell = patchify(places[None], (1, 2, 2))[0, :, :3]
    positions = grid_positions(torch.arange(3), 2, 3)
    assert torch.equal(positions * torch.tensor([1, 2, 2]), first_cell)


@pytest.mark.parametrize("head_width", [2, 8, 24, 64, 128])
def test_rotation_is_multiplication_by_unit_complex_numbers(head_width):
    torch.manual_seed(0)
    positions = torch.rand(5, 3) * 30
    x = torch.randn(5, 2, head_width, dtype=torch.float64)
    side = head_width // 6  # pairs of rows, and of columns
    axes = [0] * (head_width // 2 - 2 * side) + [1] * side + [2] * side
    ranks = [*range(head_width // 2 - 2 * side), *range(side), *range(side)]
    sizes = [axes.count(axis) for axis in axes]
    rates = torch.tensor([10_000.0 ** (-n / size) for n, size in zip(ranks, sizes, strict=True)], dtype=torch.float64)
    angle = positions.double()[:, axes] * rates
    expected = torch.view_as_complex(x.unflatten(-1, (-1, 2))) * torch.polar(torch.ones_like(angle), angle)[:, None]
    table = rope_table(positions, head_width)
    got = rotate_(x.clone(), table)
    torch.testing.assert_close(got, torch.view_as_real(expected).flatten(-2), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(rotate_(got, table, back=True), x, atol=1e-6, rtol=1e-5)


def test_table_is_wans_at_whole_positions():
    wan = pytest.importorskip("diffusers.models.transformers.transformer_wan")
    cos, sin = wan.WanRotaryPosEmbed(128, (1, 2, 2), 64)(torch.empty(1, 16, 5, 12, 8))
    table = rope_table(grid_positions(torch.arange(5), 6, 4), 128)
    torch.testing.assert_close(table[..., 0], cos[0, :, 0, 0::2])
    torch.testing.assert_close(table[..., 1], sin[0, :, 0, 1::2])


def test_only_distances_count():
    """The product of a rotated query and key is invariant to moving both, by fractions too."""
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 1, 24, dtype=torch.float64)
    here, there = torch.rand(2, 1, 3) * 8

    def product(moved: torch.Tensor) -> torch.Tensor:
        turned = rotate_(q.clone(), rope_table(here + moved, 24)) * rotate_(k.clone(), rope_table(there + moved, 24))
        return turned.sum()

    for axis in range(3):
        torch.testing.assert_close(product(2.25 * torch.eye(3)[axis]), product(torch.zeros(3)), atol=1e-5, rtol=1e-5)
