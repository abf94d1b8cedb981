"""Training of a stage: its share of the budget in steps, by the project's training loop.

Here: the run of a stage, its folder, its models. Not here: the loop (train/loop.py), the losses
(the papers' own modules).
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from minisora.train.config import OptimConfig, RunConfig, split
from minisora.train.loop import run
from minisora.video.files import replacing, save_tensors
from minisora.zoo.frame.entry import TABLE, Budget, Models, Stage
from minisora.zoo.frame.sets import ToyBatches, prepared, random_batch

RUNS = Path(".cache/zoo/runs")
COOLDOWN = 0.3  # of the steps
FEWEST_STEPS = 10
WEIGHTS, ABOUT = "model.safetensors", "about.json"


def train(stage: Stage, *, seed: int = 0, budget: Budget = TABLE) -> nn.Module:
    """The trained model of a stage, for inference; what it needs is trained before.

    The same call resumes a run that was stopped, and returns at once when it has ended. Raises
    KeyboardInterrupt if the run was asked to stop.
    """
    folder = folder_of(stage, seed=seed, budget=budget)
    models = {needed.name: train(needed, seed=seed, budget=budget) for needed in stage.needs}
    if not (folder / WEIGHTS).exists():
        for toy in (stage.toy, *([stage.second] if stage.second else [])):
            prepared(toy)
        run(run_of(stage, models, seed=seed, budget=budget), folder)
        if not (folder / WEIGHTS).exists():
            raise KeyboardInterrupt
    model = stage.build(models)
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.eval().requires_grad_(False)


def run_of(stage: Stage, models: Models, *, seed: int = 0, budget: Budget = TABLE) -> RunConfig:
    """The run of a stage: as many steps as its share of the budget gives.

    It publishes the weights, after ABOUT: parameters that were trained, steps, samples and FLOPs.
    """

    def build() -> nn.Module:
        return stage.build(models)

    def publish(model: nn.Module, folder: Path, taken: int) -> None:
        trained = sum(p.numel() for p in build().parameters() if p.requires_grad)  # frozen ones are another stage's
        about = {"parameters": trained, "steps": taken, "samples": taken * stage.batch_size, "flops": taken * flops}
        with replacing(folder / ABOUT) as path:
            path.write_text(json.dumps(about) + "\n", encoding="utf-8")
        save_tensors(model.state_dict(), folder / WEIGHTS)

    flops = flops_of_step(stage, models)
    steps = max(FEWEST_STEPS, round(stage.share * budget.flops / flops))
    stable, cooldown = split(steps, cooldown=COOLDOWN)
    return RunConfig(
        name=f"zoo-{stage.name}",
        steps=stable,
        cooldown_steps=cooldown,
        build=build,
        batch=ToyBatches(toy=stage.toy, batch_size=stage.batch_size, seed=seed, flops=flops, second=stage.second),
        loss=stage.loss,
        publish=publish,
        optim=OptimConfig(
            lr=stage.lr, betas=stage.betas, weight_decay=stage.weight_decay, warmup_steps=min(stage.warmup_steps, steps)
        ),
        ema_decay=stage.ema_decay,
        seed=seed,
        prefetch=0,
        log_every=max(1, steps // 50),
        save_every_seconds=60.0,
        keep=1,
    )


def flops_of_step(stage: Stage, models: Models) -> float:
    """FLOPs of a training step, forward and backward, two per multiply-add, counted by torch."""
    torch.manual_seed(0)
    model = stage.build(models).train()
    batch = random_batch(stage.toy, stage.batch_size, second=stage.second)
    with FlopCounterMode(display=False) as counter:
        loss = stage.loss(model, batch, torch.Generator().manual_seed(0))["loss"]
        loss.backward()
    return float(counter.get_total_flops())


def folder_of(stage: Stage, *, seed: int, budget: Budget) -> Path:
    return RUNS / budget.named(stage.name, seed)


def about(stage: Stage, *, seed: int, budget: Budget) -> dict[str, Any]:
    """What the training of a stage took, as published, its seconds, and its loss along it."""
    folder = folder_of(stage, seed=seed, budget=budget)
    paths = [folder / "log.jsonl", *sorted(folder.glob("cooldown-from-*/log.jsonl"))]
    log = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    steps = [end - start for start, end in pairwise([0, *(line["step"] for line in log)])]
    return {
        **json.loads((folder / ABOUT).read_text(encoding="utf-8")),
        "seconds": sum(count * line["seconds_per_step"] for count, line in zip(steps, log, strict=True)),
        "loss": [[line["step"], line["loss"]] for line in log],
    }
