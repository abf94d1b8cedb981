"""The run of the VAE."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from minisora import sources
from minisora.bundle import find, load_part, save_part
from minisora.data.frames import FrameBatches
from minisora.device import default_device
from minisora.runs.logs import RUNS
from minisora.train.config import OptimConfig, RunConfig, split
from minisora.vae.loss import VAELoss
from minisora.vae.model import VAEConfig, VideoVAE
from minisora.vae.statistics import calibrate
from minisora.worlds import seeds


def vae_toybox(steps: int = 4600) -> RunConfig:
    """The VAE of `toybox`: playroom, stickers, free footage, in crops of 64 pixels and 13 frames.

    `minisora train vae-toybox`; 2 CPU cores, half an hour; held out: playroom 32.6 dB, camera
    footage 29.4 dB. Downloads its data first, once (0.8 GB, and 8 GB decoded).
    """
    config = VAEConfig()
    stable_steps, cooldown_steps = split(steps, cooldown=0.4)
    batches = FrameBatches(
        sources={
            "playroom": (0.4, sources.playroom_frames),
            "stickers": (0.35, sources.sticker_frames),
            "footage": (0.25, sources.footage_frames),
        },
        batch_size=3,
        num_frames=13,
        side=64,
        seeds=seeds.VAE,
        flops_per_pixel=3 * VideoVAE.flops_per_pixel(config),
    )

    def prepare(run: RunConfig) -> RunConfig:
        from minisora.worlds import footage, stickers

        if stickers.missing([sticker.key for sticker in stickers.names()]):
            stickers.prepare()
        if footage.missing():
            footage.prepare()
        return replace(run, batch=batches)

    def publish(vae: VideoVAE, folder: Path, taken: int) -> None:
        calibrate(vae.to(default_device()), batches, num_batches=100)
        save_part(vae, folder / "vae.safetensors")

    return RunConfig(
        name="vae-toybox",
        steps=stable_steps,
        cooldown_steps=cooldown_steps,
        build=lambda: VideoVAE(config),
        prepare=prepare,
        batch=replace(batches, sources={"nothing": (1.0, sources.no_frames)}),
        loss=VAELoss(latent_noise=0.2),
        publish=publish,
        optim=OptimConfig(lr=3e-4, muon_lr=0.012, warmup_steps=50, weight_decay=0.0),
        ema_decay=0.995,
        prefetch=1,
        compile=True,
    )


def trained_vae(base: str | Path | None = None) -> VideoVAE:
    """The VAE of a base; otherwise that of a run of vae-toybox here, or the embedded one."""
    vae = VideoVAE(VAEConfig())
    load_part(vae, vae_weights(base))
    return vae.eval().requires_grad_(False)


def vae_weights(base: str | Path | None = None) -> Path:
    """The file of `trained_vae`."""
    own = RUNS / "vae-toybox" / "vae.safetensors"
    return own if own.exists() and base is None else find(base or "toybox") / "vae.safetensors"
