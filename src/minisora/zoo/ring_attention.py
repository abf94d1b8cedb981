"""Ring Attention: exact attention over a sequence that no single device holds.

Liu, Zaharia and Abbeel 2023, "Ring Attention with Blockwise Transformers for Near-Infinite
Context", arXiv:2310.01889.

What was new: each device keeps the queries of its part of the sequence, and blocks of keys and
values travel around a ring of devices. While a device attends to one block it already passes that
block on and receives the next, so that communication costs no time as long as a block is large
enough, and the length of the context grows with the number of devices. Nothing is approximated:
softmax is a sum, and sums may be taken block by block. Before it came this online softmax (Milakov
and Gimelshein 2018, arXiv:1805.02867), its use inside a device (FlashAttention; Blockwise Parallel
Transformers, arXiv:2305.19370) and context divided by heads: the Ulysses of dit/ulysses.py, which
can use no more devices than there are heads. After it: LWM (lwm.py), a million tokens of video
and text; Striped Attention (arXiv:2311.09431), which gives all devices equal work where attention
is causal: here the ranks at the front of the sequence skip blocks and wait.

Smaller here: processes of one machine, which talk by gloo, are the devices, so communication is
hidden by nothing, and it is the memory that can be measured. The feedforward network needs no ring:
it acts on each token.

In the paper's symbols b is the batch, h the width, c the tokens of a block, and a device holds six
blocks of b c h at most (section 3): its queries, the keys and values at work, those that arrive,
its output. Scores are worked out for PIECE keys at a time, so no c x c matrix is kept either.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.multiprocessing.spawn import spawn
from torch.utils._python_dispatch import TorchDispatchMode

from minisora.zoo.frame.entry import Entry, Models, Paper
from minisora.zoo.nets.attention import attend

PIECE = 256  # keys whose scores are worked out at once
RANKS, LENGTHS, HEADS, HEAD_WIDTH = 4, (1024, 2048, 4096), 2, 32
Blocks = tuple[Tensor, ...]


@dataclass(frozen=True)
class Ring:
    """A place in the ring.

    pass_on: starts to send blocks to the next rank; what it returns waits for those of the last
    """

    rank: int
    count: int
    pass_on: Callable[[Blocks], Callable[[], Blocks]]


def gloo_ring() -> Ring:
    """The ring of all processes of torch.distributed."""
    rank, count = dist.get_rank(), dist.get_world_size()

    def pass_on(blocks: Blocks) -> Callable[[], Blocks]:
        arriving = tuple(block.new_empty(block.shape) for block in blocks)
        work = [dist.isend(block.contiguous(), (rank + 1) % count) for block in blocks]
        work += [dist.irecv(block, (rank - 1) % count) for block in arriving]

        def wait() -> Blocks:
            for each in work:
                assert each is not None
                each.wait()
            return arriving

        return wait

    return Ring(rank, count, pass_on)


def ring_attention(q: Tensor, k: Tensor, v: Tensor, ring: Ring, *, causal: bool = True) -> Tensor:
    """Attention of this rank's queries to the keys of all ranks: each (B, N, L / count, D)."""
    attended: Tensor = _Ring.apply(q, k, v, ring, causal)  # type: ignore[no-untyped-call]
    return attended


class Sums(NamedTuple):
    """Softmax block by block: sums of exp(s - m) v and of exp(s - m); m, the largest s so far."""

    numerator: Tensor
    denominator: Tensor
    maximum: Tensor

    def and_block(self, scores: Tensor, v: Tensor) -> Sums:
        m = torch.maximum(self.maximum, scores.amax(-1, keepdim=True))
        weights, before = (scores - m).exp(), (self.maximum - m).exp()
        return Sums(self.numerator * before + weights @ v, self.denominator * before + weights.sum(-1, True), m)


class _Ring(torch.autograd.Function):
    """Algorithm 1; backwards the gradients of a block travel with it, and end at home."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, ring: Ring, causal: bool) -> Tensor:
        sums = Sums(torch.zeros_like(q), q.new_zeros(*q.shape[:3], 1), q.new_full((*q.shape[:3], 1), -torch.inf))
        ctx.own, ctx.ring, ctx.causal = (k, v), ring, causal
        for step in range(ring.count):
            arriving = ring.pass_on((k, v)) if step + 1 < ring.count else None
            for keys, scores in _pieces(q, k, ring, step, causal):
                sums = sums.and_block(scores, v[:, :, keys])
            if arriving is not None:
                k, v = arriving()
        out = sums.numerator / sums.denominator
        ctx.save_for_backward(q, out, sums.maximum + sums.denominator.log())
        return out

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        (q, out, log_sum), (k, v), ring = ctx.saved_tensors, ctx.own, ctx.ring
        inner = (d_out * out).sum(-1, keepdim=True)
        d_q, d_k, d_v = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for step in range(ring.count):
            arriving = ring.pass_on((k, v)) if step + 1 < ring.count else None
            for keys, scores in _pieces(q, k, ring, step, ctx.causal):
                weights = (scores - log_sum).exp()
                d_v[:, :, keys] += weights.mT @ d_out
                d_scores = weights * (d_out @ v[:, :, keys].mT - inner) * q.shape[-1] ** -0.5
                d_q += d_scores @ k[:, :, keys]
                d_k[:, :, keys] += d_scores.mT @ q
            if arriving is not None:
                k, v = arriving()
            if ring.count > 1:
                d_k, d_v = ring.pass_on((d_k, d_v))()
        return d_q, d_k, d_v, None, None


def _pieces(q: Tensor, k: Tensor, ring: Ring, step: int, causal: bool) -> Iterator[tuple[slice, Tensor]]:
    """Scores of the queries and PIECE keys at a time of the block that has come `step` places."""
    source, size = (ring.rank - step) % ring.count, k.shape[2]
    if causal and source > ring.rank:
        return
    places = torch.arange(size, device=q.device)
    for begin in range(0, size, PIECE):
        keys = slice(begin, begin + PIECE)
        scores = (q * q.shape[-1] ** -0.5) @ k[:, :, keys].mT
        if causal and source == ring.rank:
            scores = scores.masked_fill(places[:, None] < places[keys], -torch.inf)
        yield keys, scores


class Peak(TorchDispatchMode):
    """Most bytes that tensors made inside it held at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: dict[int, tuple[StorageWeakRef, int]] = {}
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.held = {key: each for key, each in self.held.items() if not each[0].expired()}
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                ref = StorageWeakRef(tensor.untyped_storage())
                self.held[ref.cdata] = (ref, tensor.untyped_storage().nbytes())
        self.bytes = max(self.bytes, sum(size for _, size in self.held.values()))
        return result


def drawn(length: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v and a gradient of the result: four of (1, N, length, D)."""
    rng = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(4, 1, HEADS, length, HEAD_WIDTH, generator=rng))


def measured(attention: Callable[[Tensor, Tensor, Tensor], Tensor], parts: Blocks) -> tuple[Tensor, int]:
    """The result and the three gradients, (4, 1, N, L, D), and the peak of bytes behind them."""
    q, k, v = (part.clone().requires_grad_() for part in parts[:3])
    with Peak() as peak:
        out = attention(q, k, v)
        out.backward(parts[3])
    assert q.grad is not None and k.grad is not None and v.grad is not None
    return torch.stack([out.detach(), q.grad, k.grad, v.grad]), peak.bytes


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attend(q, k, v, mask=torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).tril())


def _on_rank(rank: int, folder: str, lengths: tuple[int, ...], seed: int) -> None:
    with gloo(rank, RANKS, folder):
        ring = gloo_ring()
        for length in lengths:
            own = tuple(each.chunk(RANKS, 2)[rank] for each in drawn(length, seed))
            result = measured(lambda q, k, v: ring_attention(q, k, v, ring), own)
            torch.save(result, Path(folder, f"{length}-{rank}.pt"))
        dist.barrier()


@contextmanager
def gloo(rank: int, count: int, folder: str) -> Iterator[None]:
    """Join this process to the others of `count` that were started alike."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=count)
    try:
        yield
    finally:
        dist.destroy_process_group()


def compared(lengths: tuple[int, ...], seed: int) -> dict[str, float]:
    """Largest error against full attention, forward and backward, and MiB of a rank by length."""
    found, error = {}, 0.0
    with tempfile.TemporaryDirectory() as folder:
        spawn(_on_rank, (folder, lengths, seed), nprocs=RANKS)
        for length in lengths:
            ranks = [torch.load(Path(folder, f"{length}-{rank}.pt")) for rank in range(RANKS)]
            full, whole = measured(causal_attention, drawn(length, seed))
            error = max(error, float((torch.cat([result for result, _ in ranks], 3) - full).abs().max()))
            found[f"MiB, full attention, {length} tokens"] = whole / 2**20
            found[f"MiB of a rank, ring of {RANKS}, {length} tokens"] = max(peak for _, peak in ranks) / 2**20
    return {"largest error, result and gradients": error, **found}


def figures(models: Models, seed: int) -> dict[str, float]:
    return compared(LENGTHS, seed)


ENTRY = Entry(
    name="ring_attention",
    title="Ring Attention",
    paper=Paper(
        authors="Liu, Zaharia and Abbeel",
        year=2023,
        title="Ring Attention with Blockwise Transformers for Near-Infinite Context",
        arxiv="2310.01889",
    ),
    family="long",
    new="Keys and values travel around a ring of devices: exact attention over what none of them holds.",
    figures=figures,
)
