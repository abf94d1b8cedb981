"""The run of the upscaler."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from minisora.device import working_dtype
from minisora.recipes.vae import trained_vae, vae_weights
from minisora.train.config import OptimConfig, RunConfig, content_of, split
from minisora.upscale.files import save_upscaler
from minisora.upscale.model import Upscaler, UpscalerConfig
from minisora.upscale.train import PairBatches, UpscaleLoss, playroom_pairs
from minisora.video import Video
from minisora.worlds.playroom import WORLD_VERSION


def toybox_upscale(steps: int = 6000) -> RunConfig:
    """The upscaler: playroom and footage as the VAE decodes them, to four times the size.

    `minisora train toybox-upscale`; 2 CPU cores. Downloads its footage first, once. Publishes a
    folder `upscaler`.
    """
    config, (stable_steps, cooldown_steps) = UpscalerConfig(), split(steps, cooldown=0.4)
    batches = PairBatches(vae=None, flops_per_pixel=3 * Upscaler.flops_per_pixel(config))

    def prepare(run: RunConfig) -> RunConfig:
        from minisora.worlds import footage

        if footage.missing():
            footage.prepare()
        vae = trained_vae().to(working_dtype(torch.device("cpu")))  # processes that make batches have no other device
        return replace(run, batch=replace(batches, vae=vae))

    def publish(upscaler: Upscaler, folder: Path, taken: int) -> None:
        trained = {"recipe": "toybox-upscale", "steps": taken, "world": WORLD_VERSION}
        save_upscaler(upscaler, folder / "upscaler", trained)

    def preview(upscaler: Upscaler, folder: Path) -> None:
        from minisora.eval.upscaling import upscale_sheet

        Video(upscale_sheet(upscaler, trained_vae())[None], fps=1.0).save(folder / "sheet.png")

    return RunConfig(
        name="toybox-upscale",
        steps=stable_steps,
        cooldown_steps=cooldown_steps,
        build=lambda: Upscaler(config),
        prepare=prepare,
        batch=replace(batches, sources={"playroom": (1.0, playroom_pairs)}),
        loss=UpscaleLoss(),
        publish=publish,
        optim=OptimConfig(lr=1e-4, muon_lr=0.012, warmup_steps=50, weight_decay=0.0),
        ema_decay=0.995,
        compile=True,
        prefetch=1,
        preview=preview,
        preview_every=500,
        content=content_of(vae_weights()),
    )
