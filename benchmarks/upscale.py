"""The upscaler against bicubic: figures on held-out scenes, seconds for a clip, and a picture.

    python benchmarks/upscale.py FOLDER [--count 24] [--side 64] [--picture upscaled.png]

FOLDER is what `minisora train toybox-upscale` leaves, `.cache/runs/toybox-upscale/upscaler`. In a
row of the picture: what the VAE gives, bicubic enlargement, ours, the scene drawn large.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import torch
from PIL import Image
from torch.utils.benchmark import Timer

import minisora
from minisora.device import default_device, working_dtype
from minisora.eval.upscaling import held_out_pairs, upscale_figures
from minisora.upscale.files import load_upscaler
from minisora.upscale.model import Upscaler
from minisora.video import resize


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--model", default="toybox", help="whose VAE the frames go through")
    asked.add_argument("--count", type=int, default=24)
    asked.add_argument("--side", type=int, default=64)
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--picture", type=Path)
    given = asked.parse_args()
    device = default_device()
    dtype = working_dtype(device)
    upscaler = load_upscaler(given.folder, device=device, dtype=dtype)
    vae = minisora.load(given.model).bundle.vae
    for name, figures in upscale_figures(upscaler, vae, count=given.count, side=given.side).items():
        print(f"{name:>8}  " + "  ".join(f"{key} {value:.3f}" for key, value in figures.items()))
    clip = torch.randint(0, 256, (17, given.side, given.side, 3), dtype=torch.uint8)
    timer = Timer("upscaler.upscale(clip)", globals={"upscaler": upscaler, "clip": clip}, num_threads=given.threads)
    print(timer.blocked_autorange(min_run_time=3))
    if given.picture is not None:
        picture(upscaler, vae, given.picture, given.side)


def picture(upscaler: Upscaler, vae: torch.nn.Module, path: Path, side: int, rows: int = 6) -> None:
    factor = upscaler.config.factor
    lines = []
    for small, true in islice(held_out_pairs(vae, rows, side=side, factor=factor), rows):
        tiles = small.repeat_interleave(factor, 1).repeat_interleave(factor, 2), resize(small, *true.shape[1:3])
        lines.append(torch.cat([frames[len(true) // 2] for frames in (*tiles, upscaler.upscale(small), true)], 1))
    Image.fromarray(torch.cat(lines).numpy()).save(path)
    print(path)


if __name__ == "__main__":
    main()
