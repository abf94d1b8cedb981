"""Attention of a training step, forward and backward: its weights kept, and worked out again.

    python benchmarks/attention.py --tokens 80 180 320 1024 --clips 8

Which is taken when: dit/attention.py. Ratios are of one run, side by side; what keeps is the first
line of each pair.
"""

from __future__ import annotations

import argparse

import torch
from torch.utils.benchmark import Compare, Measurement, Timer

from minisora.device import default_device, keep_freed_memory, matmul_peak, use_affinity_threads, working_dtype
from minisora.dit import attention as module
from minisora.dit.attention import Segments, attention

FORMS = {"kept": 1 << 62, "again": 0}  # the most queries times keys whose weights are kept


def measure(form: str, tokens: int, *, clips: int, heads: int, head_width: int, seconds: float) -> Measurement:
    device = default_device()
    dtype = working_dtype(device)
    module.KEPT_UP_TO = FORMS[form]
    segments = Segments((tokens,) * clips, (tokens,) * clips)
    q, k, v = (
        torch.randn(clips * tokens, heads, head_width, device=device, dtype=dtype, requires_grad=True) for _ in range(3)
    )
    timer = Timer(
        "attention(q, k, v, segments).backward(towards)",
        globals={"attention": attention, "q": q, "k": k, "v": v, "segments": segments, "towards": torch.randn_like(q)},
        label=f"attention of {clips} clips, {heads} heads of {head_width}, {dtype} on {device}",
        sub_label=f"{tokens} tokens",
        description=form,
        num_threads=torch.get_num_threads(),
    )
    return timer.blocked_autorange(min_run_time=seconds)  # warms up, waits for the GPU, keeps the spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[80, 180, 320, 1024])
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--head-width", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.0, help="least time for each line")
    asked = parser.parse_args()
    device = default_device()
    if device.type == "cuda":
        parser.exit(message="on CUDA one kernel serves all packs: there is nothing to compare here.\n")
    keep_freed_memory()
    threads = use_affinity_threads()
    dtype = working_dtype(device)
    peak = matmul_peak(device, dtype)
    found: list[tuple[Measurement, float]] = []
    for tokens in asked.tokens:
        flops = 3 * 4 * asked.clips * tokens**2 * asked.heads * asked.head_width
        for form in FORMS:
            shape = {"clips": asked.clips, "heads": asked.heads, "head_width": asked.head_width}
            one = measure(form, tokens, **shape, seconds=asked.seconds)
            found.append((one, flops / one.median))
    peak = max(peak, matmul_peak(device, dtype))
    Compare([one for one, _ in found]).print()
    for one, rate in found:
        print(f"{one.sub_label}, {one.description}: {rate / peak:.1%} of the matmul peak")
    print(f"{threads} threads, matmul peak {peak / 1e12:.2f} TFLOP/s, the better of one before and one after")


if __name__ == "__main__":
    main()
