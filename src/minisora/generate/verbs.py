"""The verbs, each defined once: its fields, and its plan on a bundle.

A verb's docstring is the help of its command; a field's help, bounds and unit are those of its
option, its keyword in Python and its place in a saved request. A new verb is a class here, a line
in VERBS and a line on `Model`.

Here: the verbs that generate new frames, and the table of all. Not here: those that change a clip
(edits.py), films of several shots (storyboard.py), the base of requests (request.py), sampling a
plan (frames.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, field, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BeforeValidator

from minisora.errors import UsageError
from minisora.generate import media
from minisora.generate.edits import Edit, Inpaint, Outpaint
from minisora.generate.fields import FieldError, Flag, option
from minisora.generate.media import Clip, Picture
from minisora.generate.request import (
    Candidates,
    ClipFile,
    Fps,
    Mark,
    OneStage,
    Plan,
    Prompt,
    Request,
    Sampled,
    Seconds,
    Strength,
    check_first_frame,
    verb,
)
from minisora.generate.schedule import Schedule
from minisora.generate.storyboard import Storyboard
from minisora.lazy import Lazy

if TYPE_CHECKING:
    from typing import Self

    from minisora.bundle import Bundle
    from minisora.generate import canvas, fitting, frames, regions
    from minisora.video import frames as sizes
else:  # so that a command's help does not import torch
    sizes = Lazy("minisora.video.frames")
    canvas, fitting, frames, regions = (
        Lazy(f"minisora.generate.{name}") for name in ("canvas", "fitting", "frames", "regions")
    )

BLEND_NOISE = 0.7  # level of the blended frames that interpolation starts from


@verb
class Generate(Sampled):
    """A video of what the prompt says, window by window if it is long.

    A prompt may change over time: "0-4s: a red ball rolls in | 4s-: it bounces".
    """

    prompt: Prompt
    _: KW_ONLY
    seconds: Seconds | None = None
    fps: Fps | None = None
    small: Annotated[bool, option("Small and short first, whatever is asked for."), Flag(name="--preview")] = False
    preview: Annotated[Clip, option("A preview to make large."), Flag(name="--from", metavar="VIDEO")] | None = None
    strength: Annotated[Strength, option("How far a preview is regenerated: 0.6 to 0.8.")] = 0.7
    candidates: Candidates | None = None
    one_stage: OneStage = False

    def __post_init__(self) -> None:
        if self.small and self.preview is not None:
            raise FieldError("{small} makes a preview and {preview} takes one: give one of them.")
        if self.preview is not None and (self.candidates is not None or self.one_stage):
            raise FieldError("{preview} has its first frame already: leave out {candidates} and {one_stage}.")
        check_first_frame(self.candidates, self.one_stage)

    @property
    def from_prompt(self) -> bool:
        return True

    def opened(self) -> Self:
        return self if self.preview is None else replace(self, preview=media.clip(self.preview))

    def plan(self, bundle: Bundle) -> Plan:
        if self.small:
            return self._small(bundle).plan(bundle)
        shape, prompt = fitting.shape_of(bundle, self.seconds, self.size, self.fps), Schedule.parse(self.prompt)
        notes = fitting.checked(bundle, prompt, shape)
        asked = frames.Sampling(bundle, shape, prompt, self.settings(bundle))
        if self.preview is None:
            notes += fitting.in_parts(bundle, shape)
            asked = replace(asked, first=fitting.first_frame(bundle, shape, self.candidates, self.one_stage))
            return asked.plan(notes)
        size = shape.height, shape.width
        preview, fit_notes = fitting.fitted(bundle, media.clip(self.preview), size, shape.fps, "the preview")
        large = frames.enlarged(asked, preview.frames[: shape.num_frames], self.strength)
        return large.plan([*notes, *fit_notes])

    def _small(self, bundle: Bundle) -> Self:
        own = bundle.sampling.seconds
        seconds = own if self.seconds is None else min(self.seconds, own)
        prompt = str(Schedule.parse(self.prompt).until(seconds))
        return replace(self, small=False, prompt=prompt, seconds=seconds, size=fitting.own_area(bundle, self.size))


@verb
class Image(Sampled):
    """One picture of what the prompt says."""

    moving: ClassVar[bool] = False
    prompt: Prompt
    _: KW_ONLY
    candidates: Candidates | None = None
    one_stage: Annotated[OneStage, Flag(hidden=True)] = False

    def __post_init__(self) -> None:
        check_first_frame(self.candidates, self.one_stage)

    @property
    def from_prompt(self) -> bool:
        return True

    def plan(self, bundle: Bundle) -> Plan:
        shape, prompt = fitting.shape_of(bundle, 0.0, self.size, None), Schedule.parse(self.prompt)
        notes = [*fitting.checked(bundle, prompt, shape), *fitting.in_parts(bundle, shape)]
        first = fitting.first_frame(bundle, shape, self.candidates, self.one_stage)
        return frames.Sampling(bundle, shape, prompt, self.settings(bundle), first=first).plan(notes)


def moments(given: object) -> object:
    """Convert a list of SECONDS=FILE to files by second."""
    if not isinstance(given, list | tuple):
        return given
    pairs = [str(each).partition("=") for each in given]
    files = {float(moment.removesuffix("s")): file for moment, _, file in pairs}
    if len(files) < len(pairs) or not all(files.values()):
        raise ValueError("each moment once, with its file")
    return files


@verb
class Animate(Sampled):
    """A video that starts from a picture and continues as the prompt says.

    The picture is fitted to the model's pixel area at its own aspect first, or to --size.
    """

    picture: Annotated[Picture, option("The first frame of the video."), Flag(name="photo")]
    prompt: Prompt
    _: KW_ONLY
    at: Annotated[
        Mapping[float, Picture],
        option("Other pictures, by the second at which each is shown.", give="SECONDS=FILE, such as 1.5=end.png"),
        BeforeValidator(moments),
        Flag(metavar="SECONDS=FILE", text=list[str]),
    ] = field(default_factory=dict)
    seconds: Seconds | None = None
    fps: Fps | None = None

    def __post_init__(self) -> None:
        for moment in self.at:
            if not 0 < moment < float("inf") or (self.seconds is not None and moment > self.seconds):
                most = "" if self.seconds is None else f", within {self.seconds:g} s"
                raise FieldError(f"{{at}} {moment:g}: give a moment above 0{most}.")

    def opened(self) -> Self:
        at = {moment: media.picture(one) for moment, one in sorted(self.at.items())}
        return replace(self, picture=media.picture(self.picture), at=at)

    def plan(self, bundle: Bundle) -> Plan:
        pictures = {0.0: media.picture(self.picture), **{at: media.picture(one) for at, one in self.at.items()}}
        size = self.size or fitting.size_for(bundle, *pictures[0.0].frames.shape[1:3])
        shape, prompt = fitting.shape_of(bundle, self.seconds, size, self.fps), Schedule.parse(self.prompt)
        notes = fitting.checked(bundle, prompt, shape)
        conditions, fit_notes = fitting.conditions_of(pictures, shape)
        sampling = frames.Sampling(bundle, shape, prompt, self.settings(bundle), conditions)
        return sampling.plan([*notes, *fit_notes])


@verb
class Extend(Sampled):
    """A clip with more before it, after it, or both; its own frames are kept."""

    clip: ClipFile
    prompt: Prompt
    _: KW_ONLY
    after: Annotated[float, option("Seconds to add at the end.", unit="s", ge=0, le=1e9)] = 0.0
    before: Annotated[float, option("Seconds to add at the beginning.", unit="s", ge=0, le=1e9)] = 0.0
    fps: Fps | None = None

    def __post_init__(self) -> None:
        if self.after == self.before == 0:
            raise FieldError("say how much to add: {after} SECONDS, {before} SECONDS, or both.")

    def opened(self) -> Self:
        return replace(self, clip=media.clip(self.clip))

    def plan(self, bundle: Bundle) -> Plan:
        fps = self.fps or bundle.sampling.fps
        at, end = round(self.before * fps), round(self.after * fps)
        if at + end == 0:
            raise UsageError(
                f"{self.before:g} s before and {self.after:g} s after are no frame at {fps:g} fps. Ask for more."
            )
        video, fit_notes = fitting.fitted(bundle, media.clip(self.clip), self.size, fps, "the clip")
        shape, prompt = fitting.around(bundle, video, at + len(video.frames) + end), Schedule.parse(self.prompt)
        notes = fitting.checked(bundle, prompt, shape)
        asked = frames.Sampling(bundle, shape, prompt, self.settings(bundle))
        return Plan(
            shape=shape,
            frames=frames.extended(asked, video.frames, at),
            conditions=(canvas.Condition(video.frames, at=at),),
            notes=(*notes, *fit_notes),
            sound=video.sound_from(at / video.fps),
        )


@verb
class Connect(Sampled):
    """A video that leads from one clip to another; the frames of both are kept."""

    one: ClipFile
    other: ClipFile
    prompt: Prompt
    _: KW_ONLY
    seconds: Annotated[Seconds, option("Length of the transition.")] = 2.0

    def opened(self) -> Self:
        return replace(self, one=media.clip(self.one), other=media.clip(self.other))

    def plan(self, bundle: Bundle) -> Plan:
        fps = bundle.sampling.fps
        between = fitting.some_frames(self.seconds, fps)
        first, fit_notes = fitting.fitted(bundle, media.clip(self.one), self.size, fps, "the first clip")
        second, more_notes = fitting.fitted(bundle, media.clip(self.other), first.size, fps, "the second clip")
        shape = fitting.around(bundle, first, len(first.frames) + between + len(second.frames))
        prompt, at = Schedule.parse(self.prompt), shape.num_frames - len(second.frames)
        notes = fitting.checked(bundle, prompt, shape)
        asked = frames.Sampling(bundle, shape, prompt, self.settings(bundle))
        return Plan(
            shape=shape,
            frames=frames.connected(asked, first.frames, second.frames),
            conditions=(canvas.Condition(first.frames), canvas.Condition(second.frames, at=at)),
            notes=(*notes, *fit_notes, *more_notes),
            sound=(*first.sound, *second.sound_from(at / first.fps)),
        )


@verb
class Loop(Sampled):
    """A seamless loop, to be played over and over."""

    prompt: Prompt
    _: KW_ONLY
    clip: Annotated[Clip, option("Begin with this video, kept.")] | None = None
    seconds: Annotated[Seconds, option("Length of the loop; with a clip, of the transition back to its start.")] = 2.0

    @property
    def from_prompt(self) -> bool:
        return self.clip is None

    def opened(self) -> Self:
        return self if self.clip is None else replace(self, clip=media.clip(self.clip))

    def plan(self, bundle: Bundle) -> Plan:
        if self.clip is not None:
            return self._back(bundle)
        shape = fitting.shape_of(bundle, self.seconds, self.size, None)
        shape = replace(shape, num_frames=shape.num_frames - 1)
        frames.closing(bundle, shape)
        prompt = Schedule.parse(self.prompt)
        notes = fitting.checked(bundle, prompt, shape)
        made = partial(frames.looped, bundle, shape, fitting.unchanging(prompt), self.settings(bundle))
        return Plan(shape=shape, frames=made, notes=tuple(notes))

    def _back(self, bundle: Bundle) -> Plan:
        assert self.clip is not None
        fps = bundle.sampling.fps
        gap = fitting.some_frames(self.seconds, fps)
        video, fit_notes = fitting.fitted(bundle, media.clip(self.clip), self.size, fps, "the clip")
        shape, prompt = fitting.around(bundle, video, len(video.frames) + gap), Schedule.parse(self.prompt)
        notes = fitting.checked(bundle, prompt, shape)
        held = bundle.sampling.context * bundle.vae.strides.frames
        before, after = video.frames[max(0, len(video.frames) - 1 - held) : len(video.frames)], video.frames[:held]
        around = replace(shape, num_frames=len(before) + gap + len(after))
        later = prompt.since((len(video.frames) - len(before)) / shape.fps)
        conditions = canvas.Condition(before), canvas.Condition(after, at=around.num_frames - len(after))
        sampling = frames.Sampling(bundle, around, later, self.settings(bundle), conditions)
        return Plan(
            shape=shape,
            frames=frames.Joined((video.frames, frames.Excerpt(sampling, len(before), len(before) + gap))),
            conditions=conditions,
            notes=(*notes, *fit_notes),
            sound=video.sound,
        )


@verb
class Interpolate(Sampled):
    """A clip at a multiple of its fps; its own frames are kept."""

    clip: ClipFile
    prompt: Prompt
    _: KW_ONLY
    times: Annotated[int, option("How many times the fps.", ge=2)] = 2

    def opened(self) -> Self:
        return replace(self, clip=media.clip(self.clip))

    def plan(self, bundle: Bundle) -> Plan:
        video, fit_notes = fitting.fitted(bundle, media.clip(self.clip), self.size, None, "the clip")
        clip, fps = video.frames, self.times * video.fps
        if len(clip) < 2:
            raise UsageError("the clip has one frame, and nothing lies between: give two or more, or `animate` it.")
        seconds = (len(clip) - 1) / video.fps
        shape, prompt = fitting.shape_of(bundle, seconds, video.size, fps), Schedule.parse(self.prompt)
        notes = fitting.checked(bundle, prompt, shape)
        blend = sizes.blended(clip, self.times, shape.num_frames)
        start = canvas.Condition(frames.to_whole_latents(bundle, blend), noise=BLEND_NOISE)
        given = (canvas.Condition(sizes.single(clip, n), at=n * self.times) for n in range(len(clip)))
        conditions = (start, *given)
        sampling = frames.Sampling(bundle, shape, prompt, self.settings(bundle), conditions)
        return sampling.plan([*notes, *fit_notes], video.sound)


@verb
class Reverse(Request):
    """A clip backwards, its sound too; no model is needed."""

    needs_model: ClassVar[bool] = False
    clip: Annotated[Clip, option("A video.")]
    _: KW_ONLY
    mark: Mark = ""

    def opened(self) -> Self:
        return replace(self, clip=media.clip(self.clip))

    def plan(self, bundle: Bundle) -> Plan:
        video = media.clip(self.clip)
        clip, fps = video.read()
        count, height, width, _ = clip.shape
        shape = canvas.Shape(num_frames=count, height=height, width=width, fps=fps)
        sound = tuple(one.reversed(shape.num_frames / fps) for one in video.sound)
        return Plan(shape=shape, frames=lambda watch: sizes.backwards(clip), notes=video.notes, sound=sound)


VERBS: dict[str, type[Request]] = {
    kind.name(): kind
    for kind in (
        *(Generate, Image, Animate, Extend, Connect, Loop, Edit, Inpaint, Outpaint, Interpolate),
        *(Storyboard, Reverse),
    )
}
