"""A training run as one frozen value: the same value gives the same run, bit for bit.

Here: the types, and loading one from a user's own file.
Not here: the recipes that fill them in (recipes.py), the loop that runs them (loop.py).
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from minisora.errors import UsageError
from minisora.train.parallel import Layout


class Batch(Protocol):
    """The data of one step, a pure function of the step's number, so resuming needs one integer."""

    @property
    def tokens(self) -> int:
        """Useful tokens (for the VAE: pixels), for the log."""

    @property
    def flops(self) -> float:
        """FLOPs of forward and backward, two per multiply-add.

        Activation checkpointing and padding are not counted.
        """

    def to(self, device: torch.device) -> Any: ...


Loss = Callable[[Any, Any, torch.Generator], dict[str, Tensor]]  # (model, batch, noise) -> `loss` and its parts


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW for all parameters, or Muon for the model's `muon_params()` and AdamW for the rest."""

    lr: float
    muon_lr: float | None = None  # None: AdamW for all
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 100
    clip_sigmas: float = 3.0  # adaptive clipping: running mean of the gradient norm plus this many standard deviations


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A whole run: warm-up, `steps` at the full learning rate, then a cool-down to zero (WSD).

    Running it again in the same folder resumes from its newest checkpoint. The cool-down leaves the
    checkpoints of the stable phase untouched, so a run that was cooled down can be continued: with
    more `steps` it is the same run.

    The loop calls `prepare` before the first step; a plan (`runs/`) does not. So where `prepare` is
    set, `batch` only has to have the right sizes.
    """

    name: str
    steps: int  # of the stable phase, warm-up included
    build: Callable[[], nn.Module]  # may hold modules for training only, which `published` drops
    batch: Callable[
        [int], Batch
    ]  # n -> micro-batch n % packs of step n // packs; must pickle: worker processes call it
    loss: Loss
    publish: Callable[[Any, Path, int], None]  # (model with EMA weights, the run's folder, steps)
    optim: OptimConfig
    cooldown_steps: int = 0  # after `steps`; 0: none
    cooldown_batch: Callable[[int], Batch] | None = None  # as `batch`, with the numbering continued; None: `batch`
    published: Callable[[Any], nn.Module] = lambda model: (
        model
    )  # the part of the built model to publish, preview and keep
    averages_at: tuple[int, ...] = ()  # steps of the stable phase whose EMA weights are kept for good
    prepare: Callable[[RunConfig], RunConfig] | None = None  # makes the data, and returns the run with its batches
    ema_decay: float = 0.999
    seed: int = 0
    origin: str = ""  # names of the initial weights and the data: a folder resumes only with the same
    content: str = ""  # digest of what `origin` names: a folder resumes only with the same
    compile: bool = False
    bf16: bool | None = None  # None: where it is fast on the device
    float8: bool = False  # float8 matmuls in the blocks, by torchao; needs Ada, Hopper or a later GPU
    log_every: int = 20
    save_every_seconds: float = 300.0
    keep: int = 2  # newest checkpoints kept; if one is damaged, the one before it is used
    prefetch: int = 2  # batches prefetched, each by its own process; 0: by the loop itself
    packs: int = 1  # micro-batches per step, whose losses are averaged; distributed over the processes
    layout: Layout = field(default_factory=Layout)
    preview: Callable[[Any, Path], None] | None = None  # (model with EMA weights, folder of this step): writes samples
    preview_every: int = 500

    def __post_init__(self) -> None:
        for name in ("steps", "packs", "log_every", "preview_every", "keep"):
            if getattr(self, name) < 1:
                raise UsageError(f"{self.name}: {name}={getattr(self, name)} has to be 1 or more.")
        if self.cooldown_steps < 0:
            raise UsageError(f"{self.name}: cooldown_steps={self.cooldown_steps} has to be 0 or more.")

    @property
    def all_steps(self) -> int:
        return self.steps + self.cooldown_steps

    def settings(self) -> dict[str, Any]:
        """Settings that identify the run apart from its length, for checkpoints and references."""
        settings = {
            "recipe": self.name,
            "seed": self.seed,
            "packs": self.packs,
            "origin": self.origin,
            "content": self.content,
            "optim": asdict(self.optim),
        }
        as_read: dict[str, Any] = json.loads(json.dumps(settings))
        return as_read


def split(steps: int, *, cooldown: float) -> tuple[int, int]:
    """Split a number of steps into `steps` and `cooldown_steps`. cooldown: share of it, 0..1"""
    last = min(round(cooldown * steps), steps - 1)
    return steps - last, last


def content_of(*weights: Path) -> str:
    """Digest of files as eight digits, for `RunConfig.content`; missing files are left out."""
    sums = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in weights if path.is_file())
    return hashlib.sha256(sums).hexdigest()[:8]


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Build the model on the meta device, without memory: to check its shape without data."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")
        return build()


def run_of(load: Callable[[], ModuleType], path: Path, known: Mapping[str, Any]) -> RunConfig:
    """Call the function `recipe()` of a user's module and return its RunConfig.

    known: functions and classes the module may have called, by name; for naming the right field
        where it misspelt one

    Raises UsageError if there is no `recipe()`, it misspells a field, or it returns anything else.
    """
    module: ModuleType | None = None
    try:
        module = load()
        if not callable(getattr(module, "recipe", None)):
            raise UsageError(
                f"{path} has no function `recipe()` that returns a RunConfig. minisora.recipes shows some."
            )
        run = module.recipe()
    except TypeError as error:
        wrong = re.search(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'", str(error))
        called = {**known, **(vars(module) if module else {})}.get(wrong[1]) if wrong else None
        if wrong is None or called is None:
            raise
        fields = list(inspect.signature(called).parameters)
        nearest = get_close_matches(wrong[2], fields, n=1, cutoff=0.5)
        hint = f"Did you mean {nearest[0]}?" if nearest else f"It has: {', '.join(fields)}."
        raise UsageError(f"{path}: {wrong[1]} has no field {wrong[2]!r}. {hint}") from error
    if not isinstance(run, RunConfig):
        raise UsageError(f"`recipe()` of {path} returned {type(run).__name__}, not a RunConfig.")
    return run
