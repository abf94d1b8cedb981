"""Sampling plans to frames: a canvas, a preview made larger, a seamless loop, FlowEdit.

Sources: loops by shifting latents around a circle while denoising, Bi et al. 2025 (Mobius,
arXiv:2502.20307); editing along the difference of two velocities, Kulikov et al. 2024 (FlowEdit,
arXiv:2412.08629), and from part of the noise, Meng et al. 2021 (SDEdit, arXiv:2108.01073).

Here: functions that yield frames as they are generated. Not here: the verbs that use them
(verbs.py), the canvas (canvas.py), one window (window.py) and many (rollout.py), the mathematics
(diffusion/).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from minisora import diffusion
from minisora.bundle import Bundle
from minisora.errors import UsageError
from minisora.generate.canvas import Condition, Shape, build
from minisora.generate.deliver import delivered, reduced, side_seen, working
from minisora.generate.first_frame import FirstFrame, picture_first
from minisora.generate.fitting import size_for
from minisora.generate.request import Plan
from minisora.generate.rollout import roll_out
from minisora.generate.schedule import Schedule
from minisora.generate.window import (
    Settings,
    decode,
    encode_prompt,
    guided_denoiser,
    preview,
    sample,
    schedule,
    watched,
    weights_for,
)
from minisora.progress import Event, Watch
from minisora.video import fit
from minisora.video.frames import Frames, in_pieces, padded
from minisora.video.sound import Sound

SOURCE_GUIDANCE = 1.5
ENLARGED_NOISE = 0.45  # strength at which a small video is regenerated large: with more, tiles add objects
WARM_UP = 6  # latents decoded before the first of a loop: no frame depends on more


@dataclass(frozen=True, eq=False)
class Sampling:
    """Sampling of one video: of `shape`, from `prompt`, conditioned on `conditions`.

    first: settings of a first frame before the rest, for videos without conditions, which that
           frame could not depend on; None: one stage
    """

    bundle: Bundle
    shape: Shape
    prompt: Schedule
    settings: Settings
    conditions: tuple[Condition, ...] = ()
    first: FirstFrame | None = None

    def plan(self, notes: Sequence[str], sound: tuple[Sound, ...] = ()) -> Plan:
        """Plan of this video alone. sound: of clips that are kept"""
        return Plan(shape=self.shape, frames=self, conditions=self.conditions, notes=tuple(notes), sound=sound)

    def __call__(self, watch: Watch) -> Iterator[Tensor]:
        """Yield pieces of (n, H, W, 3) uint8.

        Frames larger than the network sees are generated small first.
        """
        return self._sampled(watch) if self.conditions or self.is_seen_whole else self._small_first(watch)

    @property
    def is_seen_whole(self) -> bool:
        """True if the network sees a whole frame at once."""
        seen = working(self.bundle, self.shape)
        return max(seen.height, seen.width) <= side_seen(self.bundle)

    @property
    def covered(self) -> Shape:
        """Shape with all conditions: one may extend to the end of its last latent."""
        return replace(self.shape, num_frames=max([self.shape.num_frames, *(c.end for c in self.conditions)]))

    def _sampled(self, watch: Watch) -> Iterator[Tensor]:
        bundle, settings = weights_for(self.bundle, self.settings), self.settings
        with watch.timed("canvas"):
            canvas = build(bundle, working(bundle, self.covered), reduced(bundle, self.conditions, self.covered))
        if self.first is not None and not self.conditions:
            canvas, watch = picture_first(bundle, self.prompt, canvas, settings, self.first, watch)
        yield from self.decoded(roll_out(bundle, canvas, self.prompt, settings, watch), watch)

    def decoded(self, latents: Iterable[Tensor], watch: Watch) -> Iterator[Tensor]:
        """Decode latents of this video, in order, to its frames as delivered."""
        bundle, left = self.bundle, self.shape.num_frames
        pieces = decode(bundle, latents, working(bundle, self.covered), watch)
        for frames in delivered(bundle, pieces, self.covered, watch, self.conditions):
            if left > 0:
                yield frames[:left]  # the last latent may hold more than was asked for
            left -= len(frames)

    def _small_first(self, watch: Watch) -> Iterator[Tensor]:
        """Sample a small video first, so that the tiles of the large one agree."""
        height, width = size_for(self.bundle, self.shape.height, self.shape.width)

        def quiet(event: Event) -> None:  # it may cancel
            watch.on_event(replace(event, done=0))

        small = replace(self, shape=replace(self.shape, height=height, width=width))
        frames = torch.cat(list(small._sampled(replace(watch, on_event=quiet))))
        large, _ = fit(frames, self.shape.height, self.shape.width)
        yield from enlarged(self, large, ENLARGED_NOISE)(watch)


def enlarged(asked: Sampling, preview: Frames, strength: float) -> Sampling:
    """Regenerate a preview. preview: (T, H, W, 3) uint8, already of the size of the video

    strength: level of its tokens (SDEdit); frames after those of the preview are free
    """
    most = asked.shape.num_frames + asked.bundle.vae.strides.missing(asked.shape.num_frames)
    start = Condition(to_whole_latents(asked.bundle, preview)[:most], noise=strength)
    return replace(asked, conditions=(start,), first=None)


def to_whole_latents(bundle: Bundle, clip: Frames) -> Frames:
    """Repeat the last frame to fill the last latent: one filled in part is kept less well."""
    return padded(clip, bundle.vae.strides.missing(len(clip)))


@dataclass(frozen=True, eq=False)
class Excerpt:
    """Frames first..stop of a sampling; the others are conditioning."""

    sampling: Sampling
    first: int
    stop: int

    def __call__(self, watch: Watch) -> Iterator[Tensor]:
        at = 0
        for frames in self.sampling(watch):
            wanted = frames[max(0, self.first - at) : max(0, self.stop - at)]
            if len(wanted):
                yield wanted
            at += len(frames)
            if at >= self.stop:
                return


@dataclass(frozen=True, eq=False)
class Joined:
    """Clips, which are kept, and generated parts, one after another."""

    parts: tuple[Frames | Excerpt, ...]

    def __call__(self, watch: Watch) -> Iterator[Tensor]:
        for part in self.parts:
            yield from part(watch) if isinstance(part, Excerpt) else in_pieces(part)


def extended(asked: Sampling, clip: Frames, at: int) -> Sampling | Joined:
    """Extend a clip. asked: all frames, without conditions; at: its first frame of the clip

    Of a clip longer than the network sees, only the ends are conditioning; its other frames go
    from the file to the result.
    """
    if _is_short(asked, clip):
        return replace(asked, conditions=(Condition(clip, at=at),))
    parts = list[Frames | Excerpt]()
    if at:
        head = _head(asked, at, clip)
        shape = replace(asked.shape, num_frames=at + len(head))
        parts.append(Excerpt(replace(asked, shape=shape, conditions=(Condition(head, at=at),)), 0, at))
    parts.append(clip)
    if (end := asked.shape.num_frames - at - len(clip)) > 0:
        parts.append(_after(asked, clip, at, end))
    return Joined(tuple(parts))


def connected(asked: Sampling, one: Frames, other: Frames) -> Sampling | Joined:
    """Generate the frames between two clips, of which only the ends are conditioning if long.

    asked: all frames, without conditions
    """
    at = asked.shape.num_frames - len(other)
    if _is_short(asked, one) and _is_short(asked, other):
        return replace(asked, conditions=(Condition(one), Condition(other, at=at)))
    return Joined((one, _after(asked, one, 0, at - len(one), other), other))


def _is_short(asked: Sampling, clip: Frames) -> bool:
    """True if the network sees the whole clip, or nearly so."""
    seen = asked.bundle.vae.strides.num_latents(asked.shape.num_frames) <= asked.bundle.sampling.window
    return seen or len(clip) <= 2 * _kept(asked.bundle)


def _kept(bundle: Bundle) -> int:
    """Frames of a clip's end on which the frames after it depend, in whole latents."""
    return bundle.vae.strides.frames * (max(bundle.sampling.context, WARM_UP) + 2)


def _after(asked: Sampling, clip: Frames, at: int, gap: int, other: Frames | None = None) -> Excerpt:
    """Frames after a clip that begins at frame `at`, and before another if there is one."""
    group, end = asked.bundle.vae.strides.frames, at + len(clip)
    start = max(at, (end - _kept(asked.bundle)) // group * group)  # latents begin at the same frames as in the whole
    tail = clip[start - at : len(clip)]
    conditions = [Condition(tail)]
    if other is not None:
        conditions.append(Condition(_head(asked, len(tail) + gap, other), at=len(tail) + gap))
    shape = replace(asked.shape, num_frames=max(len(tail) + gap, conditions[-1].end))
    prompt = asked.prompt.since(start / shape.fps)
    part = replace(asked, shape=shape, prompt=prompt, conditions=tuple(conditions))
    return Excerpt(part, len(tail), len(tail) + gap)


def _head(asked: Sampling, at: int, clip: Frames) -> Tensor:
    """Frames of a clip's beginning, at frame `at`, that fill the context in whole latents."""
    strides = asked.bundle.vae.strides
    last = strides.num_frames(strides.num_latents(at + 1) + asked.bundle.sampling.context)
    return clip[: last - at]


def closing(bundle: Bundle, shape: Shape) -> int:
    """Number of latents of a seamless loop.

    Raises UsageError for a length that is no multiple of the frames in a latent, or exceeds the
    context window.
    """
    group, most = bundle.vae.strides.frames, bundle.sampling.window * bundle.vae.strides.frames
    count = shape.num_frames // group
    if shape.num_frames % group == 0 and 1 <= count <= bundle.sampling.window:
        return count
    below = min(most, count * group)
    near = [n for n in (below, below + group) if group <= n <= most]
    nearest = " and ".join(f"{n} frames ({n / shape.fps:g} s)" for n in near)
    raise UsageError(
        f"a loop of {shape.num_frames} frames does not close: it takes a multiple of {group} frames, at most {most}. "
        f"The nearest {'are' if len(near) > 1 else 'is'} {nearest}."
    )


@torch.no_grad()
def looped(bundle: Bundle, shape: Shape, text: str, settings: Settings, watch: Watch) -> Iterator[Tensor]:
    """Sample a seamless loop from text: its latents lie on a circle.

    One stage: all latents are of groups, so no first frame is sampled before. At every step of the
    sampler the circle is cut at another place, so that the network joins each latent to the next.
    """
    count = closing(bundle, shape)
    bundle, made = weights_for(bundle, settings), working(bundle, shape)
    with_first = build(bundle, replace(made, num_frames=1 + made.num_frames))
    canvas = with_first.window(1, 1 + count, with_first.known, [False] * (1 + count))
    turns = torch.Generator().manual_seed(settings.seed)

    def around(denoise: diffusion.Denoiser) -> diffusion.Denoiser:
        def turned(x: Tensor, t: Tensor) -> Tensor:
            shift = int(torch.randint(count, (), generator=turns)) * x.shape[1] // count
            return denoise(x.roll(shift, 1), t).roll(-shift, 1)

        return turned

    with watch.timed("denoise"):
        tokens = sample(bundle, canvas, encode_prompt(bundle, text), settings, watch, around=around)
    latents = canvas.latents(tokens)
    before = torch.cat([latents] * -(-WARM_UP // count), 1)[:, -WARM_UP:]
    after, skipped = latents[:, :1], WARM_UP * bundle.vae.strides.frames  # an upscaler looks ahead
    frames = torch.cat(list(decode(bundle, [before, latents, after], made, watch, first_alone=False)))
    yield torch.cat(list(delivered(bundle, [frames], shape, watch)))[skipped : skipped + shape.num_frames]


@torch.no_grad()
def edited(
    bundle: Bundle, clip: Tensor, fps: float, texts: tuple[str, str], strength: float, settings: Settings, watch: Watch
) -> Iterator[Tensor]:
    """Edit a clip from a source text to a target text (FlowEdit, Algorithm 1).

    clip:     (T, H, W, 3) uint8
    texts:    the source, then the target
    strength: time t at which the change begins; the source is guided by SOURCE_GUIDANCE, or less

    Every step draws its own noise, so the sampler is Euler, whatever the settings say. For a
    student this is Xu et al. 2023 (InfEdit, arXiv:2312.04965, Algorithm 2) without their attention
    control.
    """
    whole = to_whole_latents(bundle, clip)
    shape = Shape(num_frames=len(whole), height=clip.shape[1], width=clip.shape[2], fps=fps)
    bundle, made = weights_for(bundle, settings), working(bundle, shape)
    canvas = build(bundle, made, reduced(bundle, [Condition(whole, noise=1.0)], shape))  # known, and free
    generator = torch.Generator().manual_seed(settings.seed)

    def denoiser_of(text: str, how: Settings) -> diffusion.Denoiser:
        return guided_denoiser(bundle, canvas, encode_prompt(bundle, text), how, torch.zeros_like(canvas.known))

    of_source = denoiser_of(texts[0], replace(settings, guidance=min(SOURCE_GUIDANCE, settings.guidance)))
    of_target = denoiser_of(texts[1], settings)

    def difference(x: Tensor, t: Tensor) -> Tensor:
        eps = torch.randn(canvas.known.shape, generator=generator).to(x.device)
        source_state = diffusion.interpolate(canvas.known, eps, t[:, None])
        target_state = x + source_state - canvas.known
        # the x0 for which (x - x0) / t is the difference of two velocities, each (state - x0) / t
        return x - (target_state - of_target(target_state, t)) + (source_state - of_source(source_state, t))

    times = schedule(bundle, canvas, settings.steps, start=strength)
    with watch.timed("denoise"):
        x = diffusion.euler(watched(difference, times, watch, partial(preview, bundle, canvas)), canvas.known, times)
    decoded = decode(bundle, [canvas.latents(x)], made, watch)
    yield torch.cat(list(delivered(bundle, decoded, shape, watch)))[: len(clip)]


def scene_by_scene(scenes: Sequence[Sampling], watch: Watch) -> Iterator[Tensor]:
    """Yield the frames of scenes, one after another."""
    for number, scene in enumerate(scenes, 1):
        yield from scene(replace(watch, stage=f"scene {number} of {len(scenes)}"))
