"""The run of the captioner."""

from __future__ import annotations

from pathlib import Path

from minisora.caption.files import WEIGHTS, captioner_folder
from minisora.caption.train import caption_run
from minisora.train.config import OptimConfig, RunConfig, content_of, split


def captioner_playroom(steps: int = 4000, base: str | Path | None = None) -> RunConfig:
    """The captioner, on playroom clips rendered during training. 2 CPU cores, 70 minutes.

    `minisora caption --model .cache/runs/captioner-playroom/captioner` uses the result. The
    embedded one took 7,500 steps, in parts (docs/log.md). With a base, `--from playroom` or a
    captioner's folder, it starts from that one's weights, at half the learning rates and on other
    scenes.
    """
    folder = None if base is None else captioner_folder(str(base))
    rate = 0.5 if base else 1.0
    stable_steps, cooldown_steps = split(steps, cooldown=0.8)
    return RunConfig(
        name="captioner-playroom",
        steps=stable_steps,
        cooldown_steps=cooldown_steps,
        **vars(caption_run(base=folder)),
        origin=f"from {base}" if base else "",
        content="" if folder is None else content_of(folder / WEIGHTS),
        optim=OptimConfig(lr=rate * 1e-3, muon_lr=rate * 0.02, warmup_steps=50),
        ema_decay=0.998,
        compile=True,
        prefetch=1,
    )
