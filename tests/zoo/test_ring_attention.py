"""Ring attention against full attention and torch's autograd: in threads, and over gloo."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import Queue

import pytest
import torch

from minisora.zoo import ring_attention
from minisora.zoo.nets.attention import attend
from minisora.zoo.ring_attention import Peak, Ring, compared


def ring_of_threads(count):
    mail = [Queue() for _ in range(count)]

    def place(rank):
        def pass_on(blocks):
            mail[(rank + 1) % count].put(tuple(block.clone() for block in blocks))
            return mail[rank].get

        return Ring(rank, count, pass_on)

    return [place(rank) for rank in range(count)]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_a_ring_is_full_attention_with_its_gradients(count, causal, monkeypatch):
    monkeypatch.setattr(ring_attention, "PIECE", 5)  # which does not divide a block
    rng = torch.Generator().manual_seed(0)
    q, k, v, grad = torch.randn(4, 2, 3, 12 * count, 8, dtype=torch.float64, generator=rng)

    def on_rank(ring):
        own = [each.chunk(count, 2)[ring.rank].clone().requires_grad_() for each in (q, k, v)]
        out = ring_attention.ring_attention(*own, ring, causal=causal)
        out.backward(grad.chunk(count, 2)[ring.rank])
        return [out.detach(), *(each.grad for each in own)]

    with ThreadPoolExecutor(count) as pool:
        ranks = list(pool.map(on_rank, ring_of_threads(count)))
    whole = [each.clone().requires_grad_() for each in (q, k, v)]
    mask = torch.ones(len(q[0, 0]), len(q[0, 0]), dtype=torch.bool).tril() if causal else None
    out = attend(*whole, mask=mask)
    out.backward(grad)
    for parts, expected in zip(zip(*ranks, strict=True), [out, *(each.grad for each in whole)], strict=True):
        torch.testing.assert_close(torch.cat(parts, 2), expected)


def test_scores_too_large_for_exp_are_no_trouble():
    q, k, v = torch.randn(3, 1, 1, 8, 4, generator=torch.Generator().manual_seed(0))
    ring = Ring(0, 1, partial(pytest.fail, "nobody to pass to"))
    out = ring_attention.ring_attention(1e4 * q, k, v, ring, causal=False)
    torch.testing.assert_close(out, attend(1e4 * q, k, v))


def test_the_peak_counts_what_lives_at_once():
    x = torch.zeros(256)
    with Peak() as peak:
        for _ in range(3):
            y = x + 1  # 1024 bytes; the last lives while the next is made
        y = y * 2
    assert peak.bytes == 2 * 1024


@pytest.mark.long
def test_over_gloo_it_is_exact_and_a_rank_holds_little():
    found = compared((1024, 2048), 0)
    assert found["largest error, result and gradients"] < 1e-5
    full, ring = (found[f"MiB{who}, 2048 tokens"] for who in (", full attention", " of a rank, ring of 4"))
    assert ring < full / 10
    # of a rank, twice the tokens take about twice the memory; of full attention four times
    assert ring / found["MiB of a rank, ring of 4, 1024 tokens"] < 2.3
    assert full / found["MiB, full attention, 1024 tokens"] > 3.5
