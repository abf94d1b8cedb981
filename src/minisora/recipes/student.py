"""The run of a student: adapters on a bundle's weights, for few steps without guidance.

Here: `toybox_student`, and `distilled` for any bundle. Not here: the loss (train/student.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from minisora import sources
from minisora.bundle import Bundle, Student
from minisora.bundle import save as save_bundle
from minisora.data.latents import LatentBatch, LatentBatches
from minisora.data.pack import Pack
from minisora.data.windows import WindowConfig
from minisora.dit.lora import adapters_of
from minisora.dit.model import DiT
from minisora.errors import UsageError
from minisora.generate.window import settings_for
from minisora.recipes.published import PREVIEW, open_bundle, stored_vae, transformer_builder, write_previews
from minisora.recipes.transformer import ALL_SIZES, BUDGET, DIT, TOKENS
from minisora.runs.logs import RUNS
from minisora.text.encoder import TextEncoder
from minisora.train.config import OptimConfig, RunConfig, split
from minisora.train.latents import fingerprint, write_latents
from minisora.train.student import StudentLoss
from minisora.train.velocity import dit_loss, dummy_batch
from minisora.vae.codec import Codec


def toybox_student(steps: int = 3000, base: str | Path | None = None) -> RunConfig:
    """A student of `toybox` for four steps without guidance: adapters on its weights.

    `minisora train toybox-student`; 2 CPU cores. Uses the bundle of a toybox run here, or the
    embedded one; publishes a copy with `student.safetensors`.
    """
    left = RUNS / "toybox" / "bundle"
    one_time = tuple(pattern for pattern in WindowConfig.patterns if pattern[0] != "each")
    mix = replace(ALL_SIZES, windows=replace(ALL_SIZES.windows, patterns=one_time, drop_text=0.0))
    return distilled(
        "toybox-student",
        base or (left if (left / "bundle.json").exists() else "toybox"),
        write=lambda vae, text: write_latents(
            sources.LATENTS, sources.latent_jobs([*mix.clips, *mix.pictures]), vae, text
        ),
        batches=mix.batches,
        dummy=dummy_batch(DIT, TOKENS, tokens=BUDGET, words=24),
        prompts=PREVIEW,
        steps=steps,
    )


def distilled(
    name: str,
    base: str | Path,
    *,
    write: Callable[[Codec, TextEncoder], None],
    batches: Callable[[Tensor], LatentBatches],
    dummy: LatentBatch,
    prompts: Sequence[str],
    steps: int,
    rank: int = 32,
) -> RunConfig:
    """The run of a student, which publishes a copy of a bundle with the student added.

    write:   writes the latents to train on
    batches: null text -> packs; all generated tokens of a clip must have one time
    dummy:   such a pack, without data
    prompts: for previews by the student

    Raises UsageError for a bundle that was trained on packs of another shape.
    """
    bundle = open_bundle(base)
    _check_fits(name, bundle, dummy.clean)
    how, null_text = bundle.sampling, bundle.text.encode([""]).tokens.cpu()
    teacher = settings_for(replace(bundle, student=None), {})
    loss = StudentLoss(null_text=null_text, teacher=teacher, shift=how.shift, shift_tokens=how.shift_tokens)

    def prepare(run: RunConfig) -> RunConfig:
        write(bundle.vae, bundle.text)
        return replace(run, batch=batches(null_text), loss=loss)

    def taught(dit: DiT) -> Bundle:
        return replace(bundle, student=Student(adapters=adapters_of(dit), rank=rank))

    def publish(dit: DiT, folder: Path, taken: int) -> None:
        trained = {**bundle.trained, "student": {"recipe": name, "steps": taken}}
        save_bundle(folder / "bundle", replace(taught(dit), vae=stored_vae(bundle, base), trained=trained))

    stable_steps, cooldown_steps = split(steps, cooldown=0.4)
    return RunConfig(
        name=name,
        steps=stable_steps,
        cooldown_steps=cooldown_steps,
        build=transformer_builder(bundle, rank),
        prepare=prepare,
        batch=lambda _: dummy,
        loss=dit_loss,  # for a plan: of the passes of a step, one alone keeps anything for gradients
        publish=publish,
        optim=OptimConfig(lr=5e-4, warmup_steps=20, weight_decay=0.0),
        origin=f"{base} {fingerprint(bundle.dit)}, adapters {rank}",
        ema_decay=0.99,
        prefetch=1,
        preview=lambda dit, folder: write_previews(taught(dit), prompts, folder),
        preview_every=250,
    )


def _check_fits(name: str, bundle: Bundle, pack: Pack) -> None:
    config = bundle.dit.config
    if (config.token_channels, config.text_width) != (pack.tokens.shape[1], pack.text.shape[1]):
        raise UsageError(f"the packs of {name} are not for {bundle.name}: give --from a bundle of the same recipe.")
