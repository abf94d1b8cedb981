"""What a run is: one frozen value that says everything, so that the same value gives the same run.

Here: the types. The recipes that fill them in are in recipes.py, the loop that runs them in loop.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

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
    decay_fraction: float = 0.4  # the last share of the run, in which the rate falls to zero
    clip_sigmas: float = 3.0  # adaptive clipping: running mean of the gradient's norm plus so many deviations


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A whole run. Running it again in the same folder goes on from its newest checkpoint."""

    name: str
    steps: int
    build: Callable[[], nn.Module]
    batch: Callable[[int], Batch]  # step -> batch; goes to other processes, so it must pickle
    loss: Loss
    publish: Callable[[Any, Path], None]  # the averaged weights, into the run's folder
    optim: OptimConfig
    ema_decay: float = 0.999
    seed: int = 0
    compile: bool = False
    bf16: bool | None = None  # None: where the device has it fast
    log_every: int = 20
    save_every_seconds: float = 300.0
    prefetch: int = 2  # batches made ahead, each by a process of its own; 0: in the loop itself
    packs: int = 1  # batches in a step, whose losses are averaged; dealt out to the processes
    layout: Layout = field(default_factory=Layout)
    preview: Callable[[Any, Path], None] | None = None  # (averaged weights, this step's folder): samples to look at
    preview_every: int = 500
