"""Fine-tuning of a bundle on a user's own clips.

Here: `fine_tune`, and its packs. Not here: cutting videos into clips (curate/), previews and the
published files (published.py).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, prod
from pathlib import Path

import torch

from minisora.bundle import Bundle
from minisora.bundle import save as save_bundle
from minisora.data.latents import LatentBatches
from minisora.data.shards import Shards
from minisora.data.windows import WindowConfig
from minisora.dit.lora import merge_lora
from minisora.dit.model import DiT
from minisora.errors import UsageError
from minisora.outside import as_path
from minisora.recipes.published import (
    CARD,
    clip_caption,
    known_captions,
    open_bundle,
    previewer,
    stored_vae,
    transformer_builder,
)
from minisora.sources import LATENTS
from minisora.train.config import OptimConfig, RunConfig, split
from minisora.train.latents import clip_marks, digest_of, fingerprint, write_clip_latents
from minisora.train.velocity import dit_loss, dummy_batch

TUNING_TOKENS = 4096
PICTURE_SHARE = 0.25  # of the tokens of a pack, if there are pictures in addition to clips


def fine_tune(
    data: Path | None = None,
    base: str | Path = "toybox",
    *,
    pictures: Path | None = None,
    lora: int | None = None,
    steps: int = 600,
) -> RunConfig:
    """Fine-tuning of a bundle's transformer on the clips of a folder that `minisora curate` wrote.

    `minisora train fine-tune --from toybox --data FOLDER`; all weights, or with --lora RANK only
    adapters, which are merged at the end. With --pictures, single frames of another such folder are
    a quarter of every step. Publishes a bundle.
    """
    if data is None:
        raise UsageError("fine-tune needs clips: give --data a folder that `minisora curate` wrote.")
    curated = [Shards(as_path(folder)) for folder in (data, pictures) if folder is not None]
    return _Tuning(open_bundle(base), base, curated).config(lora, steps)


@dataclass(frozen=True)
class _Tuning:
    """A bundle, and the curated clips to fine-tune it on, followed by pictures if there are any."""

    bundle: Bundle
    base: str | Path
    curated: list[Shards]

    def config(self, lora: int | None, steps: int) -> RunConfig:
        stable_steps, cooldown_steps = split(steps, cooldown=0.4)
        sizes = zip(self.bundle.sampling.size, self.bundle.token_size, strict=True)
        rows, columns = (length // side for length, side in sizes)
        return RunConfig(
            name="fine-tune",
            steps=stable_steps,
            cooldown_steps=cooldown_steps,
            build=transformer_builder(self.bundle, lora),
            prepare=self.prepare,
            batch=lambda _: dummy_batch(self.bundle.dit.config, (5, rows, columns), tokens=TUNING_TOKENS, words=16),
            loss=dit_loss,
            publish=self.publish,
            optim=OptimConfig(lr=2e-3 if lora else 2e-4, warmup_steps=20, weight_decay=0.0),
            origin=f"{self.base} {fingerprint(self.bundle.dit)}, clips {self.paths}, adapters {lora}",
            content=self.content,
            ema_decay=0.99,
            prefetch=1,
            preview=self.preview,
            preview_every=max(1, steps // 3),
        )

    @property
    def paths(self) -> str:
        """CRC-32 of the folders of the clips and of the VAE, as eight digits."""
        by, folders = fingerprint(self.bundle.vae), [each.folder for each in self.curated]
        named = b" ".join(f"{folder.resolve()} {by}".encode("utf-8", "surrogatepass") for folder in folders)
        return f"{zlib.crc32(named):08x}"

    @property
    def content(self) -> str:
        """Digest of the clips and their encoders, eight digits for each folder."""
        vae, text = self.bundle.vae, self.bundle.text
        return " ".join(digest_of(clip_marks(each, vae, text, side=self.side))[:8] for each in self.curated)

    @property
    def side(self) -> int:
        """Heights and widths of clips are multiples of this, in pixels."""
        return max(self.bundle.token_size)

    @property
    def latents(self) -> list[Path]:
        """Folders for the latents of each folder of clips."""
        by, folders = fingerprint(self.bundle.vae), [each.folder for each in self.curated]
        sums = [zlib.crc32(f"{folder.resolve()} {by}".encode("utf-8", "surrogatepass")) for folder in folders]
        return [LATENTS / f"fine-tune-{name_of_set(folder)}-{n:08x}" for folder, n in zip(folders, sums, strict=True)]

    def prepare(self, run: RunConfig) -> RunConfig:
        for folder, shards in zip(self.latents, self.curated, strict=True):
            write_clip_latents(folder, shards, self.bundle.vae, self.bundle.text, side=self.side)
        return replace(run, batch=windows_of(*map(Shards, self.latents), bundle=self.bundle))

    def preview(self, dit: DiT, samples: Path) -> None:
        shards = Shards(self.latents[0])
        captions = [clip_caption(shards, n) for n in range(min(4, len(shards)))]
        previewer(self.bundle.vae, self.bundle.text, self.bundle.sampling, captions)(dit, samples)

    def publish(self, dit: DiT, run_folder: Path, taken: int) -> None:
        bundle, shards = self.bundle, [Shards(folder) for folder in dict.fromkeys(self.latents)]
        known, _ = known_captions(shards, bundle.text)
        tuned = {"base": bundle.name, "clips": sum(map(len, shards)), "steps": taken}
        made = replace(
            bundle,
            name=f"{bundle.name}-{name_of_set(self.curated[0].folder)}",
            vae=stored_vae(bundle, self.base),
            dit=merge_lora(dit),
            trained={**bundle.trained, "fine_tuned": tuned},
            card=CARD,
            known=known if bundle.known is None else torch.cat([bundle.known.float().cpu(), known]),
            student=None,
        )
        save_bundle(run_folder / "bundle", made)


def windows_of(shards: Shards, pictures: Shards | None = None, *, bundle: Bundle) -> LatentBatches:
    """Packs of a user's clips: TUNING_TOKENS tokens, or more if a single clip or picture has more.

    pictures: single frames of these are PICTURE_SHARE of every pack
    """
    most = bundle.vae.strides.num_latents(max(shards.columns("num_frames")))
    lengths = [(n, weight) for n, weight in ((1, 0.1), (2, 0.05), (3, 0.05), (5, 0.6), (9, 0.2)) if n <= most]
    lengths = lengths or [(most, 1.0)]
    how, share = bundle.sampling, PICTURE_SHARE if pictures else 0.0
    clip, picture = (
        _largest(of, longest, bundle) for of, longest in ((shards, lengths[-1][0]), (pictures or shards, 1))
    )
    # a window may hold as many single frames again
    budget = max(TUNING_TOKENS, ceil(2 * clip / (1 - share)), ceil(picture / share) if pictures else 0)
    return LatentBatches(
        sources=[(shards, 1.0)],
        null_text=bundle.text.encode([""]).tokens.cpu(),
        windows=WindowConfig(lengths=tuple(lengths), shift=how.shift, shift_tokens=how.shift_tokens),
        patch=bundle.dit.config.patch,
        budget=budget,
        time_rate=how.time_rate,
        flops=bundle.dit.config.flops,
        pictures=[(pictures, 1.0)] if pictures else (),
        picture_share=share,
    )


def _largest(shards: Shards, longest: int, bundle: Bundle) -> int:
    """Largest number of tokens of a clip, cut to at most `longest` latents."""
    sizes = zip(*(shards.columns(name) for name in ("num_frames", "height", "width")), strict=True)
    latents, token = bundle.vae.strides.num_latents, prod(bundle.token_size)
    tokens: Iterator[int] = (min(latents(n), longest) * height * width // token for n, height, width in sizes)
    return max(tokens)


def name_of_set(data: Path) -> str:
    """Name of a set of curated clips: its folder, or the folder around `clips`."""
    folder = data.resolve()
    return folder.parent.name if folder.name == "clips" else folder.name
