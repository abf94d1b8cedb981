"""A paper as a value: what it is, the models that it trains, and the rows that it gives the table.

Here: the types. Not here: training a stage (train.py), measuring a row (measure.py), the list of
all papers (list.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from minisora.errors import UsageError
from minisora.zoo.frame.sets import Toy, ToyBatch

Models = Mapping[str, nn.Module]  # trained models, by the name of their stage
Loss = Callable[[Any, ToyBatch, torch.Generator], dict[str, Tensor]]  # -> `loss` and its parts


@dataclass(frozen=True, kw_only=True)
class Paper:
    authors: str  # "Ho, Jain and Abbeel"
    year: int
    title: str
    arxiv: str  # its number; empty for what is no paper there

    @property
    def reference(self) -> str:
        return f"{self.authors} {self.year}, {self.title}" + (f", arXiv:{self.arxiv}" if self.arxiv else "")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One model and its training. A stage that several papers share is trained once.

    name:    unique among all stages; its folder
    build:   the model, from those of the stages it `needs`
    loss:    as in a RunConfig; the loop computes it in bf16 where that is fast
    share:   of the budget in FLOPs, forward and backward
    second:  a set whose samples come with those of `toy`, for joint training (ToyBatch.second)
    """

    name: str
    toy: Toy
    build: Callable[[Models], nn.Module]
    loss: Loss
    needs: tuple[Stage, ...] = ()
    second: Toy | None = None
    share: float = 1.0
    batch_size: int = 32  # few samples and more steps: better at equal FLOPs (docs/log.md)
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    warmup_steps: int = 50
    ema_decay: float = 0.995
    adversarial: bool = False  # its loss is a game, and need not fall


@dataclass(frozen=True)
class Ask:
    """What a row is asked to generate: labels (N, FIELDS), and the generator of its noise."""

    labels: Tensor
    noise: torch.Generator

    def __len__(self) -> int:
        return len(self.labels)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal noise (N, *shape)."""
        return torch.randn(len(self), *shape, generator=self.noise)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A way to sample, as a row of the table.

    sample: trained models, what is asked -> samples (N, *toy.shape); pixels in -1..1, or latents,
            which the frame decodes
    stages: whose models it uses; their parameters and FLOPs are the row's
    toy:    of its samples
    """

    name: str
    sample: Callable[[Models, Ask], Tensor]
    stages: tuple[Stage, ...]
    toy: Toy


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A paper.

    name:    of its module and for the command line
    new:     what was new in it, one sentence
    after:   names of the entries that it builds upon, for the family tree
    figures: measures of its own next to the rows, by name: trained models -> figures; they appear
             on its page and in the table of its family
    runs:    for a paper that stands in another part of minisora: the command that shows it
    """

    name: str
    title: str  # the name by which it is known: "DDPM"
    paper: Paper
    family: str  # one of FAMILIES
    new: str
    after: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    rows: tuple[Row, ...] = ()
    figures: Callable[[Models, int], Mapping[str, float]] | None = None  # (models, seed) -> figures
    runs: str = ""

    def __post_init__(self) -> None:
        assert self.family in FAMILIES, self.family
        assert self.stages or self.figures or self.runs, f"{self.name} shows nothing"

    def every_stage(self) -> tuple[Stage, ...]:
        """Stages in the order of their training, those that others need first."""
        return with_needs(self.stages)


def with_needs(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Stages and those that they need, each once, after what it needs."""
    found: dict[str, Stage] = {}
    for stage in stages:
        for each in (*with_needs(stage.needs), stage):
            known = found.setdefault(each.name, each)
            assert known is each, f"two stages are called {each.name}"
    return tuple(found.values())


FAMILIES = {
    "diffusion": "Diffusion",
    "transformers": "Diffusion transformers",
    "video": "Video",
    "long": "Long context",
    "elsewhere": "In other parts of minisora",
}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a table is made with.

    flops: of a whole share, forward and backward
    """

    flops: float = 2e14  # about ten minutes of two CPU cores in bf16
    samples: int = 512  # that a row of pictures is measured on
    clips: int = 256  # that a row of clips is measured on

    def times(self, factor: float) -> Budget:
        if not factor > 0:
            raise UsageError(f"a budget of {factor:g} trains nothing. Give 1 for the table's own, 0.1 for a tenth.")
        return replace(self, flops=self.flops * factor)

    def named(self, name: str, seed: int) -> str:
        """Name of a file or folder of what was made with a seed and this budget."""
        factor = self.flops / TABLE.flops
        return f"{name}-{seed}" if factor == 1 else f"{name}-{seed}-x{factor:g}"


TABLE = Budget()
