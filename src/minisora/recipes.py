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
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minisora import sources
from minisora.bundle import Sampling, find, load_part, save_part
from minisora.bundle import save as save_bundle
from minisora.caption.files import captioner_folder
from minisora.caption.train import caption_run
from minisora.data.frames import FrameBatches
from minisora.data.latents import LatentBatches
from minisora.data.shards import Shards
from minisora.data.windows import WindowConfig
from minisora.device import default_device, has_fast_bf16
from minisora.dit.model import DiT, DiTConfig
from minisora.errors import UsageError
from minisora.runs.logs import RUNS
from minisora.text.encoder import TextEncoder
from minisora.text.minilm import MiniLM
from minisora.train.config import OptimConfig, RunConfig, on_meta, run_of, split
from minisora.train.hints import HintedDiT, hinted_loss
from minisora.train.latents import write_latents
from minisora.train.velocity import dummy_batch
from minisora.tuning import CARD, PREVIEW, distilled, fine_tune, known_captions, shown
from minisora.upscale.files import save_upscaler
from minisora.upscale.model import Upscaler, UpscalerConfig
from minisora.upscale.train import PairBatches, UpscaleLoss, playroom_pairs
from minisora.vae.loss import VAELoss
from minisora.vae.model import VAEConfig, VideoVAE
from minisora.vae.statistics import calibrate
from minisora.video import Video
from minisora.worlds import seeds
from minisora.worlds.playroom import WORLD_VERSION


def vae_toybox(steps: int = 4600) -> RunConfig:
    """The VAE of `toybox`: playroom, stickers and freely licensed footage, in crops of 64 pixels and 13 frames.

    `minisora train vae-toybox`; 2 CPU cores, half an hour; held out: playroom 32.6 dB, camera footage 29.4 dB.
    Fetches what it needs first, once (0.8 GB, and 8 GB decoded).
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


def toybox_pictures(steps: int = 3300, base: str | Path | None = None) -> RunConfig:
    """The transformer of `toybox`, first part: pictures alone, which have a fifth of a clip's tokens.

    `minisora train toybox-pictures`; 2 CPU cores. Its pictures begin clips and are told as such half of the time, so
    that what will roll to the left starts on the right. Takes the VAE that vae-toybox left, or else the embedded one;
    with a base, `--from MODEL`, that bundle's VAE and weights.
    """
    return _toybox(
        "toybox-pictures",
        mix=Mix({"playroom-pictures": 1.0}, WindowConfig(lengths=((1, 1.0),), **_SHIFT)),
        begins=lambda: _filled(HintedDiT(DIT), find(base) / "dit.safetensors") if base else HintedDiT(DIT),
        base=base,
        origin=f"from {base}" if base else "",
        sampling=replace(SAMPLING, seconds=0.0),
        tokens=(1, *TOKENS[1:]),
        steps=split(steps, cooldown=0.09),
        averages_at=(500,),
    )


def toybox(steps: int = 13_500, base: str | Path | None = None) -> RunConfig:
    """The transformer of `toybox`, second part: clips, from the weights that toybox-pictures left.

    `minisora train toybox`; 2 CPU cores. In the stable phase what text to video needs, told densely for the most part
    and with hints; in the cool-down every pattern and size, told as people would, without hints.
    """
    left = RUNS / "toybox-pictures" / "dit.safetensors"
    from_text = (("all", 0.5), ("first", 0.38), ("each", 0.06), ("first_k", 0.06))
    clips = Mix(
        {"playroom-short": 1.0},
        WindowConfig(
            lengths=((2, 0.12), (3, 0.08), (5, 0.8)), patterns=from_text, extra_frame=0.0, begin_later=0.1, **_SHIFT
        ),
        pictures={"playroom-pictures": 0.4, "playroom-more-pictures": 0.6},
        picture_share=0.25,
    )

    def begins() -> DiT:
        path = left if base is None else find(base) / "dit.safetensors"
        if not path.exists():
            raise UsageError(f"toybox begins with {path}: run `minisora train toybox-pictures` first, or give --from.")
        return _filled(HintedDiT(DIT), path)

    return _toybox(
        "toybox",
        mix=clips,
        cooldown_mix=_ALL_SIZES,
        begins=begins,
        base=base,
        origin=f"from {base or 'toybox-pictures'}",
        sampling=SAMPLING,
        tokens=TOKENS,
        steps=split(steps, cooldown=0.11),
        averages_at=(900,),
    )


def toybox_student(steps: int = 3000, base: str | Path | None = None) -> RunConfig:
    """A student of `toybox`, of four steps and no guidance: adapters on its weights.

    `minisora train toybox-student`; 2 CPU cores. Takes the bundle that toybox left, or else the embedded one; leaves a
    copy with `student.safetensors`.
    """
    left = RUNS / "toybox" / "bundle"
    one_time = tuple(pattern for pattern in WindowConfig.patterns if pattern[0] != "each")
    mix = replace(_ALL_SIZES, windows=replace(_ALL_SIZES.windows, patterns=one_time, drop_text=0.0))
    return distilled(
        "toybox-student",
        base or (left if (left / "bundle.json").exists() else "toybox"),
        write=lambda vae, text: write_latents(
            sources.LATENTS, sources.latent_jobs([*mix.clips, *mix.pictures]), vae, text
        ),
        batches=mix.batches,
        sketched=dummy_batch(DIT, TOKENS, tokens=BUDGET, words=24),
        prompts=PREVIEW,
        steps=steps,
    )


@dataclass(frozen=True)
class Mix:
    """What a phase is trained on: shards and how often a sample is drawn from them, and how windows are cut.

    pictures, picture_share: other shards, of which single frames are taken, and their share of every pack
    hints:                   whether it is asked what lies in each token
    """

    clips: Mapping[str, float]
    windows: WindowConfig
    pictures: Mapping[str, float] = field(default_factory=dict)
    picture_share: float = 0.0
    hints: bool = True

    def batches(self, null_text: Tensor) -> LatentBatches:
        def shards(weights: Mapping[str, float]) -> list[tuple[Shards, float]]:
            return [(Shards(sources.LATENTS / name), weight) for name, weight in weights.items()]

        return LatentBatches(
            sources=shards(self.clips),
            null_text=null_text,
            windows=self.windows,
            patch=DIT.patch,
            budget=BUDGET,
            time_rate=SAMPLING.time_rate,
            flops=DIT.flops,
            pictures=shards(self.pictures),
            picture_share=self.picture_share,
            hints=self.hints,
        )


def _toybox(
    name: str,
    *,
    mix: Mix,
    begins: Callable[[], DiT],
    sampling: Sampling,
    tokens: tuple[int, int, int],
    steps: tuple[int, int],
    averages_at: tuple[int, ...],
    base: str | Path | None = None,
    origin: str = "",
    cooldown_mix: Mix | None = None,
) -> RunConfig:
    """A run of the embedded transformer.

    begins:   builds it
    base:     whose VAE it takes
    sampling: of its previews
    tokens:   of a sample: time, rows, columns
    steps:    of the stable phase and of the cool-down
    """
    names = sorted({name for part in (mix, cooldown_mix) if part for name in (*part.clips, *part.pictures)})

    @cache
    def encoders() -> tuple[VideoVAE, TextEncoder]:
        device = default_device()
        dtype = torch.bfloat16 if has_fast_bf16(device) else torch.float32
        return _trained_vae(base).to(device, dtype), MiniLM(device=device, dtype=dtype)

    def prepare(run: RunConfig) -> RunConfig:
        vae, text = encoders()
        write_latents(sources.LATENTS, sources.latent_jobs(names), vae, text)
        null_text = text.encode([""]).tokens.cpu()
        cooldown = cooldown_mix.batches(null_text) if cooldown_mix else None
        return replace(run, batch=mix.batches(null_text), cooldown_batch=cooldown)

    def publish(dit: DiT, folder: Path, taken: int) -> None:
        save_part(dit, folder / "dit.safetensors")
        known, least = known_captions([Shards(sources.LATENTS / each) for each in names], encoders()[1])
        trained = {
            "recipe": name,
            "steps": taken,
            "world": WORLD_VERSION,
            "least_similarity": least,
            "captioner": "playroom",
        }
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

    return RunConfig(
        name=name,
        build=begins,
        published=HintedDiT.without_hints,
        prepare=prepare,
        batch=lambda _: dummy_batch(DIT, tokens, tokens=BUDGET, words=24),
        loss=hinted_loss,
        publish=publish,
        optim=OptimConfig(lr=1.2e-3, muon_lr=0.016, warmup_steps=60),
        ema_decay=0.998,
        compile=True,
        prefetch=1,
        preview=lambda dit, folder: shown(*encoders(), sampling, PREVIEW)(dit, folder),
        preview_every=250,
        steps=steps[0],
        cooldown_steps=steps[1],
        averages_at=averages_at,
        origin=origin,
    )


def _filled(dit: DiT, path: Path) -> DiT:
    """A transformer with weights that `save_part` wrote; what it has beside them, to answer hints, begins anew."""
    plain = DiT(dit.config)
    load_part(plain, path)
    dit.load_state_dict(plain.state_dict(), strict=False)
    return dit


def captioner_playroom(steps: int = 4000, base: str | Path | None = None) -> RunConfig:
    """The captioner: clips of the playroom to words, drawn as it trains. 2 CPU cores, 70 minutes.

    `minisora caption --model .cache/runs/captioner-playroom/captioner` uses what it leaves. The embedded one took 7,500
    steps, in parts (docs/log.md). With a base, `--from playroom` or a captioner's folder, it begins with its weights
    at half the rates, and is shown what that one was not.
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
        optim=OptimConfig(lr=rate * 1e-3, muon_lr=rate * 0.02, warmup_steps=50),
        ema_decay=0.998,
        compile=True,
        prefetch=1,
    )


def toybox_upscale(steps: int = 6000) -> RunConfig:
    """The upscaler: the playroom and footage, as the VAE decodes them, to four times the size.

    `minisora train toybox-upscale`; 2 CPU cores. Fetches its footage first, once. Leaves a folder `upscaler`.
    """
    config, (stable_steps, cooldown_steps) = UpscalerConfig(), split(steps, cooldown=0.4)
    batches = PairBatches(vae=None, flops_per_pixel=3 * Upscaler.flops_per_pixel(config))

    def prepare(run: RunConfig) -> RunConfig:
        from minisora.worlds import footage

        if footage.missing():
            footage.prepare()
        fast = has_fast_bf16(torch.device("cpu"))  # the processes that make batches have no other device
        vae = _trained_vae().to(torch.bfloat16 if fast else torch.float32)
        return replace(run, batch=replace(batches, vae=vae))

    def publish(upscaler: Upscaler, folder: Path, taken: int) -> None:
        trained = {"recipe": "toybox-upscale", "steps": taken, "world": WORLD_VERSION}
        save_upscaler(upscaler, folder / "upscaler", trained)

    def preview(upscaler: Upscaler, folder: Path) -> None:
        from minisora.eval.upscaling import upscale_sheet

        Video(upscale_sheet(upscaler, _trained_vae())[None], fps=1.0).save(folder / "sheet.png")

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
        return _filled(dit, find(base) / "dit.safetensors")

    on_meta(build)  # what does not fit is refused before any data is made
    return replace(run, build=build, origin=f"{run.origin} from {base}".strip())


DIT = DiTConfig(width=256, depth=8, num_heads=4, mlp_width=1024, text_width=384, patch=(1, 1, 1))
TOKENS = (5, 8, 8)  # of a clip of two seconds at SAMPLING.size: time, rows, columns
SAMPLING = Sampling(size=(64, 64), fps=8.0, seconds=2.0, time_rate=2.0, shift=4.0, shift_tokens=320)
BUDGET = 8192  # tokens of a pack
_SHIFT: dict[str, Any] = {"shift": SAMPLING.shift, "shift_tokens": SAMPLING.shift_tokens}
_ALL_SIZES = Mix(
    sources.ALL_SIZES,
    WindowConfig(lengths=((1, 0.05), (2, 0.03), (3, 0.05), (5, 0.75), (9, 0.2)), dense=0.25, **_SHIFT),
    pictures={"playroom-pictures": 0.4, "playroom-more-pictures": 0.6},
    picture_share=0.15,
    hints=False,
)


def _trained_vae(base: str | Path | None = None) -> VideoVAE:
    """That of a base; without one, what a run of vae-toybox left here, or else the embedded one."""
    own = RUNS / "vae-toybox" / "vae.safetensors"
    vae = VideoVAE(VAEConfig())
    load_part(vae, own if own.exists() and base is None else find(base or "toybox") / "vae.safetensors")
    return vae.eval().requires_grad_(False)


RECIPES: dict[str, Callable[..., RunConfig]] = {
    "vae-toybox": vae_toybox,
    "toybox-pictures": toybox_pictures,
    "toybox": toybox,
    "toybox-student": toybox_student,
    "fine-tune": fine_tune,
    "captioner-playroom": captioner_playroom,
    "toybox-upscale": toybox_upscale,
}
