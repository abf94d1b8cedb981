"""The upscaler against bicubic enlargement, on held-out scenes that are also rendered large.

Here: metrics of pixels. Not here: the VAE itself (figures.py), the content of a clip (judge/).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from minisora.eval.metrics import motion_energy, psnr, ssim
from minisora.upscale.model import Upscaler
from minisora.vae.codec import Codec, round_trip
from minisora.video import resize
from minisora.worlds import playroom
from minisora.worlds.seeds import UPSCALED


def held_out_pairs(
    vae: Codec, count: int, *, side: int, factor: int, num_frames: int = 17
) -> Iterator[tuple[Tensor, Tensor]]:
    """Held-out scenes at `side` pixels after the VAE, and rendered `factor` times as large.

    yields   (T, side, side, 3) and (T, factor * side, factor * side, 3) uint8
    """
    for seed in UPSCALED[:count]:
        scenes = [playroom.draw(seed, split="held_out")]
        small, large = (
            playroom.render(scenes, height=size, width=size, num_frames=num_frames).frames[0]
            for size in (side, factor * side)
        )
        yield round_trip(vae, small), large


def upscale_figures(upscaler: Upscaler, vae: Codec, *, count: int = 24, side: int = 64) -> dict[str, dict[str, float]]:
    """Rows `true`, `bicubic` and `ours`: means over held-out clips.

    psnr_db, ssim  against the true frames; absent in the row `true`
    change         mean difference of neighbouring frames, in 0..255
    flicker        the same, only where the true frames do not change
    sharpness      root mean square difference of neighbouring pixels, in 0..255
    """
    size = upscaler.config.factor * side
    sums: dict[str, dict[str, float]] = {"true": {}, "bicubic": {}, "ours": {}}
    for small, true in held_out_pairs(vae, count, side=side, factor=upscaler.config.factor):
        clips = {"true": true, "bicubic": resize(small, size, size), "ours": upscaler.upscale(small)}
        for name, frames in clips.items():
            values = {"change": motion_energy(frames), "flicker": flicker(frames, true), "sharpness": sharpness(frames)}
            if name != "true":
                values |= {"psnr_db": psnr(frames, true), "ssim": ssim(frames, true)}
            for key, value in values.items():
                sums[name][key] = sums[name].get(key, 0.0) + value / count
    return sums


def upscale_sheet(upscaler: Upscaler, vae: Codec, *, count: int = 4, side: int = 64) -> Tensor:
    """A contact sheet with a row for each held-out clip: bicubic, our upscaler, and the true frame.

    returns  (H, W, 3) uint8
    """
    factor = upscaler.config.factor
    rows = []
    for small, true in held_out_pairs(vae, count, side=side, factor=factor, num_frames=5):
        clips = resize(small, factor * side, factor * side), upscaler.upscale(small), true
        rows.append(torch.cat([frames[len(frames) // 2] for frames in clips], 1))
    return torch.cat(rows)


def flicker(frames: Tensor, true: Tensor) -> float:
    """Mean difference of neighbouring frames where those of `true` differ by 1 at most.

    In 0..255; 0 if nowhere.
    """
    still = true.short().diff(dim=0).abs().amax(-1) <= 1
    changes = frames.short().diff(dim=0).abs().float().mean(-1)[still]
    return float(changes.mean()) if len(changes) else 0.0


def sharpness(frames: Tensor) -> float:
    """Root mean square difference of neighbouring pixels, in 0..255. frames: (T, H, W, 3) uint8"""
    pixels = frames.float()
    return float(torch.stack([pixels.diff(dim=dim).square().mean() for dim in (1, 2)]).mean().sqrt())
