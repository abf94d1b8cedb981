"""The runs of the embedded transformer: first pictures, then clips.

Here: `toybox_pictures`, `toybox`, the training data of their phases. Not here: the shards
(sources.py), the loss (train/hints.py), a student (student.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from minisora import sources
from minisora.bundle import Bundle, Sampling, find, load_part, save_part
from minisora.bundle import save as save_bundle
from minisora.data.latents import LatentBatches
from minisora.data.shards import Shards
from minisora.data.windows import WindowConfig
from minisora.device import default_device, working_dtype
from minisora.dit.model import DiT, DiTConfig
from minisora.errors import UsageError
from minisora.recipes.published import CARD, PREVIEW, known_captions, previewer
from minisora.recipes.vae import trained_vae, vae_weights
from minisora.runs.logs import RUNS
from minisora.text.encoder import TextEncoder
from minisora.text.minilm import MiniLM
from minisora.train.config import OptimConfig, RunConfig, content_of, split
from minisora.train.hints import HintedDiT, hinted_loss
from minisora.train.latents import write_latents
from minisora.train.velocity import dummy_batch
from minisora.vae.model import VideoVAE
from minisora.worlds.playroom import WORLD_VERSION

DIT = DiTConfig(width=256, depth=8, num_heads=4, mlp_width=1024, text_width=384, patch=(1, 1, 1))
TOKENS = (5, 8, 8)  # of a clip of two seconds at SAMPLING.size: time, rows, columns
SAMPLING = Sampling(size=(64, 64), fps=8.0, seconds=2.0, time_rate=2.0, shift=4.0, shift_tokens=320)
BUDGET = 8192  # tokens of a pack
_SHIFT: dict[str, Any] = {"shift": SAMPLING.shift, "shift_tokens": SAMPLING.shift_tokens}


@dataclass(frozen=True)
class Mix:
    """Training data of a phase: shards, how often each is drawn from, and how windows are cut.

    clips:         shards by name, and the weight with which a sample is drawn from each
    pictures:      more such shards, of which single frames are taken
    picture_share: their share of every pack
    hints:         train on the content of each token, too (train/hints.py)
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


ALL_SIZES = Mix(
    sources.ALL_SIZES,
    WindowConfig(lengths=((1, 0.05), (2, 0.03), (3, 0.05), (5, 0.75), (9, 0.2)), dense=0.25, **_SHIFT),
    pictures={"playroom-pictures": 0.4, "playroom-more-pictures": 0.6},
    picture_share=0.15,
    hints=False,
)


def toybox_pictures(steps: int = 3300, base: str | Path | None = None) -> RunConfig:
    """The transformer of `toybox`, first part: pictures only, a fifth of a clip's tokens.

    `minisora train toybox-pictures`; 2 CPU cores. Half of the captions describe the clip that a
    picture begins, so that what will roll to the left starts on the right. Uses the VAE of a
    vae-toybox run here, or the embedded one; with a base, `--from MODEL`, that bundle's VAE and
    weights.
    """
    weights = None if base is None else find(base) / "dit.safetensors"
    return _ToyboxRun(
        name="toybox-pictures",
        mix=Mix({"playroom-pictures": 1.0}, WindowConfig(lengths=((1, 1.0),), **_SHIFT)),
        build=lambda: HintedDiT(DIT) if weights is None else filled(HintedDiT(DIT), weights),
        base=base,
        origin=f"from {base}" if base else "",
        content=content_of(*([] if weights is None else [weights]), vae_weights(base)),
        sampling=replace(SAMPLING, seconds=0.0),
        tokens=(1, *TOKENS[1:]),
        averages_at=(500,),
    ).config(*split(steps, cooldown=0.09))


def toybox(steps: int = 13_500, base: str | Path | None = None) -> RunConfig:
    """The transformer of `toybox`, second part: clips, from the weights of toybox-pictures.

    `minisora train toybox`; 2 CPU cores. The stable phase has the patterns of text to video, many
    dense captions, and hints; the cool-down has all patterns and sizes, mostly natural captions,
    and no hints.
    """
    weights = (RUNS / "toybox-pictures" if base is None else find(base)) / "dit.safetensors"
    from_text = (("all", 0.5), ("first", 0.38), ("each", 0.06), ("first_k", 0.06))
    clips = Mix(
        {"playroom-short": 1.0},
        WindowConfig(
            lengths=((2, 0.12), (3, 0.08), (5, 0.8)),
            patterns=from_text,
            extra_frame=0.0,
            begin_later=0.1,
            dense=0.4,
            **_SHIFT,
        ),
        pictures={"playroom-pictures": 0.4, "playroom-more-pictures": 0.6},
        picture_share=0.25,
    )

    def build() -> DiT:
        if not weights.exists():
            raise UsageError(
                f"toybox begins with {weights}: run `minisora train toybox-pictures` first, or give --from."
            )
        return filled(HintedDiT(DIT), weights)

    return _ToyboxRun(
        name="toybox",
        mix=clips,
        cooldown_mix=ALL_SIZES,
        build=build,
        base=base,
        origin=f"from {base or 'toybox-pictures'}",
        content=content_of(weights, vae_weights(base)),
        sampling=SAMPLING,
        tokens=TOKENS,
        averages_at=(900,),
    ).config(*split(steps, cooldown=0.11))


@dataclass(frozen=True, kw_only=True)
class _ToyboxRun:
    """A part of the embedded transformer's training.

    base:     bundle whose VAE it uses
    sampling: of the previews
    tokens:   of a sample along time, rows, columns
    """

    name: str
    mix: Mix
    cooldown_mix: Mix | None = None
    build: Callable[[], DiT]
    base: str | Path | None
    origin: str
    content: str
    sampling: Sampling
    tokens: tuple[int, int, int]
    averages_at: tuple[int, ...]

    def config(self, stable_steps: int, cooldown_steps: int) -> RunConfig:
        return RunConfig(
            name=self.name,
            build=self.build,
            published=HintedDiT.without_hints,
            prepare=self.prepare,
            batch=lambda _: dummy_batch(DIT, self.tokens, tokens=BUDGET, words=24),
            loss=hinted_loss,
            publish=self.publish,
            optim=OptimConfig(lr=1.2e-3, muon_lr=0.016, warmup_steps=60),
            ema_decay=0.998,
            compile=True,
            prefetch=1,
            preview=self.preview,
            preview_every=250,
            steps=stable_steps,
            cooldown_steps=cooldown_steps,
            averages_at=self.averages_at,
            origin=self.origin,
            content=self.content,
        )

    @property
    def shards(self) -> list[str]:
        """Names of all shards that it is trained on."""
        mixes = [self.mix] if self.cooldown_mix is None else [self.mix, self.cooldown_mix]
        return sorted({name for mix in mixes for name in (*mix.clips, *mix.pictures)})

    @cached_property
    def encoders(self) -> tuple[VideoVAE, TextEncoder]:
        device = default_device()
        dtype = working_dtype(device)
        return trained_vae(self.base).to(device, dtype), MiniLM(device=device, dtype=dtype)

    def prepare(self, run: RunConfig) -> RunConfig:
        vae, text = self.encoders
        write_latents(sources.LATENTS, sources.latent_jobs(self.shards), vae, text)
        null_text = text.encode([""]).tokens.cpu()
        cooldown = self.cooldown_mix.batches(null_text) if self.cooldown_mix else None
        return replace(run, batch=self.mix.batches(null_text), cooldown_batch=cooldown)

    def preview(self, dit: DiT, folder: Path) -> None:
        previewer(*self.encoders, self.sampling, PREVIEW)(dit, folder)

    def publish(self, dit: DiT, folder: Path, taken: int) -> None:
        save_part(dit, folder / "dit.safetensors")
        vae, (_, text) = trained_vae(self.base), self.encoders
        known, least = known_captions([Shards(sources.LATENTS / name) for name in self.shards], text)
        trained = {
            "recipe": self.name,
            "steps": taken,
            "world": WORLD_VERSION,
            "least_similarity": least,
            "captioner": "playroom",
        }
        made = Bundle("toybox", vae, dit, text, SAMPLING, trained=trained, known=known, card=CARD)
        save_bundle(folder / "bundle", made)


def filled(dit: DiT, path: Path) -> DiT:
    """Load weights that `save_part` wrote into a transformer; its heads for hints stay as new."""
    plain = DiT(dit.config)
    load_part(plain, path)
    dit.load_state_dict(plain.state_dict(), strict=False)
    return dit
