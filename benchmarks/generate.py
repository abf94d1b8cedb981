"""How long each stage of `generate` takes, cold and warm, and the MFU of denoising.

    python benchmarks/generate.py
    python benchmarks/generate.py --model DIR --size 96x96 128x128 --frames 17 --steps 24 --runs 5
    python benchmarks/generate.py --one-stage
    python benchmarks/generate.py --candidates 8

Cold is the first video of its size in this process, with its text encoder read at the first of all.
MFU is the FLOPs of `DiTConfig.flops` over the seconds of the stage `denoise`, over the rate of a
matmul measured before and after; the better of the two counts. Without the embedded weights random
ones of the same shape are timed, which is said.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import Any

import minisora
from minisora.bundle import Bundle, Sampling, available
from minisora.device import default_device, matmul_peak, use_affinity_threads, working_dtype
from minisora.dit.model import DiT, DiTConfig
from minisora.generate.model import Model
from minisora.generate.verbs import Generate
from minisora.text.minilm import MiniLM
from minisora.vae.model import GROUP, STRIDE, VAEConfig, VideoVAE

PROMPT = "a small red ball rolls to the left past a green cube, the camera orbits right"


def random_model() -> Model:
    """Weights of the embedded shape that were never trained."""
    device = default_device()
    dtype = working_dtype(device)
    vae = VideoVAE(VAEConfig())
    dit = DiT(DiTConfig(width=256, depth=8, num_heads=4, mlp_width=1024, text_width=384))
    for part in (vae, dit):
        part.to(device, dtype).eval().requires_grad_(False)
    return Model(Bundle(name="random", vae=vae, dit=dit, text=MiniLM(device=device), sampling=Sampling()))


def denoise_flops(bundle: Bundle, num_frames: int, height: int, width: int, steps: int) -> float:
    """Of a two-call guided step with one network evaluation a step, on both texts."""
    _, ph, pw = bundle.dit.config.patch
    tokens = VideoVAE.strides.num_latents(num_frames) * -(-height // (STRIDE * ph)) * -(-width // (STRIDE * pw))
    text_lengths = tuple(bundle.text.encode([PROMPT, ""]).lengths)
    return steps * bundle.dit.config.flops((tokens, tokens), text_lengths)


def row(name: str, timings: dict[str, float]) -> str:
    stages = "  ".join(f"{stage} {seconds:7.3f}" for stage, seconds in timings.items())
    return f"{name:<22} {stages}  total {sum(timings.values()):7.3f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="toybox")
    parser.add_argument("--size", nargs="+", default=["96x96", "128x128"], metavar="WxH")
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--candidates", type=int, help="first frames to choose from; the model's own")
    parser.add_argument("--one-stage", action="store_true", help="make the first frame with the rest")
    parser.add_argument("--runs", type=int, default=5, help="warm runs of each size")
    asked = parser.parse_args()
    threads = use_affinity_threads()
    device = default_device()
    dtype = working_dtype(device)
    peak = matmul_peak(device, dtype)
    random = asked.model == "toybox" and "toybox" not in available()
    model = random_model() if random else minisora.load(asked.model, upscale="none")
    how = "random weights" if random else f"{asked.model}, loaded in {model.load_seconds:.2f} s"
    print(f"{how}; {dtype} on {device}, {threads} threads; {asked.frames} frames, {asked.steps} steps with guidance")
    fps = model.bundle.sampling.fps
    everywhere = {"guidance": 3.0, "guidance_interval": (0.0, 1.0)}  # every step runs both texts, as FLOPs are counted
    settings: dict[str, Any] = {"seconds": (asked.frames - 1) / fps, "steps": asked.steps, **everywhere}
    settings |= {"candidates": asked.candidates, "one_stage": asked.one_stage}
    found = []
    for size in asked.size:
        width, height = (int(side) for side in size.split("x"))
        runs = []
        for seed in range(1 + asked.runs):
            result = model.run(Generate(PROMPT, size=(height, width), seed=seed, **settings))
            assert len(result.video.frames) == asked.frames, result.video
            runs.append(result.timings)
        cold, warm = runs[0], runs[1:]
        print(row(f"{size} cold", cold), flush=True)
        if not warm:
            continue
        print(row(f"{size} median of {len(warm)}", {stage: median(run[stage] for run in warm) for stage in cold}))
        totals = [sum(run.values()) for run in warm]
        print(f"{size} totals from {min(totals):.3f} to {max(totals):.3f} s", flush=True)
        flops = denoise_flops(model.bundle, asked.frames, height, width, asked.steps)
        found.append((size, flops / median(run["denoise"] for run in warm)))
    peak = max(peak, matmul_peak(device, dtype))
    for size, rate in found:
        print(f"{size} denoise: {rate / 1e12:.3f} TFLOP/s, MFU {rate / peak:.1%}")
    print(f"matmul peak {peak / 1e12:.2f} TFLOP/s; a latent covers {GROUP} frames of {STRIDE}x{STRIDE} pixels")


if __name__ == "__main__":
    main()
