"""How a run is spread over processes: who holds what, and what is done to a model, in one place and in order.

    torchrun --nproc-per-node 8 -m minisora train RECIPE    weights split over all of them (FSDP2)
    ... --replicate 2                                      two copies, each split over half (HSDP)
    ... --context 2                                        the tokens of each pack over two (Ulysses)

One process is the same code with nothing to exchange. A step's batches are numbered from 0 and dealt out in turn, so
that a step is the same whatever the number of processes (but for the order of a sum).

Source: Zhao et al. 2023 (FSDP, arXiv:2304.11277), as torch's `fully_shard` has it; Jacobs et al. 2023 (Ulysses,
arXiv:2309.14509).

Here: processes, meshes, preparing a model.
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
LONGEST = timedelta(days=2)  # that one process may make data while the others wait
KEPT = {  # what `recomputed` does not run twice: matmuls, and attention that is one operator
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
    """How the processes of a run share its work; what is not said is split over all of them."""

    replicate: int = 1  # whole copies of the weights
    context: int = 1  # processes that share the tokens of a pack
    recompute: bool = False  # in the backward pass all but `KEPT` is worked out again


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
        """Which of the `count` batches of a step are this process's."""
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
        told: list[float] = sums.tolist()
        return told

    def gather(self, value: Any) -> list[Any]:
        """The value of each process, on all of them."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def say(self, text: str) -> None:
        """One line for people, by the first process."""
        if self.is_first:
            print(text, file=sys.stderr, flush=True)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()


@contextmanager
def joined(layout: Layout = Layout()) -> Iterator[Ranks]:  # frozen
    """The processes that torchrun started, or the one that was started alone."""
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
    """What went wrong, as the last thing that torchrun prints, and of the process where it did."""
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
            told = {"message": reason, "timestamp": int(time.time())}
            Path(path).write_text(json.dumps(told), encoding="utf-8")
        raise


def leave(code: int = 0) -> NoReturn:
    """End this process at once, its work being done.

    gloo's threads outlive their groups (torch caches meshes), and one that still holds a tensor while the interpreter
    is taken down aborts it: torchrun then calls a finished run a failed one.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def prepare(
    model: nn.Module, ranks: Ranks, *, compiled: bool = False, bf16: bool = False, float8: bool = False
) -> None:
    """Float8, recompute, compile, then split; in place.

    On CUDA attention breaks the graph, and torch.compile leaves a checkpoint with a break in it as it is: there what is
    recomputed is not compiled.

    model: with `fsdp_units()` and `compile_parts()`, as the transformer and the VAE have them; split alone, without too
    """
    if float8:
        use_float8(model, ranks.device)
    if ranks.layout.recompute:
        recompute_parts(model)
    if compiled:
        _parts(model, "be compiled")
        model.compile_parts()  # type: ignore[operator]
    if ranks.count == 1:
        return
    if ranks.layout.context > 1:
        share_packs(model, ranks)
    kind, copies = ranks.device.type, ranks.layout.replicate
    mesh = init_device_mesh(kind, (copies, ranks.count // copies), mesh_dim_names=("replicate", "shard"))
    # on a CPU autocast does what the policy would; sums stay in float32, and positions, which a block is given too
    policy = MixedPrecisionPolicy()
    if bf16 and kind == "cuda":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # the VAE's kernels are not, and could not be split
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
    """The model itself. Raises UsageError for one whose packs so many processes cannot share."""
    if not isinstance(model, DiT):
        raise UsageError("only the transformer can share a pack's tokens: leave --context at 1.")
    check_heads(model.config.num_heads, context)
    return model


def in_turn(ranks: Ranks, make: Callable[[], Made]) -> Made:
    """make() by the first process, however long it takes, then by the others, which find what the first one wrote."""
    patient = dist.new_group(backend="gloo", timeout=LONGEST) if ranks.count > 1 else None
    if ranks.is_first:
        made = make()
    if patient is not None:
        dist.barrier(patient)
        dist.destroy_process_group(patient)
    return made if ranks.is_first else make()


def syncs(model: nn.Module, now: bool) -> None:
    """Whether the next backward pass exchanges gradients; all but a step's last need not."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(now)


def whole(value: Tensor) -> Tensor:
    """All of a tensor that is split over processes; every process has to ask."""
    full: Tensor = value.full_tensor() if isinstance(value, DTensor) else value
    return full


def recompute_parts(model: nn.Module) -> None:
    """In place. Raises UsageError for a model that does not say what its parts are."""
    for part in _parts(model, "be recomputed"):
        part.forward = recomputed(part.forward)
    if isinstance(model, DiT):
        model.recomputed = True


def use_float8(model: nn.Module, device: torch.device) -> None:
    """In place: matmuls of the parts in float8, forward and backward, each tensor with a scale of its own.

    Weights, moments and checkpoints stay as they are. A CPU can do it too, which is for tests: slower than bf16.

    Source: Micikevicius et al. 2022 (arXiv:2209.05433), as torchao has it.
    Raises UsageError where the device has none, torchao is not installed, or no layer can be computed so.
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
            "adapter beside it, and its widths multiples of 16. Leave float8 out."
        )


def _parts(model: nn.Module, asked: str) -> list[nn.Module]:
    if not hasattr(model, "fsdp_units"):
        raise UsageError(
            f"{type(model).__name__} cannot {asked}: it has no `fsdp_units()`, as the transformer has them."
        )
    parts: list[nn.Module] = model.fsdp_units()  # type: ignore[operator]
    return parts


def recomputed(forward: Callable[..., Made]) -> Callable[..., Made]:
    """The same function, whose backward pass works out anew all that is cheaper than a matmul."""

    def policy(_: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        return CheckpointPolicy.MUST_SAVE if op.name() in KEPT else CheckpointPolicy.PREFER_RECOMPUTE

    def again(*args: Any, **kwargs: Any) -> Made:
        contexts = partial(create_selective_checkpoint_contexts, policy)
        whole = partial(checkpoint, forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)
        if torch.compiler.is_compiling():
            return whole()  # type: ignore[no-any-return]
        cached = torch.is_autocast_cache_enabled()
        torch.set_autocast_cache_enabled(False)  # or a part used twice casts its weights once, and again here
        try:
            return whole()  # type: ignore[no-any-return]
        finally:
            torch.set_autocast_cache_enabled(cached)

    return again


def mean_of_rows(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means by name of what several processes saw; a name whose value is not a number in some is left out there."""
    names = dict.fromkeys(name for row in rows for name in row)
    told = {name: [row[name] for row in rows if not isnan(row.get(name, nan))] for name in names}
    return {name: fmean(values) if values else nan for name, values in told.items()}
