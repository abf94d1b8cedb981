"""What `load` returns: a bundle with the verbs as methods, and defaults filled in from what it was trained for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minisora import bundle as bundles
from minisora.device import check_memory, default_device, has_fast_bf16, use_affinity_threads
from minisora.errors import UsageError
from minisora.generate import fitting, tasks
from minisora.generate.canvas import Condition, Shape, check_apart
from minisora.generate.deliver import notes_on_upscaling, with_upscaler
from minisora.generate.first_frame import FirstFrame
from minisora.generate.storyboard import Storyboard, read_storyboard, scene_prompt
from minisora.generate.window import Settings, settings_for
from minisora.upscale.files import upscaler_folder
from minisora.video import Stream, Video, fit, read_image, read_video


def load(name: str | Path = "toybox", *, device: str | None = None, upscale: str | None = None) -> Model:
    """A model by name (`minisora models`), or from a bundle's folder.

    device:  such as "cuda" or "cpu"; the fastest there is, if None
    upscale: an upscaler, toybox or a folder, which sizes are then of; "none" for the sizes the model itself makes; the
             bundle's own, if None

    Raises UsageError for a name that does not exist, WeightsError for damaged files.
    """
    if upscale not in (None, "none"):
        upscaler_folder(upscale)  # a wrong name is refused before the bundle is read
    began = time.perf_counter()
    use_affinity_threads()
    where = torch.device(device) if device is not None else default_device()
    dtype = torch.bfloat16 if has_fast_bf16(where) else torch.float32
    model = Model(with_upscaler(bundles.load(name, device=where, dtype=dtype), upscale))
    model.timings["load"] = time.perf_counter() - began
    return model


class Model:
    """The verbs on one bundle.

    Sizes are delivered ones, (height, width) in pixels; any size and length is made, on the next larger grid, and
    cropped. What is not given comes from `bundle.sampling`; a student, where the bundle has one, makes what is asked
    for without steps, sampler and guidance (sampling.settings_for).

    timings: seconds by stage of the last call
    remarks: of the last call: how what was given was fitted, and what is enlarged without an upscaler
    """

    def __init__(self, bundle: bundles.Bundle) -> None:
        self.bundle = bundle
        self.timings: dict[str, float] = {}
        self.remarks: list[str] = []

    def generate(
        self,
        prompt: str,
        *,
        seconds: float | None = None,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        preview: str | Path | Video | None = None,
        strength: float = 0.7,
        candidates: int | None = None,
        one_stage: bool = False,
        **settings: Any,
    ) -> Video:
        """Text to video.

        seconds:    length; the video has 1 + seconds * fps frames, the first at 0 and the last at `seconds`
        preview:    the same scene, made smaller before; it is enlarged and made anew from `strength` of the noise
        candidates: first frames to choose from before the rest is made, by how likely the prompt's words are to the
                    bundle's captioner; 1 takes the one that the seed alone gives; the bundle's own number, if None
        one_stage:  make all frames at once, as is done where the bundle's own number is 0
        settings:   seed, steps, guidance, sampler (a name), on_step, and the other fields of `tasks.Settings`
        """
        how, shape = self._settings(settings), self._shape(seconds, size, fps)
        fitting.check_prompt(self.bundle, prompt, shape)
        if preview is None:
            self.remarks += fitting.in_parts(self.bundle, shape, "made small first")
            first = fitting.first_frame(self.bundle, shape, candidates, one_stage)
            return tasks.generate(self.bundle, prompt, shape, how, first)
        if candidates is not None or one_stage:
            raise UsageError("a preview has its first frame already. Leave out candidates and one_stage.")
        _check_strength(strength)
        small = self._fitted(preview, (shape.height, shape.width), shape.fps, "the preview")
        return tasks.enlarge(self.bundle, small.frames[: shape.num_frames], prompt, shape, strength, how)

    def stream(
        self,
        prompt: str,
        *,
        seconds: float,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        candidates: int | None = None,
        one_stage: bool = False,
        **settings: Any,
    ) -> Stream:
        """`generate` for a video that is not to be held in memory: it is made while it is saved."""
        how, shape = self._settings(settings), self._shape(seconds, size, fps)
        fitting.check_prompt(self.bundle, prompt, shape)
        advice = "parts may not fit each other; make a preview and enlarge it"
        self.remarks += fitting.in_parts(self.bundle, shape, advice)
        first = fitting.first_frame(self.bundle, shape, candidates, one_stage)
        pieces = tasks.stream(self.bundle, prompt, shape, [], how, first)
        return Stream(pieces, shape.num_frames, shape.height, shape.width, shape.fps)

    def image(self, prompt: str, *, size: tuple[int, int] | None = None, **settings: Any) -> Video:
        """Text to picture: a video of one frame, chosen as the first of any other is."""
        return self.generate(prompt, seconds=0.0, size=size, **settings)

    def animate(
        self,
        picture: str | Path | Tensor | Mapping[float, str | Path | Tensor],
        prompt: str,
        *,
        seconds: float | None = None,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        **settings: Any,
    ) -> Video:
        """A picture set in motion; it is the first frame, exactly, once it is fitted to the video's size.

        picture: a file, or (H, W, 3) uint8; or several, by the second at which each is shown
        size:    without one, the model's pixel area at the first picture's own aspect
        """
        given = picture if isinstance(picture, Mapping) else {0.0: picture}
        pictures = {at: one if isinstance(one, Tensor) else read_image(one) for at, one in sorted(given.items())}
        how, first = self._settings(settings), next(iter(pictures.values()))
        shape = self._shape(seconds, size or fitting.size_for(self.bundle, *first.shape[:2]), fps)
        fitting.check_prompt(self.bundle, prompt, shape)
        return tasks.animate(self.bundle, self._pictures(pictures, given, shape), prompt, shape, how)

    def _pictures(
        self, pictures: Mapping[float, Tensor], given: Mapping[float, Any], shape: Shape
    ) -> list[tuple[int, Tensor]]:
        """Pictures by second to pictures of the video's size by frame. given: what names them, where it is a file"""
        placed = []
        for at, picture in pictures.items():
            name = "the picture" if isinstance(given[at], Tensor) else str(given[at])
            self.remarks += fitting.said(name, picture.shape[:2], (shape.height, shape.width))
            placed.append((round(at * shape.fps), fit(picture, shape.height, shape.width)[0]))
        check_apart([Condition(picture[None], at=at) for at, picture in placed])
        return placed

    def extend(
        self,
        clip: str | Path | Video,
        prompt: str,
        *,
        after: float = 0.0,
        before: float = 0.0,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        **settings: Any,
    ) -> Video:
        """A clip with `before` and `after` seconds more; its own frames, once fitted, are kept exactly."""
        how, rate = self._settings(settings), fps or self._rate
        at, end = fitting.frames_in(before, rate), fitting.frames_in(after, rate)
        if at + end == 0:
            raise UsageError(f"{before:g} s before and {after:g} s after are no frame at {rate:g} fps. Ask for more.")
        video = self._fitted(clip, size, rate)
        shape = self._around(video, at + len(video.frames) + end)
        fitting.check_prompt(self.bundle, prompt, shape)
        made = tasks.extend(self.bundle, video.frames, prompt, shape, at, how)
        return made.heard(video, at / video.fps)

    def connect(
        self,
        one: str | Path | Video,
        other: str | Path | Video,
        prompt: str,
        *,
        seconds: float = 2.0,
        size: tuple[int, int] | None = None,
        **settings: Any,
    ) -> Video:
        """Two clips, and `seconds` that lead from the end of one to the start of the other."""
        how, rate = self._settings(settings), self._rate
        between = fitting.some_frames(seconds, rate)
        first = self._fitted(one, size, rate, "the first clip")
        second = self._fitted(other, (first.frames.shape[1], first.frames.shape[2]), rate, "the second clip")
        shape = self._around(first, len(first.frames) + between + len(second.frames))
        fitting.check_prompt(self.bundle, prompt, shape)
        made = tasks.connect(self.bundle, first.frames, second.frames, prompt, shape, how)
        return made.heard(first).heard(second, (shape.num_frames - len(second.frames)) / first.fps)

    def loop(
        self,
        prompt: str,
        *,
        clip: str | Path | Video | None = None,
        seconds: float = 2.0,
        size: tuple[int, int] | None = None,
        **settings: Any,
    ) -> Video:
        """A video that can be played over and over without a seam.

        clip:    what it begins with, kept exactly; then `seconds` lead back to its start
        seconds: without a clip, how long one round takes
        """
        how = self._settings(settings)
        if clip is None:
            shape = self._shape(seconds, size, None)
            shape = replace(shape, num_frames=shape.num_frames - 1)
            return tasks.loop(self.bundle, fitting.unchanging(self.bundle, prompt, shape), shape, how)
        rate = self._rate
        back = fitting.some_frames(seconds, rate)
        video = self._fitted(clip, size, rate)
        shape = self._around(video, len(video.frames) + back)
        fitting.check_prompt(self.bundle, prompt, shape)
        return tasks.loop_back(self.bundle, video.frames, prompt, shape, how).heard(video)

    def edit(
        self,
        clip: str | Path | Video,
        prompt: str,
        *,
        source: str | None = None,
        strength: float = 0.7,
        size: tuple[int, int] | None = None,
        **settings: Any,
    ) -> Video:
        """A clip as the prompt would have it.

        source:   what the clip shows now; with it the clip is turned along the difference of the two texts
                  (FlowEdit), without it made anew from noise (SDEdit)
        strength: 0 keeps the clip, 1 keeps nothing of it

        With a source it takes Euler steps: each draws its own noise.
        """
        _check_strength(strength)
        how = self._settings(settings)
        if source is not None and settings.get("sampler", "euler") != "euler":
            raise UsageError(
                "an edit with a source draws new noise at every step, as euler alone can: give no sampler."
            )
        video = self._fitted(clip, size, self._rate)
        shape = self._around(video, len(video.frames))
        fitting.check_prompt(self.bundle, prompt, shape)
        if strength == 0:
            return video
        if source is None:
            return tasks.redo(self.bundle, video.frames, prompt, video.fps, strength, how).heard(video)
        told = fitting.unchanging(self.bundle, source, shape), fitting.unchanging(self.bundle, prompt, shape)
        return tasks.edit(self.bundle, video.frames, *told, video.fps, strength, how).heard(video)

    def inpaint(
        self,
        clip: str | Path | Video,
        region: tuple[int, int, int, int] | Tensor,
        prompt: str,
        *,
        size: tuple[int, int] | None = None,
        **settings: Any,
    ) -> Video:
        """A part of a clip made anew; all other pixels, once fitted, are kept exactly.

        region: left, top, right, bottom in pixels of the fitted clip, right and bottom not included; or (H, W) bool
        """
        how = self._settings(settings)
        video = self._fitted(clip, size, self._rate)
        shape = self._around(video, len(video.frames))
        fitting.check_prompt(self.bundle, prompt, shape)
        hole = region if isinstance(region, Tensor) else fitting.box(region, shape)
        if hole.shape != (shape.height, shape.width):
            (rows, columns), fitted = hole.shape, f"{shape.width}x{shape.height}"
            raise UsageError(f"a mask of {columns}x{rows} does not fit the clip, {fitted}. Resize it.")
        return tasks.inpaint(self.bundle, video.frames, hole, prompt, shape, how).heard(video)

    def outpaint(
        self,
        clip: str | Path | Video,
        prompt: str,
        *,
        size: tuple[int, int],
        corner: tuple[int, int] | None = None,
        **settings: Any,
    ) -> Video:
        """A clip inside a larger frame, which is made around it.

        size:   of the larger frame
        corner: row and column of the clip's upper left corner in it; without one the clip is in the middle
        """
        how = self._settings(settings)
        video = self._fitted(clip, None, self._rate)
        height, width = video.frames.shape[1:3]
        top, left = corner or ((size[0] - height) // 2, (size[1] - width) // 2)
        if min(top, left) < 0 or top + height > size[0] or left + width > size[1] or (height, width) == size:
            raise UsageError(
                f"a clip of {width}x{height} at column {left}, row {top} does not lie inside {size[1]}x{size[0]}. "
                "Ask for a larger frame."
            )
        shape = self._shape((len(video.frames) - 1) / video.fps, size, video.fps)
        fitting.check_prompt(self.bundle, prompt, shape)
        framed = F.pad(video.frames, (0, 0, left, size[1] - left - width, top, size[0] - top - height))
        hole = ~fitting.box((left, top, left + width, top + height), shape)
        return tasks.inpaint(self.bundle, framed, hole, prompt, shape, how).heard(video)

    def storyboard(
        self,
        board: str | Path | Storyboard,
        *,
        size: tuple[int, int] | None = None,
        candidates: int | None = None,
        one_stage: bool = False,
        **settings: Any,
    ) -> Video:
        """A film of shots, from a file or its contents; keyframes, once fitted, are kept exactly.

        Scenes without a keyframe begin as in `generate`, which `candidates` and `one_stage` are said of.

        Each shot begins where the one before ends, so that it has `seconds` times the rate of new frames; a scene of
        its own has one more, its first.
        """
        film = board if isinstance(board, Storyboard) else read_storyboard(board)
        how, rate, size = self._settings(settings), film.fps or self._rate, size or film.size
        scenes, needed, firsts = list[tuple[list[tuple[int, Tensor]], str, Shape]](), 0, list[FirstFrame | None]()
        for scene in film.scenes():  # all that may be refused, before any of it is made
            shape, prompt = self._shape(sum(shot.seconds for shot in scene), size, rate), scene_prompt(scene)
            fitting.check_prompt(self.bundle, prompt, shape)
            files, start = dict[float, Path](), 0.0
            for shot in scene:
                for moment, file in sorted(shot.keyframes.items()):
                    if (other := files.setdefault(start + moment, file)) != file:
                        raise UsageError(f"{other} and {file} are at one moment. Move one of them.")
                start += shot.seconds
            pictures = {moment: read_image(file) for moment, file in files.items()}
            scenes.append((self._pictures(pictures, files, shape), prompt, shape))
            firsts.append(fitting.first_frame(self.bundle, shape, candidates, one_stage))
            needed += fitting.memory_bytes(self.bundle, shape)
        check_memory(needed, f"a film of {len(scenes)} scenes")
        made = [tasks.animate(self.bundle, *scene, how, first) for scene, first in zip(scenes, firsts, strict=True)]
        return Video(torch.cat([video.frames for video in made]), rate)

    def interpolate(
        self,
        clip: str | Path | Video,
        prompt: str,
        *,
        times: int = 2,
        size: tuple[int, int] | None = None,
        **settings: Any,
    ) -> Video:
        """A clip at `times` its rate; its own frames, once fitted in size, are kept exactly."""
        if times < 2:
            raise UsageError(f"{times} times the rate leaves nothing between the frames. Ask for 2 or more.")
        how = self._settings(settings)
        video = self._fitted(clip, size, None)
        shape = self._shape(
            (len(video.frames) - 1) / video.fps, (video.frames.shape[1], video.frames.shape[2]), times * video.fps
        )
        fitting.check_prompt(self.bundle, prompt, shape)
        return tasks.interpolate(self.bundle, video.frames, times, prompt, shape, how).heard(video)

    def notes(self, prompt: str) -> list[str]:
        """What a user should know about a prompt before blaming the video; empty for one the model was trained for."""
        return fitting.notes_on(self.bundle, prompt)

    def card(self) -> str:
        """The model card, Markdown."""
        return self.bundle.card

    @property
    def _rate(self) -> float:
        """The model's own frames per second, to which clips are brought."""
        return self.bundle.sampling.fps

    def _shape(self, seconds: float | None, size: tuple[int, int] | None, fps: float | None) -> Shape:
        return fitting.shape_of(self.bundle, seconds, size, fps)

    def _fitted(
        self, clip: str | Path | Video, size: tuple[int, int] | None, rate: float | None, what: str = "the clip"
    ) -> Video:
        own = clip if isinstance(clip, Video) else read_video(clip)
        video, notes = fitting.fitted(self.bundle, own, size, rate, what)
        self.remarks += notes
        return video

    def sees_at_once(self, seconds: float, fps: float | None) -> bool:
        """Whether a video of this length is made in one piece, and not window by window."""
        frames = 1 + round(seconds * (fps or self._rate))
        return self.bundle.vae.strides.num_latents(frames) <= self.bundle.sampling.window

    def preview_size(self, size: tuple[int, int] | None) -> tuple[int, int]:
        """The area that is delivered if nothing else is asked for, at the aspect of a size."""
        height, width = size or self.bundle.sampling.size
        return fitting.size_for(self.bundle, height, width)

    def _around(self, video: Video, num_frames: int) -> Shape:
        """A shape of so many frames, of the video's size and rate."""
        height, width = video.frames.shape[1:3]
        return self._shape((num_frames - 1) / video.fps, (height, width), video.fps)

    def _settings(self, given: dict[str, Any]) -> Settings:
        self.timings, self.remarks = {}, notes_on_upscaling(self.bundle)
        return settings_for(self.bundle, {**given, "timings": self.timings})


def _check_strength(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise UsageError(f"a strength of {strength:g} is out of range. Give 0 (keep all) to 1 (keep nothing).")
