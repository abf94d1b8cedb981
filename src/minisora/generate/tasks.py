"""The verbs: each lists what is given and calls `make`.

Sources: loops by shifting latents around a circle while denoising, Bi et al. 2025 (Mobius, arXiv:2502.20307); editing
from part of the noise, Meng et al. 2021 (SDEdit, arXiv:2108.01073), and along the difference of two velocities,
Kulikov et al. 2024 (FlowEdit, arXiv:2412.08629).

Here: what each verb gives. Not here: what a canvas is (canvas.py), one window (window.py) and many (rollout.py), how
defaults are chosen and files fitted (model.py), the mathematics (diffusion/).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora import diffusion
from minisora.bundle import Bundle
from minisora.errors import UsageError
from minisora.generate.canvas import Condition, Shape, build
from minisora.generate.deliver import delivered, reduced, side_seen, working
from minisora.generate.first_frame import FirstFrame, picture_first
from minisora.generate.fitting import size_for
from minisora.generate.rollout import roll_out
from minisora.generate.schedule import parts, told_from
from minisora.generate.window import (
    Settings,
    decode,
    guided_denoiser,
    sample,
    schedule,
    tell,
    timed,
    watched,
    weights_for,
)
from minisora.video import Video, fit


class Stopped(KeyboardInterrupt):
    """Ctrl-C while a video was made of which some is there already."""

    def __init__(self, made: Video, num_frames: int) -> None:
        super().__init__(f"stopped after {len(made.frames)} of {num_frames} frames")
        self.made, self.num_frames = made, num_frames


SOURCE_GUIDANCE = 1.5
ENLARGED_NOISE = 0.45  # from which a video made small is made anew: with more, parts add things of their own
BLEND_NOISE = 0.7  # from which frames between two are made, where the two are blended
WARM_UP = 6  # latents that the decoder of a loop is shown before its first: no frame depends on more


def generate(bundle: Bundle, prompt: str, shape: Shape, settings: Settings, first: FirstFrame | None = None) -> Video:
    """Text to video or, of one frame, to picture: nothing is given.

    first: how the first frame is made, before the rest; all in one stage, if None

    What is larger than the network sees at once is made small first, as its parts know nothing of each other.
    """
    seen = working(bundle, shape)
    if max(seen.height, seen.width) <= side_seen(bundle):
        return make(bundle, prompt, shape, [], settings, first)
    height, width = size_for(bundle, shape.height, shape.width)
    on_step = settings.on_step
    quiet = None if on_step is None else lambda done, total: on_step(0, total)  # it may cancel
    small_shape = replace(shape, height=height, width=width)
    small = make(bundle, prompt, small_shape, [], replace(settings, on_step=quiet), first)
    large, _ = fit(small.frames, shape.height, shape.width)
    return enlarge(bundle, large, prompt, shape, ENLARGED_NOISE, settings)


def enlarge(bundle: Bundle, preview: Tensor, prompt: str, shape: Shape, strength: float, settings: Settings) -> Video:
    """A video made small before, made anew at the shape's size. preview: (T, H, W, 3) uint8, already of that size

    strength: the noise from which it is made anew; frames after those of the preview are free
    """
    whole = _whole(bundle, shape)
    start = Condition(_to_whole_latents(bundle, preview)[: whole.num_frames], noise=strength)
    return _first(make(bundle, prompt, whole, [start], settings), shape)


def animate(
    bundle: Bundle,
    pictures: Sequence[tuple[int, Tensor]],
    prompt: str,
    shape: Shape,
    settings: Settings,
    first: FirstFrame | None = None,
) -> Video:
    """Pictures set in motion.

    pictures: at which frame, and (H, W, 3) uint8 of the video's size
    first:    how the first frame is made where there are none, as in `stream`
    """
    given = [Condition(picture[None], at=at) for at, picture in pictures]
    return make(bundle, prompt, shape, given, settings, first)


def extend(bundle: Bundle, clip: Tensor, prompt: str, shape: Shape, at: int, settings: Settings) -> Video:
    """A clip with what comes before and after it. clip: (T, H, W, 3) uint8, at frame `at` of the video"""
    return make(bundle, prompt, shape, [Condition(clip, at=at)], settings)


def connect(bundle: Bundle, one: Tensor, other: Tensor, prompt: str, shape: Shape, settings: Settings) -> Video:
    """From the end of one clip to the start of another."""
    given = [Condition(one), Condition(other, at=shape.num_frames - len(other))]
    return make(bundle, prompt, shape, given, settings)


def loop_back(bundle: Bundle, clip: Tensor, prompt: str, shape: Shape, settings: Settings) -> Video:
    """A clip, and what leads from its end to its start, such that it can be played over and over.

    shape: of the clip and the way back. Only the clip's two ends are seen by the network
    """
    way = shape.num_frames - len(clip)
    held = bundle.sampling.context * bundle.vae.strides.frames
    before, after = clip[-1 - held :], clip[:held]
    around = replace(shape, num_frames=len(before) + way + len(after))
    told = told_from(prompt, (len(clip) - len(before)) / shape.fps)
    made = connect(bundle, before, after, told, around, settings).frames[len(before) : len(before) + way]
    return Video(torch.cat([clip, made]), shape.fps)


def _near(shape: Shape, group: int, most: int) -> str:
    """The lengths next to one that does not close. group: frames in a latent"""
    below = min(most, shape.num_frames // group * group)
    near = [n for n in (below, below + group) if group <= n <= most]
    told = " and ".join(f"{n} frames ({n / shape.fps:g} s)" for n in near)
    return f"{'are' if len(near) > 1 else 'is'} {told}"


@torch.no_grad()
def loop(bundle: Bundle, prompt: str, shape: Shape, settings: Settings) -> Video:
    """Text to a video that goes on at its start when it ends: its latents lie on a circle.

    It is made in one stage: its latents are of groups, and none of them of a frame alone that could be made first. At
    every step of the sampler the circle is cut elsewhere, so that the network joins each place to the next.

    Raises UsageError where the length is no multiple of the frames in a latent, or is more than the network sees.
    """
    group = bundle.vae.strides.frames
    count = shape.num_frames // group
    if shape.num_frames % group or not 1 <= count <= bundle.sampling.window:
        most = bundle.sampling.window * group
        raise UsageError(
            f"a loop of {shape.num_frames} frames does not close: it takes a multiple of {group} frames, at most "
            f"{most}. The nearest {_near(shape, group, most)}."
        )
    bundle, made = weights_for(bundle, settings), working(bundle, shape)
    with_first = build(bundle, replace(made, num_frames=1 + made.num_frames))
    canvas = with_first.window(1, 1 + count, with_first.known, [False] * (1 + count))
    turns = torch.Generator().manual_seed(settings.seed)

    def around(denoise: diffusion.Denoiser) -> diffusion.Denoiser:
        def turned(x: Tensor, t: Tensor) -> Tensor:
            shift = int(torch.randint(count, (), generator=turns)) * x.shape[1] // count
            return denoise(x.roll(shift, 1), t).roll(-shift, 1)

        return turned

    with timed(settings, "denoise"):
        tokens = sample(bundle, canvas, tell(bundle, prompt), settings, around=around)
    latents = canvas.latents(tokens)
    before = torch.cat([latents] * -(-WARM_UP // count), 1)[:, -WARM_UP:]
    frames = torch.cat(list(decode(bundle, [before, latents], made, settings, first_alone=False)))
    return Video(torch.cat(list(delivered(bundle, [frames], shape, settings)))[WARM_UP * group :], shape.fps)


def redo(bundle: Bundle, clip: Tensor, prompt: str, fps: float, strength: float, settings: Settings) -> Video:
    """A clip made anew from part of the noise (SDEdit). strength: 0 keeps it, 1 frees it wholly"""
    whole = _to_whole_latents(bundle, clip)
    shape = Shape(num_frames=len(whole), height=clip.shape[1], width=clip.shape[2], fps=fps)
    made = make(bundle, prompt, shape, [Condition(whole, noise=strength)], settings)
    return Video(made.frames[: len(clip)], fps)


@torch.no_grad()
def edit(
    bundle: Bundle, clip: Tensor, source: str, prompt: str, fps: float, strength: float, settings: Settings
) -> Video:
    """A clip turned from what `source` says of it into what `prompt` says (FlowEdit, Algorithm 1).

    strength: the noise time at which the change begins; the source is guided by SOURCE_GUIDANCE, or less

    Every step draws its own noise, so these are Euler steps, whatever the settings say. By a student, the estimate is
    that of Xu et al. 2023 (InfEdit, arXiv:2312.04965, Algorithm 2) without their attention control.

    Raises UsageError for a clip longer than the network sees.
    """
    whole = _to_whole_latents(bundle, clip)
    shape = Shape(num_frames=len(whole), height=clip.shape[1], width=clip.shape[2], fps=fps)
    if len(whole) > (most := bundle.vae.strides.num_frames(bundle.sampling.window)):
        raise UsageError(f"an edit by difference takes {most} frames at most, not {len(clip)}. Cut the clip.")
    bundle, made = weights_for(bundle, settings), working(bundle, shape)
    canvas = build(bundle, made, reduced(bundle, [Condition(whole, noise=1.0)], shape))  # known, and free
    generator = torch.Generator().manual_seed(settings.seed)

    def told_of(text: str, how: Settings) -> diffusion.Denoiser:
        return guided_denoiser(bundle, canvas, tell(bundle, text), how, torch.zeros_like(canvas.known))

    of_source = told_of(source, replace(settings, guidance=min(SOURCE_GUIDANCE, settings.guidance)))
    of_target = told_of(prompt, settings)

    def difference(x: Tensor, t: Tensor) -> Tensor:
        eps = torch.randn(canvas.known.shape, generator=generator).to(x.device)
        source_state = diffusion.interpolate(canvas.known, eps, t[:, None])
        target_state = x + source_state - canvas.known
        # of the two velocities, each (state - x0) / t, as the x0 of which (x - x0) / t is that difference
        return x - (target_state - of_target(target_state, t)) + (source_state - of_source(source_state, t))

    times = schedule(bundle, canvas, settings.steps, start=strength) if strength else [0.0]
    with timed(settings, "denoise"):
        x = diffusion.euler(watched(difference, times, settings.on_step), canvas.known, times)
    decoded = decode(bundle, [canvas.latents(x)], made, settings)
    return Video(torch.cat(list(delivered(bundle, decoded, shape, settings)))[: len(clip)], fps)


def _to_whole_latents(bundle: Bundle, clip: Tensor) -> Tensor:
    """The clip, its last frame repeated until no latent is left in part."""
    return torch.cat([clip, clip[-1:].expand(bundle.vae.strides.missing(len(clip)), -1, -1, -1)])


def inpaint(bundle: Bundle, clip: Tensor, hole: Tensor, prompt: str, shape: Shape, settings: Settings) -> Video:
    """A part of a clip made anew; every other pixel is kept. hole: (H, W) bool, True where it is made"""
    if hole.all():
        raise UsageError("the region is the whole frame: nothing would be kept. Use generate, or a smaller region.")
    if not hole.any():
        raise UsageError("the region is empty: nothing would be made. Name pixels that are to change.")
    given = Condition(_to_whole_latents(bundle, _filled(clip, hole)), region=~hole)
    return _first(make(bundle, prompt, _whole(bundle, shape), [given], settings), shape)


def _filled(clip: Tensor, hole: Tensor) -> Tensor:
    """The clip with what is about the hole in place of what is in it, which latents beside it are not to show.

    Pull and push: Gortler et al. 1996, "The Lumigraph", section 3.5.
    """

    def smoothed(x: Tensor, known: Tensor) -> Tensor:
        if known.all():
            return x
        weight = F.avg_pool2d(known, 2, ceil_mode=True)
        half = F.avg_pool2d(x * known, 2, ceil_mode=True) / weight.clamp(min=1e-6)
        below = smoothed(half, (weight > 0).float())
        return torch.where(known > 0, x, F.interpolate(below, x.shape[-2:]))

    x = smoothed(clip.permute(0, 3, 1, 2).float(), (~hole).float()[None, None])
    return x.permute(0, 2, 3, 1).round().to(torch.uint8)


def _whole(bundle: Bundle, shape: Shape) -> Shape:
    """The shape with as many frames more as fill its last latent: one that is given in part is held less well."""
    return replace(shape, num_frames=shape.num_frames + bundle.vae.strides.missing(shape.num_frames))


def _first(video: Video, shape: Shape) -> Video:
    return Video(video.frames[: shape.num_frames], video.fps)


def interpolate(bundle: Bundle, clip: Tensor, times: int, prompt: str, shape: Shape, settings: Settings) -> Video:
    """Frames between those of a clip: every `times`-th of the video is given, over their blend in part."""
    at = torch.arange(shape.num_frames) / times
    before = at.long().clamp(max=len(clip) - 2)
    blend = torch.lerp(clip[before].float(), clip[before + 1].float(), (at - before).view(-1, 1, 1, 1))
    given = [Condition(frame[None], at=n * times) for n, frame in enumerate(clip)]
    start = Condition(_to_whole_latents(bundle, blend.round().to(torch.uint8)), noise=BLEND_NOISE)
    return _first(make(bundle, prompt, _whole(bundle, shape), [start, *given], settings), shape)


def make(
    bundle: Bundle,
    prompt: str,
    shape: Shape,
    conditions: Sequence[Condition],
    settings: Settings,
    first: FirstFrame | None = None,
) -> Video:
    """One video of `shape`, holding to `conditions`, of what `prompt` says. first: as in `stream`

    Raises Stopped where Ctrl-C cuts it short.
    """
    pieces = list[Tensor]()
    try:
        for piece in stream(bundle, prompt, shape, conditions, settings, first):
            pieces.append(piece)
    except KeyboardInterrupt:
        if not pieces:
            raise
        raise Stopped(Video(torch.cat(pieces), shape.fps), shape.num_frames) from None
    return Video(torch.cat(pieces), shape.fps)


def stream(
    bundle: Bundle,
    prompt: str,
    shape: Shape,
    conditions: Sequence[Condition],
    settings: Settings,
    first: FirstFrame | None = None,
) -> Iterator[Tensor]:
    """The same, piece by piece as it is made: (n, H, W, 3) uint8.

    first: how the first frame is made before the rest, where there are no conditions, which it would know nothing of;
           all in one stage, if None
    """
    bundle = weights_for(bundle, settings)
    with timed(settings, "canvas"):
        made = working(bundle, shape)
        canvas = build(bundle, made, reduced(bundle, conditions, shape))
    if first is not None and not conditions:
        canvas, settings = picture_first(bundle, prompt, canvas, settings, first)
    latents = roll_out(bundle, canvas, parts(prompt), settings)
    left = shape.num_frames
    for frames in delivered(bundle, decode(bundle, latents, made, settings), shape, settings, conditions):
        yield frames[:left]  # the last latent may hold more than was asked for
        left -= len(frames)
