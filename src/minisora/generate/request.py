"""Requests: a verb as a value, with the help, the bounds and the unit of every field.

A verb is one frozen class (verbs.py). Its fields define the options of its command (cli), its
method of `Model`, its JSON and that JSON's schema; its `plan` gives shape, conditions and sampling
on a bundle. So each verb is defined in one place.

Here: the base of all requests, and the types of their fields. Not here: metadata and errors of
fields (fields.py), the verbs (verbs.py), clips and pictures (media.py), running a plan (plan.py),
requests in files (saved.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, fields
from operator import index
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    SupportsIndex,
    TypeVar,
    dataclass_transform,
)

import pydantic
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)

from minisora.generate.fields import FieldError, Flag, adapter, option, refusal
from minisora.generate.media import Clip
from minisora.generate.schedule import Schedule

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from minisora.bundle import Bundle
    from minisora.generate.canvas import Condition, Shape
    from minisora.generate.window import Settings
    from minisora.progress import Watch
    from minisora.video.sound import Sound

Value = TypeVar("Value", bound=type[Any])


def as_size(value: object) -> object:
    """Convert "WIDTHxHEIGHT", or (height, width), to (height, width)."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+)\s*[xX×]\s*(\d+)\s*", value)
        value = (int(found[2]), int(found[1])) if found else ()
    if not isinstance(value, tuple) or len(value) != 2:
        raise ValueError("not a size")  # a list would be read as width and height as well
    if not all(isinstance(n, SupportsIndex) and index(n) > 0 for n in value):
        raise ValueError("not pixels")
    return tuple(index(n) for n in value)


def numbers(count: int) -> Callable[[object], object]:
    """Make a validator of whole numbers, as a tuple or as text with commas."""

    def read(value: object) -> object:
        if isinstance(value, str):
            value = value.split(",")
        assert isinstance(value, tuple | list) and len(value) == count
        return tuple(int(each) if isinstance(each, str) else each for each in value)

    return read


def _prompt(text: str) -> str:
    Schedule.parse(text)
    return text


Prompt = Annotated[str, option("What to show, in English."), AfterValidator(_prompt)]
Seconds = Annotated[float, option("Length of the video.", unit="s", gt=0, le=1e9)]
Fps = Annotated[float, option("Frames per second; the model's own if not given.", unit="1/s", ge=0.01, le=1000)]
AS_TEXT = WithJsonSchema({"type": "string"})  # files hold text in place of a tuple
Size = Annotated[
    tuple[int, int],
    AS_TEXT,
    option(
        "As delivered, in pixels; the model's own if not given, four times that with an upscaler.",
        unit="pixels",
        give="WIDTHxHEIGHT in pixels, both 1 or more, such as 128x96",
    ),
    BeforeValidator(as_size),
    PlainSerializer(lambda size: f"{size[1]}x{size[0]}", return_type=str),
    Flag(metavar="WIDTHxHEIGHT", text=str),
]
Strength = Annotated[float, option("0 keeps all, 1 replaces all.", ge=0, le=1, give="0 (keep all) to 1 (replace all)")]
Candidates = Annotated[
    int, option("First frames to choose from, before the rest; 1 takes the first; the model's own.", ge=1)
]
ClipFile = Annotated[Clip, option("A video; fitted to the model's size and fps.")]
Expand = Annotated[
    str,
    option(
        "Make a short prompt longer, in the words of the training captions: auto, grammar (the playroom's, of Chinese "
        "too), smollm2, or a chat server's URL#MODEL with its key in OPENAI_API_KEY.",
        give="auto, grammar, smollm2, or an address such as http://localhost:8000/v1#MODEL",
        pattern=r"^(auto|grammar|smollm2|https?://\S+)$",
    ),
    Flag(metavar="auto|grammar|smollm2|URL"),
]
Typed = Annotated[str, option("The prompt as typed, before it was expanded."), Flag(hidden=True)]
OneStage = Annotated[bool, option("Make the first frame with the rest.")]


LINE, ASCII = re.compile(r"([!-~]([ -~]{0,58}[!-~])?)?"), "up to 60 letters, digits and signs of ASCII"
Mark = Annotated[
    str,
    option("Words on every frame, lower right, over kept frames too.", give=ASCII, pattern=f"^{LINE.pattern}$"),
]


@dataclass_transform(frozen_default=True, kw_only_default=False, field_specifiers=(Field,))
def verb(cls: Value) -> Value:
    """Make a frozen, validated dataclass of a request's class.

    An invalid value raises UsageError.
    """
    config = ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=True, extra="forbid")
    made = pydantic.dataclasses.dataclass(frozen=True, config=config, repr=not issubclass(cls, Request))(cls)
    checked = made.__init__

    def __init__(self: Any, *values: Any, **named: Any) -> None:
        try:
            checked(self, *values, **named)
        except ValidationError as error:
            raise refusal(made, error) from None

    made.__init__ = __init__  # type: ignore[method-assign]
    return made  # type: ignore[return-value]


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """Plan of a request on one bundle; nothing is generated yet.

    shape:      of the result
    frames:     generates it, in pieces of (n, H, W, 3) uint8
    conditions: those that `frames` keeps, for display
    notes:      for the user
    sound:      of clips, each from its second of the result on
    """

    shape: Shape
    frames: Callable[[Watch], Iterator[Tensor]]
    conditions: tuple[Condition, ...] = ()
    notes: tuple[str, ...] = ()
    sound: tuple[Sound, ...] = ()


class Request:
    """Base of all verbs.

    A subclass's docstring is the help of its command, its fields are the options.
    """

    needs_model: ClassVar[bool] = True  # False: works on frames alone
    moving: ClassVar[bool] = True  # makes more than one frame

    @property
    def from_prompt(self) -> bool:
        """True if the prompt alone says what is seen, so that its gaps may be filled."""
        return False

    def opened(self) -> Self:
        """Read the clips and pictures, so that a bad file is refused before any work."""
        return self

    def plan(self, bundle: Bundle) -> Plan:
        """Plan this request on a bundle; everything that can be refused is, before any sampling."""
        raise NotImplementedError

    @classmethod
    def name(cls) -> str:
        """Name of the verb in commands and files."""
        return cls.__name__.lower()

    def to_data(self) -> dict[str, Any]:
        """Convert to JSON values: every field, media by name and SHA-256."""
        data: dict[str, Any] = adapter(type(self)).dump_python(self, mode="json")
        return data

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_data`.

        Raises UsageError for a field that is unknown, missing or out of bounds.
        """
        try:
            made: Self = adapter(cls).validate_python(dict(data))
        except ValidationError as error:
            raise refusal(cls, error) from None
        return made

    def __repr__(self) -> str:
        changed = (f"{f.name}={value!r}" for f in fields(self) if (value := getattr(self, f.name)) != f.default)  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(changed)})"


@verb
class Sampled(Request):
    """Base of the verbs that sample the network."""

    _: KW_ONLY
    size: Size | None = None
    seed: Annotated[
        int,
        option("The same seed gives the same result.", ge=0, lt=2**63, give="a whole number from 0 to 2^63 - 1"),
    ] = 0
    steps: (
        Annotated[
            int,
            option(
                "Sampler steps: more are slower and finer; the model's own. A student, where the model has one, takes "
                "few; steps, guidance or sampler, if given, are of the full weights.",
                ge=1,
                le=1000,
            ),
        ]
        | None
    ) = None
    guidance: (
        Annotated[
            float,
            option("How far to push along the prompt, 1 adds nothing; the model's own.", give="a number; 3 is usual"),
        ]
        | None
    ) = None
    sampler: Annotated[str, option("euler, heun, dpmpp_2m or unipc; dpmpp_2m if not given.")] | None = None
    expand: Expand | None = None
    typed: Typed | None = None
    context_noise: Annotated[float, option("Noise on frames that condition the network, 0 to 1.", ge=0, le=1)] = 0.0
    guidance_interval: Annotated[tuple[float, float], option("Times that are guided."), Flag(hidden=True)] | None = None
    guidance_rescale: Annotated[float, option("See diffusion.guidance.", ge=0, le=1), Flag(hidden=True)] | None = None
    mark: Mark = ""
    history_guidance: Annotated[bool, option("Guide along the conditioning frames too."), Flag(hidden=True)] = True

    def settings(self, bundle: Bundle) -> Settings:
        """Sampling settings; fields that are None take the bundle's."""
        from minisora.generate.window import settings_for

        names = ("steps", "guidance", "sampler", "guidance_interval", "guidance_rescale")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if not self.history_guidance:
            given["history_guidance"] = False
        return settings_for(bundle, {**given, "seed": self.seed, "context_noise": self.context_noise})


def check_first_frame(candidates: int | None, one_stage: bool) -> None:
    """Raise UsageError for candidates of a first frame without a first stage."""
    if candidates is not None and one_stage:
        raise FieldError("{one_stage} makes no first frame to choose: leave out {candidates}.")
