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
from minisora import tasks
from minisora.canvas import Shape
from minisora.device import check_memory, default_device, has_fast_bf16, use_affinity_threads
from minisora.diffusion.samplers import sampler_named
from minisora.errors import UsageError
from minisora.sampling import Settings
from minisora.storyboard import Storyboard, read_storyboard, scene_prompt
from minisora.vae.model import STRIDE, num_latents
from minisora.video import Stream, Video, fit, fit_size, read_image, read_video


def load(name: str | Path = "toybox", *, device: str | None = None) -> Model:
    """A model by name (`minisora models`), or from a bundle's folder.

    device: such as "cuda" or "cpu"; the fastest there is, if None

    Raises UsageError for a name that does not exist, WeightsError for damaged files.
    """
    began = time.perf_counter()
    use_affinity_threads()
    where = torch.device(device) if device is not None else default_device()
    dtype = torch.bfloat16 if has_fast_bf16(where) else torch.float32
    model = Model(bundles.load(name, device=where, dtype=dtype))
    model.timings["load"] = time.perf_counter() - began
    return model


class Model:
    """The verbs on one bundle.

    Sizes are (height, width) in pixels; any size and length is made, on the next larger grid, and cropped. What is not
    given comes from `bundle.sampling`.

    timings: seconds by stage of the last call
    """

    def __init__(self, bundle: bundles.Bundle) -> None:
        self.bundle = bundle
        self.timings: dict[str, float] = {}

    def generate(
        self,
        prompt: str,
        *,
        seconds: float | None = None,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        preview: str | Path | Video | None = None,
        strength: float = 0.7,
        **settings: Any,
    ) -> Video:
        """Text to video.

        seconds:  length; the video has 1 + seconds * fps frames, the first at 0 and the last at `seconds`
        preview:  the same scene, made smaller before; it is enlarged and made anew from `strength` of the noise
        settings: seed, steps, guidance, sampler (a name), on_step, and the other fields of `tasks.Settings`
        """
        shape = self._shape(seconds, size, fps)
        how = self._settings(settings)
        if preview is None:
            return tasks.generate(self.bundle, self._checked(prompt), shape, how)
        _check_strength(strength)
        small = self._fitted(preview, (shape.height, shape.width)).frames[: shape.num_frames]
        return tasks.enlarge(self.bundle, small, self._checked(prompt), shape, strength, how)

    def stream(
        self,
        prompt: str,
        *,
        seconds: float,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        **settings: Any,
    ) -> Stream:
        """`generate` for a video that is not to be held in memory: it is made while it is saved."""
        shape, how = self._shape(seconds, size, fps), self._settings(settings)
        pieces = tasks.stream(self.bundle, self._checked(prompt), shape, [], how)
        return Stream(pieces, shape.num_frames, shape.height, shape.width, shape.fps)

    def image(self, prompt: str, *, size: tuple[int, int] | None = None, **settings: Any) -> Video:
        """Text to picture: a video of one frame."""
        return tasks.image(self.bundle, self._checked(prompt), self._shape(0.0, size, None), self._settings(settings))

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
        shape = self._shape(seconds, size or self.size_for(next(iter(pictures.values()))), fps)
        fitted = [(round(at * shape.fps), fit(one, shape.height, shape.width)[0]) for at, one in pictures.items()]
        return tasks.animate(self.bundle, fitted, self._checked(prompt), shape, self._settings(settings))

    def extend(
        self,
        clip: str | Path | Video,
        prompt: str,
        *,
        after: float = 0.0,
        before: float = 0.0,
        size: tuple[int, int] | None = None,
        **settings: Any,
    ) -> Video:
        """A clip with `before` and `after` seconds more; its own frames, once fitted, are kept exactly."""
        if after < 0 or before < 0 or after + before == 0:
            raise UsageError(f"an extension of {before:g} s before and {after:g} s after adds nothing. Ask for some.")
        video = self._fitted(clip, size)
        at, end = round(before * video.fps), round(after * video.fps)
        shape = self._around(video, at + len(video.frames) + end)
        made = tasks.extend(self.bundle, video.frames, self._checked(prompt), shape, at, self._settings(settings))
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
        first = self._fitted(one, size)
        second = self._fitted(other, (first.frames.shape[1], first.frames.shape[2]))
        shape = self._around(first, len(first.frames) + round(seconds * first.fps) + len(second.frames))
        how = self._settings(settings)
        made = tasks.connect(self.bundle, first.frames, second.frames, self._checked(prompt), shape, how)
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
            return tasks.loop(self.bundle, self._checked(prompt), shape, how)
        video = self._fitted(clip, size)
        shape = self._around(video, len(video.frames) + round(seconds * video.fps))
        return tasks.loop_back(self.bundle, video.frames, self._checked(prompt), shape, how).heard(video)

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
        """
        _check_strength(strength)
        video, how = self._fitted(clip, size), self._settings(settings)
        self._around(video, len(video.frames))
        if source is None:
            return tasks.redo(self.bundle, video.frames, self._checked(prompt), video.fps, strength, how).heard(video)
        said = self._checked(source), self._checked(prompt)
        return tasks.edit(self.bundle, video.frames, *said, video.fps, strength, how).heard(video)

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
        video = self._fitted(clip, size)
        shape = self._around(video, len(video.frames))
        hole = region if isinstance(region, Tensor) else _box(region, shape)
        if hole.shape != (shape.height, shape.width):
            (rows, columns), fitted = hole.shape, f"{shape.width}x{shape.height}"
            raise UsageError(f"a mask of {columns}x{rows} does not fit the clip, {fitted}. Resize it.")
        how = self._settings(settings)
        return tasks.inpaint(self.bundle, video.frames, hole, self._checked(prompt), shape, how).heard(video)

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
        video = self._fitted(clip, None)
        height, width = video.frames.shape[1:3]
        top, left = corner or ((size[0] - height) // 2, (size[1] - width) // 2)
        if min(top, left) < 0 or top + height > size[0] or left + width > size[1] or (height, width) == size:
            raise UsageError(
                f"a clip of {width}x{height} at column {left}, row {top} does not lie inside {size[1]}x{size[0]}. "
                "Ask for a larger frame."
            )
        shape = replace(self._around(video, len(video.frames)), height=size[0], width=size[1])
        framed = F.pad(video.frames, (0, 0, left, size[1] - left - width, top, size[0] - top - height))
        hole = ~_box((left, top, left + width, top + height), shape)
        how = self._settings(settings)
        return tasks.inpaint(self.bundle, framed, hole, self._checked(prompt), shape, how).heard(video)

    def storyboard(
        self, board: str | Path | Storyboard, *, size: tuple[int, int] | None = None, **settings: Any
    ) -> Video:
        """A film of shots, from a file or its contents; keyframes, once fitted, are kept exactly.

        Each shot begins where the one before ends, so that it has `seconds` times the rate of new frames; a scene of
        its own has one more, its first.
        """
        film = board if isinstance(board, Storyboard) else read_storyboard(board)
        rate = film.fps or self.bundle.sampling.fps
        how, frames = self._settings(settings), list[Tensor]()
        for scene in film.scenes():
            shape = self._shape(sum(shot.seconds for shot in scene), size, rate)
            pictures, start = list[tuple[int, Tensor]](), 0.0
            for shot in scene:
                for moment, file in sorted(shot.keyframes.items()):
                    fitted, _ = fit(read_image(file), shape.height, shape.width)
                    pictures.append((round((start + moment) * rate), fitted))
                start += shot.seconds
            frames.append(tasks.animate(self.bundle, pictures, scene_prompt(scene), shape, how).frames)
        return Video(torch.cat(frames), rate)

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
        video = self._fitted(clip, size, own_rate=True)
        count = 1 + times * (len(video.frames) - 1)
        shape = replace(self._around(video, count), fps=video.fps * times)
        how = self._settings(settings)
        return tasks.interpolate(self.bundle, video.frames, times, self._checked(prompt), shape, how).heard(video)

    def notes(self, prompt: str) -> list[str]:
        """What a user should know about a prompt before blaming the video; empty for one the model was trained for."""
        text = self.bundle.text
        if text.unreadable(prompt):
            return [
                "the text encoder of this model reads English only, so it cannot follow this prompt. "
                "Released weights read other languages."
            ]
        known, least = self.bundle.known, self.bundle.trained.get("least_similarity")
        if known is None or least is None:
            return []
        similarity = float((text.sentence([prompt]).cpu() @ known.float().T).max())
        if similarity >= least:
            return []
        return [
            f"this prompt is far from all that {self.bundle.name} was trained on (similarity {similarity:.2f}, "
            f"{least:.2f} and more is near). `minisora models {self.bundle.name}` says what it knows; "
            "released weights know more."
        ]

    def card(self) -> str:
        """The model card, Markdown."""
        return self.bundle.card

    def memory_bytes(self, seconds: float | None, size: tuple[int, int] | None, fps: float | None) -> int:
        """About how much memory a video needs beside the weights: states of the transformer, decoding, frames."""
        how = self.bundle.sampling
        height, width = size or how.size
        frames = 1 + round((how.seconds if seconds is None else seconds) * (fps or how.fps))
        config = self.bundle.dit.config
        cell = (STRIDE * config.patch[1]) * (STRIDE * config.patch[2])
        side = how.tile * STRIDE
        tokens = min(how.window, num_latents(frames)) * min(height, side) * min(width, side) / cell
        states = 2 * tokens * (12 * config.width + 2 * config.mlp_width) * 4  # with and without the text
        decoding = 8 * height * width * 200  # a piece of two latents, at the decoder's widest
        return round(states + decoding + 2 * frames * height * width * 3)

    def _shape(self, seconds: float | None, size: tuple[int, int] | None, fps: float | None) -> Shape:
        how = self.bundle.sampling
        seconds = how.seconds if seconds is None else seconds
        fps = how.fps if fps is None else fps
        height, width = size or how.size
        if not (height > 0 and width > 0 and seconds >= 0 and 0 < fps < float("inf")):
            raise UsageError(
                f"a video of {width}x{height}, {seconds:g} s at {fps:g} fps cannot be. Give a size and a rate above 0, "
                f"and 0 seconds or more."
            )
        asked = f"{seconds:g} s of {width}x{height} at {fps:g} fps"
        check_memory(self.memory_bytes(seconds, (height, width), fps), asked)
        return Shape(num_frames=1 + round(seconds * fps), height=height, width=width, fps=fps)

    def _fitted(self, clip: str | Path | Video, size: tuple[int, int] | None, *, own_rate: bool = False) -> Video:
        """The clip at the model's pixel area and its own aspect, or at `size`; and at a rate.

        own_rate: the clip's, instead of the model's
        """
        rate = None if own_rate else self.bundle.sampling.fps
        video = clip if isinstance(clip, Video) else read_video(clip, fps=rate)
        if rate is not None and video.fps != rate:
            moments = torch.arange(0, video.seconds - 1e-6, 1 / rate)
            video = Video(video.frames[(moments * video.fps + 1e-3).long()], rate, video.sound)
        height, width = size or self.size_for(video.frames[0])
        return Video(fit(video.frames, height, width)[0], video.fps, video.sound)

    def sees_at_once(self, seconds: float, fps: float | None) -> bool:
        """Whether a video of this length is made in one piece, and not window by window."""
        frames = 1 + round(seconds * (fps or self.bundle.sampling.fps))
        return num_latents(frames) <= self.bundle.sampling.window

    def preview_size(self, size: tuple[int, int] | None) -> tuple[int, int]:
        """The model's own area at the aspect of a size."""
        height, width = size or self.bundle.sampling.size
        return self.size_for(torch.empty(height, width, 0))

    def size_for(self, frame: Tensor) -> tuple[int, int]:
        height, width = self.bundle.sampling.size
        if frame.shape[:2] == (height, width):
            return height, width
        cell = STRIDE * self.bundle.dit.config.patch[1]
        return fit_size(frame.shape[0], frame.shape[1], area=height * width, multiple=cell)

    def _around(self, video: Video, num_frames: int) -> Shape:
        """A shape of so many frames, of the video's size and rate."""
        height, width = video.frames.shape[1:3]
        return self._shape((num_frames - 1) / video.fps, (height, width), video.fps)

    def _settings(self, given: dict[str, Any]) -> Settings:
        how = self.bundle.sampling
        values = {"steps": how.steps, "guidance": how.guidance, **given}
        if isinstance(values.get("sampler"), str):
            values["sampler"] = sampler_named(values["sampler"])
        self.timings = {}
        return Settings(**values, timings=self.timings)

    def _checked(self, prompt: str) -> str:
        if not prompt.strip():
            raise UsageError("the prompt is empty. Say what the video shows.")
        return prompt


def _check_strength(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise UsageError(f"a strength of {strength:g} is out of range. Give 0 (keep all) to 1 (keep nothing).")


def _box(region: tuple[int, int, int, int], shape: Shape) -> Tensor:
    """(H, W) bool, True inside. region: left, top, right, bottom"""
    left, top, right, bottom = region
    if not (0 <= left < right <= shape.width and 0 <= top < bottom <= shape.height):
        raise UsageError(
            f"the box {left},{top} to {right},{bottom} does not lie inside {shape.width}x{shape.height}. "
            "Give left, top, right and bottom in pixels."
        )
    inside = torch.zeros(shape.height, shape.width, dtype=torch.bool)
    inside[top:bottom, left:right] = True
    return inside
