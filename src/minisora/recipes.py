"""Whole runs, each a function that returns one complete config: the way the embedded weights were made.

A variant calls one of these and applies `dataclasses.replace`. `minisora train NAME` runs one; the same command again
goes on where it stopped.

Here: the VAE, the transformer, the captioner, the upscaler, and files of a user's own.
Not here: a user's own clips (tuning.py).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from minisora import sources
from minisora.bundle import Sampling, find, load_part, save_part
from minisora.bundle import save as save_bundle
from minisora.caption.adapters import captioner_folder
from minisora.caption.train import caption_run
from minisora.data.frames import FrameBatches
from minisora.data.latents import Curriculum, LatentBatches
from minisora.data.shards import Shards
from minisora.data.windows import WindowConfig
from minisora.device import default_device, has_fast_bf16
from minisora.dit.model import DiT, DiTConfig
from minisora.errors import UsageError
from minisora.text.encoder import TextEncoder
from minisora.train.config import OptimConfig, RunConfig, on_meta, run_of
from minisora.train.latents import write_latents
from minisora.train.velocity import dit_loss, sketch
from minisora.tuning import CARD, fine_tune, known_captions, shown
from minisora.upscale.files import save_upscaler
from minisora.upscale.model import Upscaler, UpscalerConfig
from minisora.upscale.train import PairBatches, UpscaleLoss, playroom_pairs
from minisora.vae.loss import VAELoss
from minisora.vae.model import VAEConfig, VideoVAE
from minisora.watch.logs import RUNS


def vae_toybox(steps: int = 4600) -> RunConfig:
    """The VAE of `toybox`: playroom, stickers and freely licensed footage, in crops of 64 pixels and 13 frames.

    `minisora train vae-toybox`; 2 CPU cores, half an hour; held out: playroom 32.6 dB, camera footage 29.4 dB.
    Fetches what it needs first, once (0.8 GB, and 8 GB decoded).
    """
    config = VAEConfig()
    batches = FrameBatches(
        sources={
            "playroom": (0.4, sources.playroom_frames),
            "stickers": (0.35, sources.sticker_frames),
            "footage": (0.25, sources.footage_frames),
        },
        batch_size=3,
        num_frames=13,
        side=64,
        flops_per_pixel=3 * VideoVAE.flops_per_pixel(config),
    )

    def prepare(run: RunConfig) -> RunConfig:
        from minisora.worlds import footage, stickers

        if stickers.missing([sticker.key for sticker in stickers.names()]):
            stickers.prepare()
        if footage.missing():
            footage.prepare()
        return replace(run, batch=batches)

    def publish(vae: VideoVAE, folder: Path) -> None:
        calibrate(vae.to(default_device()), batches, num_batches=100)
        save_part(vae, folder / "vae.safetensors")

    return RunConfig(
        name="vae-toybox",
        steps=steps,
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


def dit_toybox(steps: int = 6000, picture_steps: int = 456, base: str | Path | None = None) -> RunConfig:
    """The transformer of `toybox`: first mostly single frames, which teach looks cheaply, then videos.

    `minisora train dit-toybox`, after vae-toybox, leaves a bundle. The embedded one took as many steps, in parts
    (docs/log.md). With a base, such as `--from toybox`, it begins with that bundle's weights, and takes its VAE.
    """
    budget, names = 8192, sorted({*sources.PICTURES_FIRST, *sources.THEN_VIDEOS})

    @cache
    def encoders() -> tuple[VideoVAE, TextEncoder]:
        device = default_device()
        dtype = torch.bfloat16 if has_fast_bf16(device) else torch.float32
        return _trained_vae(base).to(device, dtype), TextEncoder(device=device, dtype=dtype)

    def prepare(run: RunConfig) -> RunConfig:
        vae, text = encoders()
        write_latents(sources.LATENTS, sources.latent_jobs(names), vae, text)
        null_text = text.encode([""]).tokens.cpu()

        def batches(weights: Mapping[str, float], lengths: tuple[tuple[int, float], ...]) -> LatentBatches:
            return LatentBatches(
                sources=[(Shards(sources.LATENTS / name), weight) for name, weight in weights.items()],
                null_text=null_text,
                windows=WindowConfig(lengths=lengths, shift=SAMPLING.shift, shift_tokens=SAMPLING.shift_tokens),
                patch=DIT.patch,
                budget=budget,
                time_rate=SAMPLING.time_rate,
                flops=DIT.flops,
            )

        curriculum = Curriculum(
            first=batches(sources.PICTURES_FIRST, ((1, 0.4), (2, 0.1), (3, 0.1), (5, 0.4))),
            first_steps=picture_steps,
            then=batches(sources.THEN_VIDEOS, ((1, 0.05), (2, 0.03), (3, 0.05), (5, 0.8), (9, 0.2))),
        )
        return replace(run, batch=curriculum)

    def publish(dit: DiT, folder: Path) -> None:
        save_part(dit, folder / "dit.safetensors")
        known, least = known_captions([Shards(sources.LATENTS / name) for name in names], encoders()[1])
        trained = {"recipe": "dit-toybox", "steps": steps, "least_similarity": least}
        save_bundle(
            folder / "bundle",
            name="toybox",
            vae=_trained_vae(base),
            dit=dit,
            sampling=SAMPLING,
            trained=trained,
            card=CARD,
            known=known,
        )

    fresh = RunConfig(
        name="dit-toybox",
        steps=steps,
        build=lambda: DiT(DIT),
        prepare=prepare,
        batch=lambda _: sketch(DIT, TOKENS, tokens=budget, words=16),
        loss=dit_loss,
        publish=publish,
        optim=OptimConfig(lr=1.5e-3, muon_lr=0.02, warmup_steps=60, decay_fraction=0.9),
        ema_decay=0.997,
        compile=True,
        prefetch=1,
        preview=lambda dit, folder: shown(*encoders(), SAMPLING, PREVIEW)(dit, folder),
    )
    return fresh if base is None else begun_from(fresh, base)


def captioner_playroom(steps: int = 4000, base: str | Path | None = None) -> RunConfig:
    """The captioner: clips of the playroom to words, drawn as it trains. 2 CPU cores, 70 minutes.

    `minisora caption --model .cache/runs/captioner-playroom/captioner` uses what it leaves. The embedded one took 7,500
    steps, in parts (docs/log.md). With a base, `--from playroom` or a captioner's folder, it begins with its weights
    at half the rates, and is shown what that one was not.
    """
    folder = None if base is None else captioner_folder(str(base))
    rate = 0.5 if base else 1.0
    return RunConfig(
        name="captioner-playroom",
        steps=steps,
        **vars(caption_run(steps, base=folder)),
        origin=f"from {base}" if base else "",
        optim=OptimConfig(lr=rate * 1e-3, muon_lr=rate * 0.02, warmup_steps=50, decay_fraction=0.8),
        ema_decay=0.998,
        compile=True,
        prefetch=1,
    )


def toybox_upscale(steps: int = 6000, base: str | Path = "toybox") -> RunConfig:
    """The upscaler: the playroom and footage, as the VAE of `base` decodes them, to four times the size.

    `minisora train toybox-upscale`; 2 CPU cores. Fetches its footage first, once. Leaves a folder `upscaler`.
    """
    config = UpscalerConfig()
    batches = PairBatches(vae=None, flops_per_pixel=3 * Upscaler.flops_per_pixel(config))

    def prepare(run: RunConfig) -> RunConfig:
        from minisora.worlds import footage

        if footage.missing():
            footage.prepare()
        fast = has_fast_bf16(torch.device("cpu"))  # the processes that make batches have no other device
        vae = _trained_vae(base).to(torch.bfloat16 if fast else torch.float32)
        return replace(run, batch=replace(batches, vae=vae))

    def publish(upscaler: Upscaler, folder: Path) -> None:
        trained = {"recipe": "toybox-upscale", "steps": steps, "vae": str(base)}
        save_upscaler(upscaler, folder / "upscaler", trained)

    return RunConfig(
        name="toybox-upscale",
        steps=steps,
        build=lambda: Upscaler(config),
        prepare=prepare,
        batch=replace(batches, sources={"playroom": (1.0, playroom_pairs)}),
        loss=UpscaleLoss(),
        publish=publish,
        optim=OptimConfig(lr=2e-4, muon_lr=0.012, warmup_steps=50, weight_decay=0.0, decay_fraction=0.4),
        ema_decay=0.995,
        compile=True,
        prefetch=1,
    )


def of_file(path: Path) -> RunConfig:
    """The run that a user's own file describes: what its function `recipe()` returns."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}.")
    sys.path.insert(0, str(path.parent.resolve()))  # so that the processes that make batches find it too
    return run_of(lambda: importlib.import_module(path.stem), path, globals())


def begun_from(run: RunConfig, base: str | Path) -> RunConfig:
    """The same run of the transformer, from a bundle's weights instead of fresh ones."""

    def build() -> DiT:
        dit = run.build()
        if not isinstance(dit, DiT):
            raise UsageError(f"{run.name} does not train a transformer: leave out --from.")
        load_part(dit, find(base) / "dit.safetensors")
        return dit

    on_meta(build)  # what does not fit is refused before any data is made
    return replace(run, build=build, origin=f"{run.origin} from {base}".strip())


PREVIEW = (
    "a small red ball rolls to the left past a green cube, the camera orbits right",
    "a large blue cone spins on a wooden floor at sunset",
    "two yellow cylinders stay still, the camera zooms in",
    "a firefighter on a plain background",
)
DIT = DiTConfig(width=256, depth=8, num_heads=4, mlp_width=1024, text_width=384, patch=(1, 1, 1))
TOKENS = (5, 8, 8)  # of a clip of two seconds at SAMPLING.size: time, rows, columns
SAMPLING = Sampling(size=(64, 64), fps=8.0, seconds=2.0, time_rate=2.0, shift=4.0, shift_tokens=320)


def _trained_vae(base: str | Path | None) -> VideoVAE:
    folder = RUNS / "vae-toybox" if base is None else find(base)
    vae, path = VideoVAE(VAEConfig()), folder / "vae.safetensors"
    if not path.exists():
        raise UsageError(f"dit-toybox needs the VAE, and {path} is not there: run `minisora train vae-toybox` first.")
    load_part(vae, path)
    return vae.eval().requires_grad_(False)


@torch.no_grad()
def calibrate(vae: VideoVAE, batches: FrameBatches, *, num_batches: int) -> None:
    """Measure mean and deviation of each latent channel on batches that training did not see."""
    total = square = torch.zeros(vae.config.latent_channels, dtype=torch.float64)
    count = 0
    for step in range(num_batches):
        frames = batches(10_000_000 + step).frames.to(vae.latent_mean.device).float() / 127.5 - 1
        mean = vae.moments(frames).chunk(2, 2)[0].double().cpu().movedim(2, -1).flatten(0, -2)
        total, square, count = total + mean.sum(0), square + mean.square().sum(0), count + len(mean)
    average = total / count
    vae.calibrate(average.float(), (square / count - average.square()).sqrt().float())


RECIPES: dict[str, Callable[..., RunConfig]] = {
    "vae-toybox": vae_toybox,
    "dit-toybox": dit_toybox,
    "fine-tune": fine_tune,
    "captioner-playroom": captioner_playroom,
    "toybox-upscale": toybox_upscale,
}
