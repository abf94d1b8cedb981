"""Our VAE's decoder and diffusers' `AutoencoderKLWan`, side by side.

About as many parameters, 8x8 pixels and 4 frames a latent.

    python benchmarks/vae.py
    python benchmarks/vae.py --size 128x128 --runs 5

bf16, no gradients, weights as they begin: only speed and memory are compared. The two take turns;
medians. Both decode the whole clip; ours also as a stream, whose memory should not grow with the
length. Memory is what the allocator gives out at its peak, in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable
from typing import Any

import torch
from wan import alternating, most_allocated

from minisora.device import matmul_peak, use_affinity_threads
from minisora.vae.model import STRIDE, VAEConfig, VideoVAE

BASE = 24  # channels; other widths in the proportions that Wan has them
WAYS = ("ours", "ours as a stream", "theirs")


def theirs() -> Any:
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    return AutoencoderKLWan(base_dim=BASE).eval().bfloat16()


def ours() -> VideoVAE:
    torch.manual_seed(0)
    return VideoVAE(VAEConfig()).eval().bfloat16()


def decoding(way: str, height: int, width: int, num_frames: int) -> Callable[[], object]:
    z = torch.randn(1, VideoVAE.strides.num_latents(num_frames), height // STRIDE, width // STRIDE, 16).bfloat16()
    if way == "theirs":
        other, channels_first = theirs(), z.movedim(-1, 1).contiguous()
        return lambda: other.decode(channels_first, return_dict=False)
    vae = ours()
    if way == "ours":
        return lambda: vae.decode(z)
    return lambda: in_pieces(vae, z)


def in_pieces(vae: VideoVAE, z: torch.Tensor) -> None:
    """Two latents at a time, as sampling decodes; of each piece a pixel is looked at."""
    past = None
    for piece in z.split(2, 1):
        frames, past = vae.decode_next(piece, past)
        float(frames[0, -1, 0, 0, 0])


@torch.no_grad()
def memory(way: str, height: int, width: int, num_frames: int) -> int:
    use_affinity_threads()
    decode = decoding(way, height, width, num_frames)
    decode()
    return most_allocated(decode)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", default=["64x64", "128x128", "256x256"], help="WIDTHxHEIGHT")
    parser.add_argument("--frames", type=int, nargs="+", default=[17, 65])
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    threads, peak = use_affinity_threads(), matmul_peak(torch.device("cpu"), torch.bfloat16)
    counts = [sum(p.numel() for p in network.decoder.parameters()) for network in (ours(), theirs())]
    print(f"{threads} threads, bf16 matmul peak {peak / 1e12:.2f} TFLOP/s; medians of {asked.runs}")
    print(f"parameters of the decoders: ours {counts[0]:,}, theirs {counts[1]:,}\n")
    head = ["size", "frames", *(f"{way}, s" for way in WAYS), "theirs / ours", *(f"{way}, MiB" for way in WAYS)]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for size in asked.size:
        width, height = (int(side) for side in size.split("x"))
        for num_frames in asked.frames:
            shape = (height, width, num_frames)
            with torch.no_grad():
                seconds = alternating(asked.runs, *(decoding(way, *shape) for way in WAYS))
            with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
                held = pool.starmap(memory, [(way, *shape) for way in WAYS], 1)
            told = [*(f"{taken:.3f}" for taken in seconds), f"{seconds[2] / seconds[0]:.2f}x"]
            told += [f"{taken / 2**20:.0f}" for taken in held]
            print(f"| {size} | {num_frames} | {' | '.join(told)} |", flush=True)


if __name__ == "__main__":
    main()
