"""Held-out figures of the parts: the VAE's reconstruction, the transformer's loss by noise level.

Here: measuring. Not here: prompt following (score.py), the report (report.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from minisora import diffusion
from minisora.bundle import Bundle
from minisora.data.pack import Pack, distinct_times
from minisora.data.patch import patchify
from minisora.errors import UsageError
from minisora.eval.metrics import psnr, ssim
from minisora.generate.canvas import build
from minisora.vae.codec import Codec, round_trip
from minisora.video import Shape, to_float
from minisora.worlds import footage, stickers
from minisora.worlds.seeds import VAE_FIGURES

FOOTAGE_SIDE = 128  # pixels
BINS = 10  # bins of t


def vae_figures(vae: Codec, playroom: Sequence[Tensor], *, count: int, num_frames: int) -> dict[str, dict[str, float]]:
    """PSNR in dB and SSIM over held-out clips of each source that is in the cache."""
    height, width = playroom[0].shape[1:3]
    small = Shape(num_frames=num_frames, height=height, width=width, fps=8.0)
    large = Shape(num_frames=num_frames, height=FOOTAGE_SIDE, width=FOOTAGE_SIDE, fps=8.0)
    sources: dict[str, Callable[[], Iterator[Tensor]]] = {
        "playroom": lambda: iter(playroom[:count]),
        "stickers": lambda: (stickers.clip(VAE_FIGURES[n], small, split="held_out").frames for n in range(count)),
        "footage": lambda: (clip.frames for clip in footage.held_out_clips(large, seed=VAE_FIGURES.start)),
    }
    quality = {}
    for name, clips in sources.items():
        try:
            pairs = [(frames, round_trip(vae, frames)) for frames in islice(clips(), count)]
        except UsageError:  # not in the cache
            continue
        quality[name] = {
            "psnr_db": sum(psnr(*pair) for pair in pairs) / len(pairs),
            "ssim": sum(ssim(*pair) for pair in pairs) / len(pairs),
            "clips": len(pairs),
        }
    return quality


@torch.inference_mode()
def loss_by_noise(bundle: Bundle, clips: Sequence[Tensor], prompts: Sequence[str], fps: float) -> list[float]:
    """Flow-matching loss of held-out clips with their prompts, at the middle of BINS bins of t."""
    count, height, width, _ = clips[0].shape
    canvas = build(bundle, Shape(num_frames=count, height=height, width=width, fps=fps))
    device = bundle.vae.latent_mean.device
    generator = torch.Generator().manual_seed(0)
    errors, times = [], []
    for frames, prompt in zip(clips, prompts, strict=True):
        latents = bundle.vae.encode(to_float(frames[None]).to(device, bundle.vae.dtype)).float()
        x0 = patchify(latents, canvas.patch)[0]
        text = bundle.text.encode([prompt])
        context = bundle.dit.context(text.tokens, tuple(text.lengths))
        for n in range(BINS):
            t = torch.full((len(x0),), (n + 0.5) / BINS, device=device)
            eps = torch.randn(x0.shape, generator=generator).to(device)
            distinct, index = distinct_times(t)
            pack = Pack(
                tokens=diffusion.interpolate(x0, eps, t),
                times=distinct,
                time_index=index,
                positions=canvas.positions,
                single=canvas.single,
                lengths=(len(x0),),
                text=text.tokens,
                text_lengths=tuple(text.lengths),
            )
            errors.append(diffusion.velocity_error(bundle.dit(pack, context), x0, eps).cpu())
            times.append(t.cpu())
    by_bin: list[float] = diffusion.loss_by_bin(torch.cat(errors), torch.cat(times), BINS).tolist()
    return by_bin
