"""Verbs that change a clip: by a new prompt, in a region of it, around it.

Here: `Edit`, `Inpaint`, `Outpaint`.
Not here: the other verbs (verbs.py), regions as pixels (regions.py), sampling a plan (frames.py).
"""

from __future__ import annotations

from dataclasses import KW_ONLY, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, PlainSerializer

from minisora.errors import UsageError
from minisora.generate import media
from minisora.generate.fields import FieldError, Flag, option
from minisora.generate.media import Mask
from minisora.generate.request import AS_TEXT, ClipFile, Plan, Prompt, Sampled, Size, Strength, Typed, numbers, verb
from minisora.generate.schedule import Schedule
from minisora.lazy import Lazy

if TYPE_CHECKING:
    from typing import Self

    from minisora.bundle import Bundle
    from minisora.generate import canvas, fitting, frames, regions
    from minisora.video import Video
    from minisora.video.recording import Recording
else:  # so that a command's help does not import torch
    canvas, fitting, frames, regions = (
        Lazy(f"minisora.generate.{name}") for name in ("canvas", "fitting", "frames", "regions")
    )

LIKE = 60  # of 255: tolerance of --colour in red, green and blue
Corners = tuple[int, int, int, int]


def with_commas(values: tuple[int, ...]) -> str:
    return ",".join(map(str, values))


@verb
class Edit(Sampled):
    """A clip changed as the prompt says: from noise, or, with --source, along the difference.

    Without a source this is SDEdit; with one it is FlowEdit, whose Euler steps each draw their own
    noise.
    """

    clip: ClipFile
    prompt: Prompt
    _: KW_ONLY
    source: Annotated[Prompt, option("What the clip shows now.")] | None = None
    typed_source: Annotated[Typed, option("The source as typed, before it was expanded.")] | None = None
    strength: Annotated[Strength, option("0 keeps the clip, 1 replaces all of it.")] = 0.7

    def __post_init__(self) -> None:
        if self.source is not None and self.sampler not in (None, "euler"):
            raise FieldError(
                "an edit with {source} draws new noise at every step, as euler alone can: leave out {sampler}."
            )

    def opened(self) -> Self:
        return replace(self, clip=media.clip(self.clip))

    def plan(self, bundle: Bundle) -> Plan:
        video, fit_notes = fitting.fitted(bundle, media.clip(self.clip), self.size, bundle.sampling.fps, "the clip")
        shape, prompt = fitting.around(bundle, video, len(video.frames)), Schedule.parse(self.prompt)
        notes = [*fitting.checked(bundle, prompt, shape), *fit_notes]
        if self.strength == 0:
            kept = frames.Joined((video.frames,))
            return Plan(shape=shape, frames=kept, notes=tuple(notes), sound=video.sound)
        settings = self.settings(bundle)
        if self.source is None:
            start = canvas.Condition(frames.to_whole_latents(bundle, video.frames), noise=self.strength)
            return frames.Sampling(bundle, shape, prompt, settings, (start,)).plan(notes, video.sound)
        source = Schedule.parse(self.source)
        fitting.checked(bundle, source, shape)
        texts = fitting.unchanging(source), fitting.unchanging(prompt)
        most = bundle.vae.strides.num_frames(bundle.sampling.window)
        if len(video.frames) > most:
            raise UsageError(
                f"an edit by difference takes {most} frames at most, not {len(video.frames)}. Cut the clip."
            )
        changed = partial(frames.edited, bundle, video.frames[:], video.fps, texts, self.strength, settings)
        return Plan(shape=shape, frames=changed, notes=tuple(notes), sound=video.sound)


@verb
class Inpaint(Sampled):
    """A region of a clip regenerated; the rest is kept.

    Boxes and masks are in pixels of the file, and fitted with it. A mask may be a clip: its frames
    are those of the clip's moments.
    """

    clip: ClipFile
    prompt: Prompt
    _: KW_ONLY
    box: (
        Annotated[
            Corners,
            AS_TEXT,
            option("Region to regenerate, in pixels.", unit="pixels", give="4 whole numbers with commas between them"),
            BeforeValidator(numbers(4)),
            PlainSerializer(with_commas, return_type=str),
            Flag(metavar="X,Y,WIDTH,HEIGHT", text=str),
        ]
        | None
    ) = None
    mask: (
        Annotated[
            Mask,
            option("White where to regenerate: a picture, or a clip as long as the clip, frame by frame."),
            Flag(metavar="FILE"),
        ]
        | None
    ) = None
    colour: (
        Annotated[
            tuple[int, int, int],
            AS_TEXT,
            option("Pixels that are near this colour in any frame.", give="3 whole numbers with commas between them"),
            BeforeValidator(numbers(3)),
            PlainSerializer(with_commas, return_type=str),
            Flag(metavar="R,G,B", text=str),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        if sum(part is not None for part in (self.box, self.mask, self.colour)) != 1:
            raise FieldError("say which part: {box} X,Y,WIDTH,HEIGHT, {mask} FILE or {colour} R,G,B.")

    def opened(self) -> Self:
        mask = None if self.mask is None else media.clip(self.mask)
        opened = replace(self, clip=media.clip(self.clip), mask=mask)
        opened._region()
        return opened

    def plan(self, bundle: Bundle) -> Plan:
        video, fit_notes = fitting.fitted(bundle, media.clip(self.clip), self.size, bundle.sampling.fps, "the clip")
        shape, prompt = fitting.around(bundle, video, len(video.frames)), Schedule.parse(self.prompt)
        notes = fitting.checked(bundle, prompt, shape)
        hole = regions.hole_of(self._region(), video)
        sampling = regions.inpainting(bundle, video.frames, hole, shape, prompt, self.settings(bundle))
        return sampling.plan([*notes, *fit_notes], video.sound)

    def _region(self) -> Video | Recording:
        """Mask of the region to regenerate, of the clip's size."""
        clip = media.clip(self.clip)
        if self.mask is not None:
            mask = media.clip(self.mask)
            regions.check_mask(clip, mask)
            return mask
        if self.box is not None:
            return regions.of_box(clip, self.box)
        assert self.colour is not None
        return regions.of_colour(clip, self.colour, LIKE)


@verb
class Outpaint(Sampled):
    """A clip inside a larger frame, which is generated around it; the clip is kept."""

    clip: ClipFile
    prompt: Prompt
    _: KW_ONLY
    to: Annotated[Size, option("The larger frame.", unit="pixels", give="WIDTHxHEIGHT in pixels, such as 128x96")]
    corner: (
        Annotated[
            tuple[int, int],
            AS_TEXT,
            option(
                "Where the clip's upper left corner is; the middle if not given.",
                unit="pixels",
                give="2 whole numbers with commas between them",
            ),
            BeforeValidator(numbers(2)),
            PlainSerializer(with_commas, return_type=str),
            Flag(metavar="X,Y", text=str),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        if self.size is not None:
            raise FieldError("{size} does not go with outpaint: {to} says how large the frame is.")

    def opened(self) -> Self:
        return replace(self, clip=media.clip(self.clip))

    def plan(self, bundle: Bundle) -> Plan:
        video, fit_notes = fitting.fitted(bundle, media.clip(self.clip), None, bundle.sampling.fps, "the clip")
        seconds = (len(video.frames) - 1) / video.fps
        shape, prompt = fitting.shape_of(bundle, seconds, self.to, video.fps), Schedule.parse(self.prompt)
        notes = fitting.checked(bundle, prompt, shape)
        framed, hole = regions.in_frame(video.frames, self.to, self.corner)
        sampling = regions.inpainting(bundle, framed, hole, shape, prompt, self.settings(bundle))
        return sampling.plan([*notes, *fit_notes], video.sound)
