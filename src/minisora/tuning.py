"""A bundle trained on: with a user's own clips, or to need few steps; and what every run of the transformer leaves.

Here: `fine_tune`, a recipe like those of recipes.py; the packs it trains on; `distilled`, the run of a student;
previews; which captions a bundle knows.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import ceil, prod
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from minisora.bundle import Bundle, Sampling, Student, find, load_part
from minisora.bundle import load as load_bundle
from minisora.bundle import save as save_bundle
from minisora.data.latents import LatentBatch, LatentBatches
from minisora.data.shards import Shards
from minisora.data.windows import WindowConfig
from minisora.device import default_device, has_fast_bf16
from minisora.dit.lora import adapters_of, add_lora, merge_lora
from minisora.dit.model import DiT
from minisora.errors import UsageError
from minisora.generate.window import settings_for
from minisora.sources import LATENTS
from minisora.text.encoder import TextEncoder, sentences
from minisora.train.config import OptimConfig, RunConfig, split
from minisora.train.latents import fingerprint, write_clip_latents
from minisora.train.student import StudentLoss
from minisora.train.velocity import dit_loss, dummy_batch
from minisora.vae.codec import Codec
from minisora.vae.model import VideoVAE
from minisora.video import contact_sheet, write_video

CARD = "# toybox\n\nFresh from training; `minisora evaluate --model FOLDER` measures what it can do.\n"
TUNING_TOKENS = 4096
PREVIEW = (
    "a small red ball rolls to the left past a green cube, the camera orbits right",
    "a large blue cone spins on a wooden floor at sunset",
    "two yellow cylinders stay still, the camera zooms in",
    "a large purple cone bounces on a checkered floor at night",
    "a small white cube slides to the right and hits a large orange ball, on grass",
)
PICTURE_SHARE = 0.25  # of the tokens of a pack, where pictures are given beside clips


def fine_tune(
    data: Path | None = None,
    base: str | Path = "toybox",
    *,
    pictures: Path | None = None,
    lora: int | None = None,
    steps: int = 600,
) -> RunConfig:
    """A bundle's transformer, trained on: the clips of a folder that `minisora curate` wrote, at their own sizes.

    `minisora train fine-tune --from toybox --data FOLDER`; all weights, or with --lora RANK adapters beside them, which
    are folded in at the end. With --pictures, single frames of another such folder are a quarter of every step. Leaves
    a bundle.
    """
    if data is None:
        raise UsageError("fine-tune needs clips: give --data a folder that `minisora curate` wrote.")
    given = [folder for folder in (data, pictures) if folder is not None]
    clips = {folder: Shards(folder) for folder in given}
    bundle = _opened(base)
    how = bundle.sampling
    by = fingerprint(bundle.vae)
    which = {folder: f"{folder.resolve()} {by}".encode("utf-8", "surrogatepass") for folder in given}
    latents = {folder: LATENTS / f"fine-tune-{called(folder)}-{zlib.crc32(which[folder]):08x}" for folder in given}
    told = b" ".join(which[folder] for folder in given)
    rows, columns = (length // side for length, side in zip(how.size, bundle.token_size, strict=True))

    def prepare(run: RunConfig) -> RunConfig:
        side = max(bundle.token_size)
        for folder, shards in clips.items():
            write_clip_latents(latents[folder], shards, bundle.vae, bundle.text, side=side)
        return replace(run, batch=windows_of(*(Shards(latents[folder]) for folder in given), bundle=bundle))

    def preview(dit: DiT, samples: Path) -> None:
        shards = Shards(latents[data])
        captions = [clip_caption(shards, n) for n in range(min(4, len(shards)))]
        shown(bundle.vae, bundle.text, how, captions)(dit, samples)

    def publish(dit: DiT, run_folder: Path, taken: int) -> None:
        shards = [Shards(folder) for folder in latents.values()]
        known, _ = known_captions(shards, bundle.text)
        tuned = {"base": bundle.name, "clips": sum(map(len, shards)), "steps": taken}
        save_bundle(
            run_folder / "bundle",
            name=f"{bundle.name}-{called(data)}",
            vae=_stored_vae(bundle, base),
            dit=merge_lora(dit),
            sampling=how,
            trained={**bundle.trained, "fine_tuned": tuned},
            card=CARD,
            known=known if bundle.known is None else torch.cat([bundle.known.float().cpu(), known]),
        )

    stable_steps, cooldown_steps = split(steps, cooldown=0.4)
    return RunConfig(
        name="fine-tune",
        steps=stable_steps,
        cooldown_steps=cooldown_steps,
        build=_begun(bundle, lora),
        prepare=prepare,
        batch=lambda _: dummy_batch(bundle.dit.config, (5, rows, columns), tokens=TUNING_TOKENS, words=16),
        loss=dit_loss,
        publish=publish,
        optim=OptimConfig(lr=2e-3 if lora else 2e-4, warmup_steps=20, weight_decay=0.0),
        origin=f"{base} {fingerprint(bundle.dit)}, clips {zlib.crc32(told):08x}, adapters {lora}",
        ema_decay=0.99,
        prefetch=1,
        preview=preview,
        preview_every=max(1, steps // 3),
    )


def distilled(
    name: str,
    base: str | Path,
    *,
    write: Callable[[Codec, TextEncoder], None],
    batches: Callable[[Tensor], LatentBatches],
    sketched: LatentBatch,
    prompts: Sequence[str],
    steps: int,
    rank: int = 32,
) -> RunConfig:
    """A run that leaves a copy of a bundle, with a student beside its weights.

    write:    the latents that it is trained on
    batches:  null text -> packs of them; no pattern of theirs gives the tokens to be made several times
    sketched: such a pack, without data
    prompts:  of the previews, made by the student

    Raises UsageError for a bundle that was trained on other packs.
    """
    bundle = _opened(base)
    config, pack = bundle.dit.config, sketched.clean
    if (config.token_channels, config.text_width) != (pack.tokens.shape[1], pack.text.shape[1]):
        raise UsageError(f"the packs of {name} are not for {bundle.name}: give --from a bundle of the same recipe.")
    null_text = bundle.text.encode([""]).tokens.cpu()

    def prepare(run: RunConfig) -> RunConfig:
        write(bundle.vae, bundle.text)
        return replace(run, batch=batches(null_text), loss=loss)

    def student(dit: DiT) -> Student:
        return Student(adapters=adapters_of(dit), rank=rank)

    def publish(dit: DiT, folder: Path, taken: int) -> None:
        save_bundle(
            folder / "bundle",
            name=bundle.name,
            vae=_stored_vae(bundle, base),
            dit=bundle.dit,
            sampling=bundle.sampling,
            trained={**bundle.trained, "student": {"recipe": name, "steps": taken}},
            card=bundle.card,
            known=bundle.known,
            student=student(dit),
        )

    how, teacher = bundle.sampling, settings_for(replace(bundle, student=None), {})
    loss = StudentLoss(null_text=null_text, teacher=teacher, shift=how.shift, shift_tokens=how.shift_tokens)
    stable_steps, cooldown_steps = split(steps, cooldown=0.4)
    return RunConfig(
        name=name,
        steps=stable_steps,
        cooldown_steps=cooldown_steps,
        build=_begun(bundle, rank),
        prepare=prepare,
        batch=lambda _: sketched,
        loss=dit_loss,  # for a plan: of the passes of a step, one alone keeps anything for gradients
        publish=publish,
        optim=OptimConfig(lr=5e-4, warmup_steps=20, weight_decay=0.0),
        origin=f"{base} {fingerprint(bundle.dit)}, adapters {rank}",
        ema_decay=0.99,
        prefetch=1,
        preview=lambda dit, folder: show(replace(bundle, student=student(dit)), prompts, folder),
        preview_every=250,
    )


def _opened(base: str | Path) -> Bundle:
    device = default_device()
    return load_bundle(base, device=device, dtype=torch.bfloat16 if has_fast_bf16(device) else torch.float32)


def _begun(bundle: Bundle, lora: int | None) -> Callable[[], DiT]:
    """What builds the bundle's transformer, to be trained: all of it, or adapters of this rank."""
    weights = {name: value.float().cpu() for name, value in bundle.dit.state_dict().items()}

    def build() -> DiT:
        dit = DiT(bundle.dit.config)
        dit.load_state_dict(weights)
        return dit if lora is None else add_lora(dit, lora)

    return build


def _stored_vae(bundle: Bundle, base: str | Path) -> VideoVAE:
    """Bit for bit: the one in memory may be rounded."""
    assert isinstance(bundle.vae, VideoVAE)
    vae = VideoVAE(bundle.vae.config)
    load_part(vae, find(base) / "vae.safetensors")
    return vae


def windows_of(shards: Shards, pictures: Shards | None = None, *, bundle: Bundle) -> LatentBatches:
    """Packs of a user's clips: of TUNING_TOKENS tokens, or of more where one clip or picture alone has more.

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
    """Most tokens of a clip, of which no more than `longest` latents are taken."""
    sizes = zip(*(shards.columns(name) for name in ("num_frames", "height", "width")), strict=True)
    latents, token = bundle.vae.strides.num_latents, prod(bundle.token_size)
    tokens: Iterator[int] = (min(latents(n), longest) * height * width // token for n, height, width in sizes)
    return max(tokens)


def called(data: Path) -> str:
    """What a set of curated clips is called: `minisora curate` puts each into a folder `clips` of one with its name."""
    folder = data.resolve()
    return folder.parent.name if folder.name == "clips" else folder.name


def shown(vae: Codec, text: TextEncoder, sampling: Sampling, prompts: Sequence[str]) -> Callable[[DiT, Path], None]:
    """What to look at while a transformer is trained: the same prompts and seeds each time, moving and on one sheet."""

    def preview(dit: DiT, folder: Path) -> None:
        ready = dit.to(vae.latent_mean.device, vae.dtype).eval().requires_grad_(False)
        show(Bundle("preview", vae=vae, dit=ready, text=text, sampling=sampling), prompts, folder)

    return preview


def show(bundle: Bundle, prompts: Sequence[str], folder: Path) -> None:
    """A video of each prompt, as the bundle makes it, moving and on one sheet."""
    from minisora.generate.model import Model

    videos = [(prompt, Model(bundle).generate(prompt, seed=n)) for n, prompt in enumerate(prompts)]
    contact_sheet([(prompt, video.frames, video.fps) for prompt, video in videos]).save(folder / "sheet.png")
    beside = torch.cat([video.frames for _, video in videos], dim=2)
    write_video(folder / "samples.gif", beside, fps=videos[0][1].fps)


def clip_caption(shards: Shards, n: int) -> str:
    """Of a sample, or of the next that is whole."""
    captions: list[list[str]] = shards.read_whole(n, lambda _, members: json.loads(members["json"])["captions"])
    return captions[0][0]


def known_captions(sources: Sequence[Shards], text: TextEncoder, *, count: int = 400) -> tuple[Tensor, float]:
    """Directions of some captions of the training set, and how similar to one of them a prompt should be at least.

    Of other captions all but one in a hundred are nearer than the 1 % quantile; people's words differ more, so seven
    tenths of it are asked for. Prompts of other worlds came out at 0.16 to 0.28, the bound at 0.48.
    """
    captions = []
    for shards in sources:
        for index in range(min(2 * count, len(shards))):
            captions.append(clip_caption(shards, index))
    Random(0).shuffle(captions)
    directions = sentences(text, captions[: 2 * count]).cpu()
    known, others = directions[:count], directions[count:]
    nearest = (others @ known.T).amax(1) if len(others) else torch.ones(1)
    return known, 0.7 * float(nearest.quantile(0.01))
