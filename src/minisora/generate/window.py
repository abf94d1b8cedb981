"""One context window: sampling a canvas to tokens, and decoding tokens to pixels.

Classifier-free guidance; the unconditional branch sees the null text and pure-noise conditioning.
So it extrapolates along the prompt and along the conditioning at once: history guidance, Song et
al. 2025 (arXiv:2502.06764, section 4).

Here: one window of a video, guidance and sampler around the network, decoding piece by piece. Not
here: conditioning (canvas.py), videos of more than one window (rollout.py), the mathematics
(diffusion/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minisora import diffusion
from minisora.bundle import Bundle
from minisora.data.pack import Pack, distinct_times
from minisora.diffusion.samplers import Sampler, dpmpp_2m, sampler_named
from minisora.dit.model import Context
from minisora.generate.canvas import Canvas, Shape
from minisora.progress import Watch
from minisora.video import to_uint8

LATENTS_AT_ONCE = 2  # per decoding call: all of a long video's would not fit
Around = Callable[[diffusion.Denoiser], diffusion.Denoiser]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sampling settings of a video."""

    seed: int = 0
    steps: int = 24
    guidance: float = 3.0
    guidance_given: float = 2.0  # scale with conditioning frames, which constrain more than a text does
    history_guidance: bool = True  # guide along the conditioning frames too, see above
    guidance_interval: tuple[float, float] = (0.3, 1.0)  # of t: below, the text no longer changes the video
    guidance_rescale: float = 0.0
    sampler: Sampler = dpmpp_2m
    student: bool = False  # sampled by `consistency` instead; the bundle is then `with_student`
    context_noise: float = 0.0  # time t at which the network sees conditioning tokens


OF_THE_FULL_WEIGHTS = frozenset(
    {"steps", "sampler", "guidance", "guidance_given", "history_guidance", "guidance_interval", "guidance_rescale"}
)


def settings_for(bundle: Bundle, given: Mapping[str, Any]) -> Settings:
    """Settings with the bundle's defaults.

    given: fields of Settings; a sampler may be a name

    A student, if the bundle has one, samples in its own few steps and without guidance. Steps,
    sampler or guidance in `given` select the full weights instead.
    """
    how, student = bundle.sampling, bundle.student
    if student is not None and not given.keys() & OF_THE_FULL_WEIGHTS:
        return Settings(student=True, steps=student.steps, guidance=1.0, guidance_given=1.0, **given)
    guidance = {"guidance": how.guidance, "guidance_given": given.get("guidance", how.guidance_given)}
    values = {"steps": how.steps, **guidance, **given}
    if isinstance(values.get("sampler"), str):
        values["sampler"] = sampler_named(values["sampler"])
    return Settings(**values)


def weights_for(bundle: Bundle, settings: Settings) -> Bundle:
    """Bundle with the weights that the settings select: student or full."""
    return bundle.with_student() if settings.student else bundle


@dataclass(frozen=True, eq=False)
class EncodedPrompt:
    """Prompt and null text, encoded, with the keys and values of both computed once."""

    tokens: Tensor  # (S, Dt) of the prompt, then of the null text; or of as many of both
    lengths: tuple[int, ...]
    both: Context
    prompt_alone: Context

    @property
    def count(self) -> int:
        """Number of prompts."""
        return len(self.prompt_alone.lengths)

    def repeated(self, count: int) -> EncodedPrompt:
        """Repeat for `count` videos in one pack, unless there is a prompt for each already."""
        return self if self.count == count else joined([self] * count)


def joined(prompts: Sequence[EncodedPrompt]) -> EncodedPrompt:
    """Join single prompts for one pack: all prompts, then all null texts."""
    if len(prompts) == 1:
        return prompts[0]

    def in_order(rows: Sequence[Tensor], lengths: Sequence[Sequence[int]]) -> Tensor:
        parts = [x.split(tuple(sizes)) for x, sizes in zip(rows, lengths, strict=True)]
        return torch.cat([part for each in zip(*parts, strict=True) for part in each])

    def contexts(given: Sequence[Context]) -> Context:
        lengths = [each.lengths for each in given]
        keys = tuple(in_order(rows, lengths) for rows in zip(*(each.keys for each in given), strict=True))
        values = tuple(in_order(rows, lengths) for rows in zip(*(each.values for each in given), strict=True))
        return Context(keys, values, tuple(length for each in zip(*lengths, strict=True) for length in each))

    lengths = [each.lengths for each in prompts]
    return EncodedPrompt(
        in_order([each.tokens for each in prompts], lengths),
        tuple(length for each in zip(*lengths, strict=True) for length in each),
        contexts([each.both for each in prompts]),
        contexts([each.prompt_alone for each in prompts]),
    )


def encode_prompt(bundle: Bundle, prompt: str) -> EncodedPrompt:
    """Encode a prompt and the null text, and compute their keys and values in every block."""
    text = bundle.text.encode([prompt, ""])
    length, null_length = text.lengths
    both = bundle.dit.context(text.tokens, (length, null_length))
    own = both.lengths[0]  # more than `length` where text is padded
    alone = Context(tuple(k[:own] for k in both.keys), tuple(v[:own] for v in both.values), (own,))
    return EncodedPrompt(text.tokens, (length, null_length), both, alone)


@torch.no_grad()  # not inference_mode: callers may modify the result
def sample(
    bundle: Bundle,
    canvas: Canvas,
    prompt: EncodedPrompt,
    settings: Settings,
    watch: Watch,
    *,
    seeds: Sequence[int] | None = None,
    around: Around | None = None,
) -> Tensor:
    """Sample the tokens of a canvas from noise.

    canvas:  its `known` may differ between the samples: (B, L, Ct)
    prompt:  one, or as many as there are samples, `joined`
    seeds:   one sample of the canvas for each, all in one pack; None: one, with the settings' seed
    around:  wraps the guided denoiser
    returns  (B, L, Ct), B seeds
    """
    drawn = [torch.Generator().manual_seed(seed) for seed in ([settings.seed] if seeds is None else seeds)]

    def fresh() -> Tensor:  # on the CPU in float32, so that a seed means the same on every device
        return torch.cat([torch.randn(1, *canvas.known.shape[1:], generator=g) for g in drawn]).to(canvas.known.device)

    eps, context_eps = fresh(), fresh()
    denoise = guided_denoiser(bundle, canvas, prompt, settings, context_eps)
    if around is not None:
        denoise = around(denoise)
    times = schedule(bundle, canvas, settings.steps)
    with_progress = watched(denoise, times, watch, partial(preview, bundle, canvas))
    known = canvas.known.expand_as(eps)
    again = diffusion.consistency(lambda x0, t: diffusion.noised(x0, canvas.levels, fresh(), t))
    sampler = again if settings.student else settings.sampler
    x = sampler(with_progress, diffusion.start(known, canvas.levels, eps), times)
    return diffusion.finish(x, known, canvas.levels)


def schedule(bundle: Bundle, canvas: Canvas, steps: int, *, start: float = 1.0) -> list[float]:
    """Sampler times from `start` on, shifted by the number of grid tokens in a window."""
    how, (latents, rows, columns) = bundle.sampling, canvas.grid
    blocks = len(canvas.levels) // (rows * columns)  # with the extra frames; the shift, as in training, is without them
    seen = len(tiles(canvas, how.tile)[0][0]) * latents // blocks
    shift = diffusion.shift_for_tokens(seen, base_tokens=how.shift_tokens, base_shift=how.shift)
    return diffusion.schedule(steps, shift=shift, start=start)


def guided_denoiser(
    bundle: Bundle, canvas: Canvas, prompt: EncodedPrompt, settings: Settings, context_eps: Tensor
) -> diffusion.Denoiser:
    """Guided denoiser of one canvas; conditional and unconditional branch run in one pack.

    context_eps: (B, L, Ct) noise of the conditioning tokens, for each of the B samples
    """
    pieces = tiles(canvas, bundle.sampling.tile)
    count = len(context_eps)
    prompt = prompt.repeated(count)

    def velocity(x: Tensor, times: Tensor) -> Tensor:
        if len(pieces) == 1:
            return of_tokens(x, times, slice(None))
        total, weight = torch.zeros_like(x), x.new_zeros(x.shape[1], 1)
        for index, share in pieces:
            total[:, index] += share * of_tokens(x[:, index], times[:, index], index).to(x.dtype)
            weight[index] += share
        return total / weight

    def of_tokens(x: Tensor, times: Tensor, index: Tensor | slice) -> Tensor:
        copies, length = x.shape[:2]
        guiding = copies > count
        distinct, time_index = distinct_times(times.flatten())
        pack = Pack(
            tokens=x.flatten(0, 1),
            times=distinct,
            time_index=time_index,
            positions=canvas.positions[index].repeat(copies, 1),
            single=canvas.single[index].repeat(copies),
            lengths=(length,) * copies,
            text=prompt.tokens[: sum(prompt.lengths[:copies])],
            text_lengths=prompt.lengths[:copies],
        )
        predicted: Tensor = bundle.dit(pack, prompt.both if guiding else prompt.prompt_alone)
        return predicted.reshape(copies, length, -1)

    def denoiser(*context_noise: float) -> diffusion.Denoiser:
        return diffusion.from_velocity(
            velocity,
            canvas.levels,
            canvas.known.expand(count, -1, -1).repeat(len(context_noise), 1, 1),
            torch.tensor(context_noise).repeat_interleave(count),
            context_eps.repeat(len(context_noise), 1, 1),
        )

    unconditional_noise = 1.0 if settings.history_guidance else settings.context_noise
    alone, doubled = denoiser(settings.context_noise), denoiser(settings.context_noise, unconditional_noise)

    def joint(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        with_prompt, without = doubled(torch.cat([x, x]), torch.cat([t, t])).chunk(2)
        return with_prompt, without

    return diffusion.guided_joint(
        joint,
        settings.guidance_given if (canvas.levels == 0).any() else settings.guidance,
        with_text=alone,
        interval=settings.guidance_interval,
        rescale=settings.guidance_rescale,
    )


def tiles(canvas: Canvas, side: int) -> list[tuple[Tensor, Tensor]]:
    """Overlapping tiles of a frame larger than `side`, each through all latents.

    Their velocities are averaged, so time and memory grow with the area and not with its square:
    Bar-Tal et al. 2023 (MultiDiffusion, arXiv:2302.08113, Eq. 5).

    side:    most tokens on a side; a smaller frame is one tile
    returns  for each tile its tokens (n,) and their weights (n, 1), which fall towards the edges
    """
    _, rows, columns = canvas.grid
    latents = torch.arange(len(canvas.levels) // (rows * columns)) * rows * columns
    found = []
    for top, height in _stretches(rows, side):
        for left, width in _stretches(columns, side):
            down, across = torch.arange(top, top + height), torch.arange(left, left + width)
            index = latents[:, None, None] + down[:, None] * columns + across
            share = (_hill(height)[:, None] * _hill(width)).expand(index.shape)
            found.append((index.flatten().to(canvas.levels.device), share.reshape(-1, 1).to(canvas.levels.device)))
    return found


def _stretches(length: int, side: int) -> list[tuple[int, int]]:
    """Begin and length of tiles that cover a side and overlap by at least a quarter."""
    if length <= side:
        return [(0, length)]
    count = -(-(length - side) // (side - max(1, side // 4))) + 1
    return [(round(n * (length - side) / (count - 1)), side) for n in range(count)]


def _hill(length: int) -> Tensor:
    """Triangular weights (length,), nowhere 0."""
    from_edge = torch.arange(1, length + 1)
    return torch.minimum(from_edge, length + 1 - from_edge).float()


def watched(
    denoise: diffusion.Denoiser, times: Sequence[float], watch: Watch, shown: Callable[[Tensor, int], Tensor]
) -> diffusion.Denoiser:
    """Wrap a denoiser to report completed steps and x0 estimates to the watch.

    shown: `preview` of an estimate
    """
    steps = len(times) - 1

    def counted(x: Tensor, t: Tensor) -> Tensor:
        estimate = denoise(x, t)
        watch.step(min(steps, sum(time >= float(t[0]) * (1 - 1e-6) for time in times)), steps)
        if watch.on_preview is not None:
            watch.on_preview(lambda video: shown(estimate, video * (len(estimate) // watch.videos)))
        return estimate

    return counted


@torch.no_grad()
def preview(bundle: Bundle, canvas: Canvas, tokens: Tensor, sample: int) -> Tensor:
    """Decode one frame of the middle latent alone: exact for a picture, coarse for a video.

    tokens:  (B, L, Ct)
    sample:  which of them
    returns  (H, W, 3) uint8 on the CPU, of the size of generation
    """
    latents = canvas.latents(tokens[sample : sample + 1])
    middle = latents.shape[1] // 2
    alone = middle == 0 and bool(canvas.single[0])
    some = latents[:, middle : middle + 1].to(bundle.vae.dtype)
    frames, _ = bundle.vae.decode_next(some, None, first_alone=alone)
    return to_uint8(frames[0, -1, : canvas.shape.height, : canvas.shape.width]).cpu()


@torch.no_grad()
def decode(
    bundle: Bundle, pieces: Iterable[Tensor], shape: Shape, watch: Watch, *, first_alone: bool = True
) -> Iterator[Tensor]:
    """Decode pieces of latents, in order, to (n, H, W, 3) uint8 of the shape's size.

    Frames are on the CPU. Memory does not grow with the length.
    """
    past = None
    for latents in (few for piece in pieces for few in piece.split(LATENTS_AT_ONCE, 1)):
        with watch.timed("decode"):
            frames, past = bundle.vae.decode_next(latents.to(bundle.vae.dtype), past, first_alone=first_alone)
            pixels = to_uint8(frames[0, :, : shape.height, : shape.width])
        yield pixels.cpu()
