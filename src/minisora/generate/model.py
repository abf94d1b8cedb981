"""`Model`: a bundle with the verbs as methods.

Here: loading, and a method for each verb. Not here: the verbs' fields and plans (verbs.py), running
a request (plan.py).
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec

import torch

from minisora import bundle as bundles
from minisora.device import default_device, use_affinity_threads, working_dtype
from minisora.generate import fitting, verbs
from minisora.generate.deliver import with_upscaler
from minisora.generate.edits import Edit, Inpaint, Outpaint
from minisora.generate.expanding import expand_prompt
from minisora.generate.plan import Result, Work
from minisora.generate.request import Request
from minisora.generate.schedule import Schedule
from minisora.generate.storyboard import Storyboard
from minisora.progress import OnEvent, no_listener
from minisora.text.expand import Expansion
from minisora.upscale.files import upscaler_folder
from minisora.video import Stream, Video

Fields = ParamSpec("Fields")


def load(name: str | Path = "toybox", *, device: str | None = None, upscale: str | None = None) -> Model:
    """Load a model by name (see `minisora models`), or from a bundle's folder.

    device:  such as "cuda" or "cpu"; None: the fastest there is
    upscale: an upscaler, toybox or a folder: sizes are then those after enlargement; "none": sizes
             of the model itself; None: the bundle's own

    Raises UsageError for an unknown name, WeightsError for damaged files.
    """
    if upscale not in (None, "none"):
        upscaler_folder(upscale)  # a wrong name is refused before the bundle is read
    began = time.perf_counter()
    use_affinity_threads()
    where = torch.device(device) if device is not None else default_device()
    dtype = working_dtype(where)
    loaded = with_upscaler(bundles.load(name, device=where, dtype=dtype), upscale)
    return Model(loaded, load_seconds=time.perf_counter() - began)


def verb(request: Callable[Fields, Request]) -> Callable[Concatenate[Model, Fields], Video]:
    """Make a verb's method, with the signature and the help of its request."""

    def method(self: Model, /, *values: Fields.args, **named: Fields.kwargs) -> Video:
        return self.run(request(*values, **named)).video

    signature, own = inspect.signature(request), inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    method.__name__, method.__doc__ = request.__name__.lower(), request.__doc__
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[own, *signature.parameters.values()], return_annotation=Video
    )
    return method


class Model:
    """The verbs on one bundle. Stateless between calls: threads may share it.

    Sizes are those of delivery, (height, width) in pixels. Any size and length works: it is
    generated on the next larger grid of tokens, and cropped. Defaults come from `bundle.sampling`;
    a student, if the bundle has one, serves requests that set no steps, sampler or guidance
    (window.settings_for).

    load_seconds: time of reading the bundle
    """

    def __init__(self, bundle: bundles.Bundle, *, load_seconds: float = 0.0) -> None:
        self.bundle = bundle
        self.load_seconds = load_seconds

    generate = verb(verbs.Generate)
    image = verb(verbs.Image)
    animate = verb(verbs.Animate)
    extend = verb(verbs.Extend)
    connect = verb(verbs.Connect)
    loop = verb(verbs.Loop)
    edit = verb(Edit)
    inpaint = verb(Inpaint)
    outpaint = verb(Outpaint)
    interpolate = verb(verbs.Interpolate)
    storyboard = verb(Storyboard)
    reverse = verb(verbs.Reverse)

    def run(self, request: Request, *, on_event: OnEvent = no_listener) -> Result[Video]:
        """Run a request: its video, notes for the user, and seconds by stage."""
        return Work.of(self.bundle, request, on_event).run()

    def stream(self, request: Request, *, on_event: OnEvent = no_listener) -> Result[Stream]:
        """Like `run`, for a video that is not held in memory: it is generated while it is saved."""
        return Work.of(self.bundle, request, on_event).stream()

    def notes(self, prompt: str) -> list[str]:
        """Notes on a prompt outside of what the model was trained on; empty for one within."""
        return fitting.notes_on(self.bundle, Schedule.parse(prompt))

    def expand(self, prompt: str, how: str = "auto", *, seed: int = 0) -> Expansion:
        """Make a short prompt longer; what `generate(prompt, expand=how, seed=seed)` would use.

        how: "auto", "grammar", "smollm2", or the address of a server (text/expand.py)

        Raises UsageError for a way that is unknown or not installed.
        """
        return expand_prompt(self.bundle, Schedule.parse(prompt), how, seed=seed)

    def card(self) -> str:
        """Model card in Markdown."""
        return self.bundle.card

    def preview_size(self, size: tuple[int, int] | None = None) -> tuple[int, int]:
        """Default size of delivery, at the aspect of a size: (height, width)."""
        return fitting.own_area(self.bundle, size)
