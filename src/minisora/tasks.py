"""The verbs: each lists its conditions and calls `make`.

Here: what each verb gives, and the one way from a canvas to a video. Not here: what a canvas is (canvas.py), how the
defaults are chosen (model.py), the mathematics (diffusion/).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from minisora import diffusion
from minisora.bundle import Bundle
from minisora.canvas import Canvas, Condition, Shape, build
from minisora.data.pack import Pack, distinct_times
from minisora.diffusion.samplers import Sampler, dpmpp_2m
from minisora.dit.layers import Context
from minisora.video import Video

Progress = Callable[[int, int], None]  # (steps done, steps in all)


@dataclass(kw_only=True)
class Settings:
    """How a video is sampled. `timings` is filled in: seconds by stage."""

    seed: int = 0
    steps: int = 24
    guidance: float = 4.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    guidance_rescale: float = 0.0
    sampler: Sampler = dpmpp_2m
    context_noise: float = 0.0  # time at which the network is shown what is given, and told so
    on_step: Progress | None = None
    timings: dict[str, float] = field(default_factory=dict)


def generate(bundle: Bundle, prompt: str, shape: Shape, settings: Settings) -> Video:
    """Text to video: nothing is given."""
    return make(bundle, prompt, shape, [], settings)


def image(bundle: Bundle, prompt: str, shape: Shape, settings: Settings) -> Video:
    """Text to picture: a video of one frame."""
    assert shape.num_frames == 1, shape
    return make(bundle, prompt, shape, [], settings)


def animate(bundle: Bundle, picture: Tensor, prompt: str, shape: Shape, settings: Settings) -> Video:
    """A picture set in motion: the first frame is given. picture: (H, W, 3) uint8, of the video's size."""
    return make(bundle, prompt, shape, [Condition(picture[None], at=0)], settings)


@torch.no_grad()  # not inference_mode, whose tensors their owner could not change
def make(bundle: Bundle, prompt: str, shape: Shape, conditions: Sequence[Condition], settings: Settings) -> Video:
    """One video of `shape`, holding to `conditions`, of what `prompt` says."""
    with timed(settings, "text"):
        text = bundle.text.encode([prompt, ""])
    with timed(settings, "canvas"):
        canvas = build(bundle, shape, conditions)
    with timed(settings, "denoise"):
        tokens = sample(bundle, canvas, text.tokens, tuple(text.lengths), settings)
    with timed(settings, "decode"):
        frames = decode(bundle, canvas, tokens)
    return Video(canvas.put_back(frames), shape.fps)


def sample(bundle: Bundle, canvas: Canvas, text: Tensor, text_lengths: tuple[int, ...], settings: Settings) -> Tensor:
    """Noise to tokens.

    text:    (S, Dt) the prompt's token states, then the null text's; text_lengths: of the two
    returns  (1, L, Ct)
    """
    device, count = canvas.known.device, len(canvas.levels)
    # on the CPU in float32, so that a seed means the same on every device
    generator = torch.Generator().manual_seed(settings.seed)
    eps, context_eps = (torch.randn(canvas.known.shape, generator=generator).to(device) for _ in range(2))
    both = bundle.dit.context(text, text_lengths)
    first = text_lengths[0]
    with_text = Context(
        tuple(k[: both.lengths[0]] for k in both.keys),
        tuple(v[: both.lengths[0]] for v in both.values),
        both.lengths[:1],
    )

    def velocity(x: Tensor, times: Tensor) -> Tensor:
        copies = len(x)
        distinct, index = distinct_times(times.flatten())
        pack = Pack(
            tokens=x.flatten(0, 1),
            times=distinct,
            time_index=index,
            positions=canvas.positions.repeat(copies, 1),
            single=canvas.single.repeat(copies),
            lengths=(count,) * copies,
            text=text if copies == 2 else text[:first],
            text_lengths=text_lengths[:copies],
        )
        predicted: Tensor = bundle.dit(pack, both if copies == 2 else with_text)
        return predicted.reshape(copies, count, -1)

    def denoiser(copies: int) -> diffusion.Denoiser:
        return diffusion.from_velocity(
            velocity,
            canvas.levels,
            canvas.known.expand(copies, -1, -1),
            settings.context_noise,
            context_eps.expand(copies, -1, -1),
        )

    alone, doubled = denoiser(1), denoiser(2)

    def joint(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        with_prompt, without = doubled(torch.cat([x, x]), torch.cat([t, t])).chunk(2)
        return with_prompt, without

    guided = diffusion.guided_joint(
        joint,
        settings.guidance,
        with_text=alone,
        interval=settings.guidance_interval,
        rescale=settings.guidance_rescale,
    )
    how = bundle.sampling
    shift = diffusion.shift_for_tokens(count, base_tokens=how.shift_tokens, base_shift=how.shift)
    times = diffusion.schedule(settings.steps, shift=shift)
    x = settings.sampler(
        watched(guided, times, settings.on_step), diffusion.start(canvas.known, canvas.levels, eps), times
    )
    return diffusion.finish(x, canvas.known, canvas.levels)


def watched(denoise: diffusion.Denoiser, times: Sequence[float], on_step: Progress | None) -> diffusion.Denoiser:
    """The same denoiser, telling how many of the steps are behind it. Raising in `on_step` cancels."""
    if on_step is None:
        return denoise
    steps = len(times) - 1

    def told(x: Tensor, t: Tensor) -> Tensor:
        estimate = denoise(x, t)
        on_step(min(steps, sum(time >= float(t[0]) * (1 - 1e-6) for time in times)), steps)
        return estimate

    return told


def decode(bundle: Bundle, canvas: Canvas, tokens: Tensor) -> Tensor:
    """Tokens to frames, (T, H, W, 3) uint8 on the CPU, cropped to what was asked for."""
    shape = canvas.shape
    latents = canvas.latents(tokens).to(next(bundle.vae.parameters()).dtype)
    pieces = [
        ((piece[0, :, : shape.height, : shape.width].float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()
        for piece in bundle.vae.decode_stream(latents)
    ]
    return torch.cat(pieces)[: shape.num_frames]


@contextmanager
def timed(settings: Settings, stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    settings.timings[stage] = settings.timings.get(stage, 0.0) + time.perf_counter() - began
