"""What a run is: one frozen value that says everything, so that the same value gives the same run.

Here: the types, and asking a user's own file for one. The recipes that fill them in are in recipes/, the loop that
runs them in loop.py.
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
    """What one step is given. Its making is a pure function of the step, so resuming needs one integer."""

    @property
    def tokens(self) -> int:
        """Useful tokens (for the VAE: pixels), for the log."""

    @property
    def flops(self) -> float:
        """Multiply-adds counted twice, forward and backward, without recomputation or padding, for the log."""

    def to(self, device: torch.device) -> Any: ...


Loss = Callable[[Any, Any, torch.Generator], dict[str, Tensor]]  # (model, batch, noise) -> `loss` and its parts


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW for all, or Muon for what the model names as its matrices and AdamW for the rest."""

    lr: float
    muon_lr: float | None = None  # None: AdamW for all
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 100
    clip_sigmas: float = 3.0  # adaptive clipping: running mean of the gradient's norm plus so many deviations


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A whole run: `steps` at the full learning rate after a warm-up, then a cool-down, in which it falls to zero.

    Running it again in the same folder goes on from its newest checkpoint. Checkpoints of the stable phase stay as they
    are, so a run that was cooled down goes on from them: with more `steps` it is the same run.

    The loop calls `prepare` before the first step; a plan does not: where there is one, `batch` beside it has to be of
    the right size, and no more.
    """

    name: str
    steps: int  # of the stable phase, warm-up included
    build: Callable[[], nn.Module]  # may hold more than is published, for training alone
    batch: Callable[[int], Batch]  # n -> batch n % packs of step n // packs; goes to other processes: it must pickle
    loss: Loss
    publish: Callable[[Any, Path, int], None]  # the averaged weights, into the run's folder; after how many steps
    optim: OptimConfig
    cooldown_steps: int = 0  # after `steps`; 0: none
    cooldown_batch: Callable[[int], Batch] | None = None  # as `batch`, numbered on; None: the same
    published: Callable[[Any], nn.Module] = lambda model: (
        model
    )  # what to publish, preview and keep of what `build` built
    averages_at: tuple[int, ...] = ()  # steps of the stable phase whose averaged weights are kept for good
    prepare: Callable[[RunConfig], RunConfig] | None = None  # makes the data, and returns the run with its batches
    ema_decay: float = 0.999
    seed: int = 0
    origin: str = ""  # of what it begins with and what it is trained on: a folder goes on with the same only
    compile: bool = False
    bf16: bool | None = None  # None: where the device has it fast
    float8: bool = False  # the matmuls of the parts, by torchao; for GPUs that have them: Ada, Hopper and later
    log_every: int = 20
    save_every_seconds: float = 300.0
    keep: int = 2  # checkpoints, the newest; one that is damaged has the one before it
    prefetch: int = 2  # batches made ahead, each by a process of its own; 0: in the loop itself
    packs: int = 1  # batches in a step, whose losses are averaged; dealt out to the processes
    layout: Layout = field(default_factory=Layout)
    preview: Callable[[Any, Path], None] | None = None  # (averaged weights, this step's folder): samples to look at
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
        """What makes it this run and no other, however long it is, as JSON has it: for checkpoints and references."""
        settings = {
            "recipe": self.name,
            "seed": self.seed,
            "packs": self.packs,
            "origin": self.origin,
            "optim": asdict(self.optim),
        }
        as_read: dict[str, Any] = json.loads(json.dumps(settings))
        return as_read


def split(steps: int, *, cooldown: float) -> tuple[int, int]:
    """`steps` and `cooldown_steps` of a RunConfig that takes `steps` in all. cooldown: their last share, 0..1."""
    last = min(round(cooldown * steps), steps - 1)
    return steps - last, last


def begun_with(name: str | Path, *weights: Path) -> str:
    """For `RunConfig.origin`: what a run begins with, by its name and its content. A file that is missing has none."""
    content = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in weights if path.is_file())
    return f"from {name} {hashlib.sha256(content).hexdigest()[:8]}"


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """What it builds, without numbers and memory: to ask what it is before there is any data."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")
        return build()


def run_of(load: Callable[[], ModuleType], path: Path, known: Mapping[str, Any]) -> RunConfig:
    """What the function `recipe()` of a user's module returns.

    known: by name, what it may have called beside its own; for telling the fields of what it misnamed
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
