"""Distributed training: sharded weights (FSDP), copies of shards (HSDP), shared tokens (Ulysses).

    torchrun --nproc-per-node 8 -m minisora train RECIPE
                         weights split over all processes (FSDP2)
    ... --replicate 2    two copies, each split over half of them (HSDP)
    ... --context 2      the tokens of each pack over two (Ulysses)

A single process runs the same code without communication. The micro-batches of a step are numbered
from 0 and assigned round-robin, so a step is the same for any number of processes (up to the order
of a sum).

Source: Zhao et al. 2023 (FSDP, arXiv:2304.11277), as torch's `fully_shard` implements it; Jacobs et
al. 2023 (Ulysses, arXiv:2309.14509).

Here: processes, meshes, preparing a model: float8, activation checkpointing, compiling, sharding,
in this order.
Not here: the exchange inside attention (dit/ulysses.py), the loop (loop.py).
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from math import isnan, nan
from pathlib import Path
from statistics import fmean
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from minisora.device import default_device
from minisora.dit.model import DiT
from minisora.dit.ulysses import Across, check_heads
from minisora.errors import UsageError

Made = TypeVar("Made")
LONGEST = timedelta(days=2)  # one process may prepare data so long while the others wait
KEPT = {  # results kept under activation checkpointing: matmuls, and attention that is one operator
    "aten::mm",
    "aten::addmm",
    "aten::_scaled_mm",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention",
    "minisora::attention_by_blocks",
    "torch_attn::_varlen_attn",
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Distribution of a run over processes; weights are sharded over count / replicate of them."""

    replicate: int = 1  # full copies of the weights
    context: int = 1  # processes that share the tokens of a pack
    recompute: bool = False  # activation checkpointing: the backward pass recomputes all but `KEPT`


class Ranks:
    """The processes of this run, and which of them this is."""

    def __init__(self, layout: Layout = Layout()) -> None:  # frozen
        self.count = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        self.layout = layout
        if min(layout.replicate, layout.context) < 1 or self.count % (layout.replicate * layout.context):
            raise UsageError(
                f"{self.count} processes cannot be {layout.replicate} copies of groups of {layout.context}: "
                f"the product has to divide them. Change --replicate, --context or torchrun's --nproc-per-node."
            )
        self.device = default_device()
        if self.device.type == "cuda":
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            torch.cuda.set_device(self.device)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, count: int) -> range:
        """The micro-batches of this process, among the `count` of a step.

        Raises UsageError if they do not divide.
        """
        groups = self.count // self.layout.context
        if count % groups:
            raise UsageError(
                f"the {count} batches of a step cannot be dealt out to {groups} processes: "
                f"set `packs` in the recipe to a multiple of {groups}."
            )
        return range(self.rank // self.layout.context, count, groups)

    def total(self, *values: float) -> list[float]:
        """Sums over all processes."""
        if self.count == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(sums)
        totals: list[float] = sums.tolist()
        return totals

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, on each of them."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def say(self, text: str) -> None:
        """Print one line to stderr, on rank 0 only."""
        if self.is_first:
            print(text, file=sys.stderr, flush=True)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            dist.barrier()


@contextmanager
def joined(layout: Layout = Layout()) -> Iterator[Ranks]:  # frozen
    """Join the processes that torchrun started; a single process otherwise."""
    with _reported():
        ranks = Ranks(layout)
        begun = ranks.count > 1 and not dist.is_initialized()
        if begun:
            dist.init_process_group("nccl" if ranks.device.type == "cuda" else "gloo")
        try:
            yield ranks
            ranks.wait()  # nobody hangs up while another is still reading
        finally:
            if begun:
                dist.destroy_process_group()


@contextmanager
def _reported() -> Iterator[None]:
    """Report an error to torchrun, which prints that of the process that failed first."""
    try:
        yield
    except Exception as error:
        if isinstance(error, RuntimeError) and re.search("(closed|reset) by peer|Broken pipe", str(error)):
            raise UsageError(
                "another process of this run has ended, and says why itself; a KILL without a word is often want of "
                "memory. The same command goes on from the newest checkpoint."
            ) from error
        if path := os.environ.get("TORCHELASTIC_ERROR_FILE"):  # which torchrun reads when a process has failed
            reason = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
            report = {"message": reason, "timestamp": int(time.time())}
            Path(path).write_text(json.dumps(report), encoding="utf-8")
        raise


def leave(code: int = 0) -> NoReturn:
    """End this process at once, without interpreter shutdown.

    gloo's threads outlive their groups (torch caches meshes), and one that still holds a tensor
    during interpreter shutdown aborts it: torchrun would then report a finished run as failed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def prepare(
    model: nn.Module, ranks: Ranks, *, compiled: bool = False, bf16: bool = False, float8: bool = False
) -> None:
    """Convert to float8, checkpoint activations, compile, then shard; in place.

    On CUDA attention breaks the graph, and torch.compile does not compile a checkpointed region
    with a graph break: there blocks under activation checkpointing stay uncompiled.

    model: with `fsdp_units()` and `compile_parts()`, as the transformer and the VAE have them;
        sharding works without
    """
    if float8:
        use_float8(model, ranks.device)
    if ranks.layout.recompute:
        checkpoint_activations(model)
    if compiled:
        _parts(model, "be compiled")
        model.compile_parts()  # type: ignore[operator]
    if ranks.count == 1:
        return
    if ranks.layout.context > 1:
        share_packs(model, ranks)
    kind, copies = ranks.device.type, ranks.layout.replicate
    mesh = init_device_mesh(kind, (copies, ranks.count // copies), mesh_dim_names=("replicate", "shard"))
    # on a CPU autocast does the casting; reductions stay in float32, and so do positions, an input
    # of every block
    policy = MixedPrecisionPolicy()
    if bf16 and kind == "cuda":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # the VAE's kernels are channels-last, which cannot be sharded
    split = partial(fully_shard, mesh=mesh if copies > 1 else mesh["shard"], mp_policy=policy)
    for part in model.fsdp_units() if hasattr(model, "fsdp_units") else []:  # type: ignore[operator]
        split(part)
        if hasattr(part, "text_kv"):
            register_fsdp_forward_method(part, "text_kv")
    split(model)


def share_packs(dit: nn.Module, ranks: Ranks) -> None:
    """Let groups of `context` processes work on each pack together, in training and in sampling."""
    context = ranks.layout.context
    mesh = init_device_mesh(ranks.device.type, (ranks.count // context, context), mesh_dim_names=("data", "context"))
    check_context(dit, context).across = Across(mesh["context"].get_group(), mesh["context"].get_local_rank(), context)


def check_context(model: nn.Module, context: int) -> DiT:
    """Return the model. Raises UsageError if its packs cannot be shared by `context` processes."""
    if not isinstance(model, DiT):
        raise UsageError("only the transformer can share a pack's tokens: leave --context at 1.")
    check_heads(model.config.num_heads, context)
    return model


def main_process_first(ranks: Ranks, make: Callable[[], Made]) -> Made:
    """Call make() on rank 0, without a time limit, then on the others, which find its files."""
    patient = dist.new_group(backend="gloo", timeout=LONGEST) if ranks.count > 1 else None
    if ranks.is_first:
        made = make()
    if patient is not None:
        dist.barrier(patient)
        dist.destroy_process_group(patient)
    return made if ranks.is_first else make()


def sync_gradients(model: nn.Module, now: bool) -> None:
    """Switch gradient synchronisation for the next backward pass; only a step's last needs it."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(now)


def whole(value: Tensor) -> Tensor:
    """The full tensor, gathered from all processes; every process has to call."""
    full: Tensor = value.full_tensor() if isinstance(value, DTensor) else value
    return full


def checkpoint_activations(model: nn.Module) -> None:
    """Turn on activation checkpointing, in place.

    Raises UsageError for a model without `fsdp_units()`.
    """
    for part in _parts(model, "use activation checkpointing"):
        part.forward = checkpointed(part.forward)
    if isinstance(model, DiT):
        model.checkpoint_activations = True


def use_float8(model: nn.Module, device: torch.device) -> None:
    """Compute the blocks' matmuls in float8, forward and backward, one scale per tensor; in place.

    Weights, optimizer states and checkpoints keep their dtype. It also runs on a CPU, slower than
    bf16, for tests.

    Source: Micikevicius et al. 2022 (arXiv:2209.05433), as torchao implements it. Raises UsageError
    if the device has no float8, torchao is not installed, or no layer is eligible.
    """
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 9):
        raise UsageError(f"{torch.cuda.get_device_name(device)} has no float8: leave it out. Ada and Hopper have it.")
    try:
        from torchao.float8 import Float8LinearConfig, convert_to_float8_training
        from torchao.float8.float8_linear import Float8Linear
    except ImportError:
        raise UsageError("float8 needs torchao: pip install 'minisora[float8]'.") from None

    def fits(layer: nn.Module, _: str) -> bool:
        return type(layer) is nn.Linear and layer.in_features % 16 == layer.out_features % 16 == 0

    config = Float8LinearConfig(pad_inner_dim=True)  # a pack has any number of tokens
    for part in _parts(model, "be computed in float8"):
        convert_to_float8_training(part, module_filter_fn=fits, config=config)
    if not any(isinstance(layer, Float8Linear) for layer in model.modules()):
        raise UsageError(
            f"no layer of this {type(model).__name__} can be computed in float8: it has to be a plain one, without an "
            "adapter, and its widths multiples of 16. Leave float8 out."
        )


def _parts(model: nn.Module, asked: str) -> list[nn.Module]:
    if not hasattr(model, "fsdp_units"):
        raise UsageError(
            f"{type(model).__name__} cannot {asked}: it has no `fsdp_units()`, as the transformer has them."
        )
    parts: list[nn.Module] = model.fsdp_units()  # type: ignore[operator]
    return parts


def checkpointed(forward: Callable[..., Made]) -> Callable[..., Made]:
    """Selective activation checkpointing: the backward recomputes all but the results in `KEPT`."""

    def policy(_: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        return CheckpointPolicy.MUST_SAVE if op.name() in KEPT else CheckpointPolicy.PREFER_RECOMPUTE

    def again(*args: Any, **kwargs: Any) -> Made:
        contexts = partial(create_selective_checkpoint_contexts, policy)
        whole = partial(checkpoint, forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)
        if torch.compiler.is_compiling():
            return whole()  # type: ignore[no-any-return]
        cached = torch.is_autocast_cache_enabled()
        torch.set_autocast_cache_enabled(False)  # else the two passes cast the weights a different number of times
        try:
            return whole()  # type: ignore[no-any-return]
        finally:
            torch.set_autocast_cache_enabled(cached)

    return again


def mean_of_rows(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over processes by name, ignoring NaN; NaN if no process has a number."""
    names = dict.fromkeys(name for row in rows for name in row)
    numbers = {name: [row[name] for row in rows if not isnan(row.get(name, nan))] for name in names}
    return {name: fmean(values) if values else nan for name, values in numbers.items()}
