"""What `load` returns: a bundle with the verbs as methods, and defaults filled in from what it was trained for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minisora import bundle as bundles
from minisora import tasks
from minisora.canvas import Shape
from minisora.device import default_device, has_fast_bf16, machine_bytes, use_affinity_threads
from minisora.diffusion.samplers import sampler_named
from minisora.errors import UsageError
from minisora.tasks import Settings
from minisora.vae.model import STRIDE
from minisora.video import Video, fit, fit_size, read_image

MOST_BYTES_SHARE = 0.9  # of the machine's memory that one video may need


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
        **settings: Any,
    ) -> Video:
        """Text to video.

        seconds:  length; the video has 1 + seconds * fps frames, the first at 0 and the last at `seconds`
        settings: seed, steps, guidance, sampler (a name), on_step, and the other fields of `tasks.Settings`
        """
        shape = self._shape(seconds, size, fps)
        return tasks.generate(self.bundle, self._checked(prompt), shape, self._settings(settings))

    def image(self, prompt: str, *, size: tuple[int, int] | None = None, **settings: Any) -> Video:
        """Text to picture: a video of one frame."""
        return tasks.image(self.bundle, self._checked(prompt), self._shape(0.0, size, None), self._settings(settings))

    def animate(
        self,
        picture: str | Path | Tensor,
        prompt: str,
        *,
        seconds: float | None = None,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        **settings: Any,
    ) -> Video:
        """A picture set in motion; it is the first frame, exactly, once it is fitted to the video's size.

        picture: a file, or (H, W, 3) uint8
        size:    without one, the model's pixel area at the picture's own aspect
        """
        first = picture if isinstance(picture, Tensor) else read_image(picture)
        if size is None:
            height, width = self.bundle.sampling.size
            cell = STRIDE * self.bundle.dit.config.patch[1]
            size = fit_size(first.shape[0], first.shape[1], area=height * width, multiple=cell)
        shape = self._shape(seconds, size, fps)
        fitted, _ = fit(first[None], shape.height, shape.width)
        return tasks.animate(self.bundle, fitted[0], self._checked(prompt), shape, self._settings(settings))

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
        tokens = -(-frames // 4) * height * width / cell
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
        needed, there = self.memory_bytes(seconds, (height, width), fps), machine_bytes()
        if there and needed > MOST_BYTES_SHARE * there:
            raise UsageError(
                f"{seconds:g} s of {width}x{height} at {fps:g} fps needs about {needed / 2**30:,.0f} GiB; "
                f"this machine has {there / 2**30:.0f}. Ask for a smaller or shorter video."
            )
        return Shape(num_frames=1 + round(seconds * fps), height=height, width=width, fps=fps)

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
