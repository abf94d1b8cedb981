"""Initial weights, previews and published files of transformer runs, whatever the training data.

Here: opening a bundle for further training, previews, known captions of a bundle, its card.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from minisora.bundle import Bundle, Sampling, find, load_part
from minisora.bundle import load as load_bundle
from minisora.data.shards import Shards
from minisora.device import default_device, working_dtype
from minisora.dit.lora import add_lora
from minisora.dit.model import DiT
from minisora.text.encoder import TextEncoder, sentences
from minisora.vae.codec import Codec
from minisora.vae.model import VideoVAE
from minisora.video import contact_sheet, write_video

CARD = "# toybox\n\nFresh from training; `minisora evaluate --model FOLDER` measures what it can do.\n"
PREVIEW = (
    "a small red ball rolls to the left past a green cube, the camera orbits right",
    "a large blue cone spins on a wooden floor at sunset",
    "two yellow cylinders stay still, the camera zooms in",
    "a large purple cone bounces on a checkered floor at night",
    "a small white cube slides to the right and hits a large orange ball, on grass",
)


def open_bundle(base: str | Path) -> Bundle:
    """Load a bundle on this machine's device and in its working dtype."""
    device = default_device()
    return load_bundle(base, device=device, dtype=working_dtype(device))


def transformer_builder(bundle: Bundle, lora: int | None) -> Callable[[], DiT]:
    """A function that builds the bundle's transformer for training, with adapters if `lora`."""
    weights = {name: value.float().cpu() for name, value in bundle.dit.state_dict().items()}

    def build() -> DiT:
        dit = DiT(bundle.dit.config)
        dit.load_state_dict(weights)
        return dit if lora is None else add_lora(dit, lora)

    return build


def stored_vae(bundle: Bundle, base: str | Path) -> VideoVAE:
    """The VAE of a bundle exactly as stored; the one in memory may be rounded."""
    assert isinstance(bundle.vae, VideoVAE)
    vae = VideoVAE(bundle.vae.config)
    load_part(vae, find(base) / "vae.safetensors")
    return vae


def previewer(vae: Codec, text: TextEncoder, sampling: Sampling, prompts: Sequence[str]) -> Callable[[DiT, Path], None]:
    """A function that writes previews of a transformer in training: fixed prompts and seeds."""

    def preview(dit: DiT, folder: Path) -> None:
        ready = dit.to(vae.latent_mean.device, vae.dtype).eval().requires_grad_(False)
        write_previews(Bundle("preview", vae=vae, dit=ready, text=text, sampling=sampling), prompts, folder)

    return preview


def write_previews(bundle: Bundle, prompts: Sequence[str], folder: Path) -> None:
    """Write a video of each prompt by the bundle, all in one GIF and on one contact sheet."""
    from minisora.generate.model import Model

    videos = [(prompt, Model(bundle).generate(prompt, seed=n)) for n, prompt in enumerate(prompts)]
    contact_sheet([(prompt, video.frames, video.fps) for prompt, video in videos]).save(folder / "sheet.png")
    beside = torch.cat([video.frames for _, video in videos], dim=2)
    write_video(folder / "samples.gif", beside, fps=videos[0][1].fps)


def clip_caption(shards: Shards, n: int) -> str:
    """The first caption of a sample, or of the next undamaged one."""
    captions: list[list[str]] = shards.read_whole(n, lambda _, members: json.loads(members["json"])["captions"])
    return captions[0][0]


def known_captions(sources: Sequence[Shards], text: TextEncoder, *, count: int = 400) -> tuple[Tensor, float]:
    """Embeddings of some training captions, and the least similarity of a known prompt to them.

    The bound is 0.7 of the 1 % quantile of other training captions' similarity to the nearest one,
    as people's wording varies more. Prompts of other worlds had 0.16 to 0.28, the bound was 0.48.
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
