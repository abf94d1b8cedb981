"""Layouts of a run over devices: memory of each device and time of a step.

A step's time is the sum of the parts that cannot overlap, each an amount over a rate from the data
sheet:

    arithmetic    3 x forward FLOPs over (peak x MFU); the MFU is assumed, and stated in every plan
    recomputing   activation checkpointing: results of cheap operations are written and read again
    exchanging    weights and gradients, beyond the time of the arithmetic that overlaps; those of
                  the first block, and tokens and heads (Ulysses), without any overlap
    updating      weights, gradients, moments and averages read and written once

Source: Zhao et al. 2023 (FSDP, arXiv:2304.11277), section 3; Jacobs et al. 2023 (Ulysses,
arXiv:2309.14509), section 3.2; Rajbhandari et al. 2020 (ZeRO, arXiv:1910.02054), sections 3 and 7,
for memory and communication.

Here: memory and time of a layout, and the choice. Not here: doing it (parallel.py), the numbers of
a step (memory.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from minisora.errors import UsageError
from minisora.runs.devices import GB, Device
from minisora.train.parallel import Layout

ROOM = 0.9  # share of a device's memory that may be planned for; the rest is the allocator's and the runtime's
REACHED = 0.7  # share of a link's rate that an exchange among many reaches
FLOAT, HALF = 4, 2  # bytes


@dataclass(frozen=True, kw_only=True)
class Work:
    """Cost of training on one sample (a clip, or a recipe's batch), independent of the device.

    kept, matmuls, working: bytes of one sample, as in StepMemory
    repeated:               the part of `forward` FLOPs that activation checkpointing repeats
    """

    parameters: int
    trained: int  # of them, those with a gradient
    states: float  # bytes of the optimiser, all parameters together
    depth: int  # blocks that are sharded, compiled and checkpointed one by one
    num_heads: int  # largest number of processes that can share a sample
    width: int
    tokens: int
    forward: float  # FLOPs
    repeated: float
    kept: float
    matmuls: float
    working: float


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A layout with its cost: bytes of each part on one device, seconds of each part of a step.

    samples: in one micro-batch; packs: micro-batches in a step, over all devices
    """

    layout: Layout
    count: int
    samples: int
    packs: int
    memory: dict[str, float]
    seconds: dict[str, float]

    @property
    def bytes(self) -> float:
        return sum(self.memory.values())

    @property
    def step_seconds(self) -> float:
        return sum(self.seconds.values())

    @property
    def batch(self) -> int:
        return self.samples * self.packs


def memory_of(work: Work, layout: Layout, count: int, samples: int) -> dict[str, float]:
    """Bytes on each of `count` devices, by part, with micro-batches of `samples`."""
    held = work.parameters * layout.replicate / count  # weights of one device
    block = work.parameters / work.depth
    share = samples / layout.context
    kept, working = work.kept * share, work.working * share
    if layout.recompute:
        entries = HALF * work.tokens * work.width * work.depth
        kept, working = (work.matmuls + entries) * share, working + kept / work.depth
    return {
        "weights": FLOAT * held,
        "gradients": FLOAT * work.trained * layout.replicate / count,
        "optimiser": work.states * layout.replicate / count,
        "average": FLOAT * held,
        # whole ones while a pass needs them: of one block and the next, with the gradient of one
        "weights in bf16": HALF * (work.parameters if count == 1 else min(3 * block, work.parameters)),
        "activations": kept,
        "working": working,
    }


def seconds_of(
    work: Work, layout: Layout, count: int, samples: int, packs: int, device: Device, mfu: float
) -> dict[str, float]:
    """Seconds of a step by part."""
    own = packs * layout.context // count  # packs that a device works on, with the others of its context
    share = own * samples / layout.context
    arithmetic = 3 * work.forward * share / (device.flops * mfu)
    again = 0.0
    if layout.recompute:
        cheap = 2 * (work.kept - work.matmuls) * share / device.bandwidth
        again = work.repeated * share / (device.flops * mfu) + cheap
    weights = _weights_seconds(work, layout, count, own, device)
    hidden = max(0.0, weights - arithmetic) + min(weights, arithmetic) / work.depth
    passes = 3 if layout.recompute else 2  # in each: q, k, v and the result; of attention to text q and the result
    moved = passes * 6 * HALF * work.depth * work.tokens * work.width * share * (layout.context - 1) / layout.context
    tokens = moved / (REACHED * _rate(layout.context, device))
    touched = 1.5 * (FLOAT * (2 * work.parameters + work.trained) + work.states)  # most is read and written
    return {
        "arithmetic": arithmetic,
        "recomputing": again,
        "exchanging weights": hidden,
        "exchanging tokens": tokens,
        "updating": touched * layout.replicate / count / device.bandwidth,
    }


def _weights_seconds(work: Work, layout: Layout, count: int, own: int, device: Device) -> float:
    """Seconds that links are busy with weights and gradients."""
    split = count // layout.replicate
    gathered = own * 2 * HALF * work.parameters * (split - 1) / split  # forward and backward, for every pack
    scattered = FLOAT * work.trained * (split - 1) / split
    within = (gathered + scattered) / _rate(split, device)
    copies = layout.replicate
    apart = device.network if count > device.per_node else device.link
    between = 2 * FLOAT * work.trained / split * (copies - 1) / copies / apart
    return (within + between) / REACHED


def _rate(ranks: int, device: Device) -> float:
    """Bytes/s of an exchange; across nodes it uses the adapters of all devices of a node."""
    return device.link if ranks <= device.per_node else min(device.link, device.per_node * device.network)


def candidates(work: Work, device: Device, count: int) -> Iterator[Layout]:
    """Candidate layouts: weights split over all, a node or none; a sample on one device or more."""
    splits = {count, 1, *([device.per_node] if count % device.per_node == 0 else [])}
    shared = [n for n in range(1, min(count, device.per_node) + 1) if work.num_heads % n == 0 and count % n == 0]
    for split in sorted(splits):
        for context in shared:
            if count % (count // split * context) == 0:  # as parallel.Ranks asks
                for recompute in (False, True):
                    yield Layout(replicate=count // split, context=context, recompute=recompute)


def fastest(work: Work, device: Device, count: int, *, mfu: float, batch: int | None = None) -> Placed:
    """The layout with the most samples a second among those that fit.

    batch: samples of a step; None: one micro-batch for each device or group of devices, as large as
        is worthwhile

    Raises UsageError if none fits, with the smallest number that would.
    """
    best: Placed | None = None
    least = (float("inf"), Layout())
    for layout in candidates(work, device, count):
        groups = count // layout.context
        samples = 1
        while True:
            memory = memory_of(work, layout, count, samples)
            if samples == 1:
                least = min(least, (sum(memory.values()), layout), key=lambda pair: pair[0])
            over = batch is not None and samples * groups > batch
            if over or sum(memory.values()) > ROOM * device.memory or samples > 4096:
                break
            if batch is None or batch % (samples * groups) == 0:
                packs = groups if batch is None else batch // samples
                seconds = seconds_of(work, layout, count, samples, packs, device, mfu)
                placed = Placed(
                    layout=layout, count=count, samples=samples, packs=packs, memory=memory, seconds=seconds
                )
                if best is None or _pace(placed) < 0.99 * _pace(best):  # a larger pack has to be worth it
                    best = placed
            samples *= 2
    if best is None and least[0] <= ROOM * device.memory:
        raise UsageError(
            f"a step of {batch} samples cannot be dealt out to {count} devices. Give a --batch that is a multiple of "
            f"{count}, or fewer devices."
        )
    if best is None:
        need, has = least[0] / GB, ROOM * device.memory / GB
        raise UsageError(
            f"no layout fits {count} x {device.name}: the smallest needs {need:,.0f} GB on each and {has:,.0f} may be "
            f"used. Take more devices, larger ones, or a smaller size or shorter clips."
        )
    return best


def _pace(placed: Placed) -> float:
    return placed.step_seconds / placed.batch
