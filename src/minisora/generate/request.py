"""Requests: a verb as a value, with the help, the bounds and the unit of every field.

A verb is one frozen class (verbs.py). Its fields define the options of its command (cli), its
method of `Model`, its JSON and that JSON's schema; its `plan` gives shape, conditions and sampling
on a bundle. So each verb is defined in one place.

Here: the base of all requests, and errors for invalid values. Not here: the verbs (verbs.py), clips
and pictures (media.py), running a plan (plan.py), requests in files (saved.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from operator import index
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    SupportsIndex,
    TypeVar,
    dataclass_transform,
    get_args,
    get_type_hints,
)

import pydantic
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo

from minisora.errors import UsageError
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
BOUNDS = ("gt", "ge", "lt", "le")
UNKNOWN = ("unexpected_keyword_argument", "invalid_key")  # pydantic's types of these errors


class FieldError(UsageError):
    """Invalid value of a field.

    The text names fields as {name}; a command shows them as options.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(self.labelled(lambda name: name))

    def labelled(self, label: Callable[[str], str]) -> str:
        """Text with every {name} replaced by `label(name)`, such as --name."""
        return re.sub(r"\{(\w+)\}", lambda found: label(found[1]), self.text)


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A field on the command line, where name or type differ from the field's own."""

    name: str = ""  # such as --from
    metavar: str = ""
    text: Any = None  # type that the command line reads, such as str
    hidden: bool = False  # in Python and JSON only


def option(help: str, *, unit: str = "", give: str = "", **bounds: Any) -> Any:
    """Metadata of a field.

    give: valid values, in the error for an invalid one; None: from the bounds
    """
    return Field(description=help, json_schema_extra={"unit": unit, "give": give}, **bounds)


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
    sampler: Annotated[str, option("A name in diffusion.SAMPLERS; dpmpp_2m if not given.")] | None = None
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


def adapter(cls: Any) -> TypeAdapter[Any]:
    """Adapter that reads and writes a class's JSON, and gives its schema."""
    return TypeAdapter(cls)


@dataclass(frozen=True, kw_only=True)
class About:
    """Description of a field: type, help, unit, valid values, and its form on the command line."""

    type: Any
    help: str = ""
    unit: str = ""
    give: str = ""
    flag: Flag = Flag()


def about(cls: Any) -> Mapping[str, About]:
    """Describe every field of a class, by name in order; later metadata override earlier."""
    return _about_fields(cls)


@cache
def _about_fields(cls: Any) -> Mapping[str, About]:
    hints = get_type_hints(cls, include_extras=True)
    return {f.name: _about(hints[f.name]) for f in fields(cls)}


def _about(hint: Any) -> About:
    own = getattr(hint, "__metadata__", None)  # or that of the type in `X | None`
    parts = own or [part for each in getattr(hint, "__args__", ()) for part in getattr(each, "__metadata__", ())]
    found, bounds = About(type=hint), dict[str, float]()
    for part in parts:
        if isinstance(part, Flag):
            found = replace(found, flag=part)
        elif isinstance(part, FieldInfo):
            extra = part.json_schema_extra if isinstance(part.json_schema_extra, dict) else {}
            found = replace(
                found,
                help=part.description or found.help,
                unit=str(extra.get("unit") or found.unit),
                give=str(extra.get("give") or found.give),
            )
            bounds |= {key: getattr(each, key) for each in part.metadata for key in BOUNDS if hasattr(each, key)}
    return found if found.give else replace(found, give=_within(bounds))


def _within(bounds: Mapping[str, float]) -> str:
    """Bounds in words."""
    most = f"{bounds['le']:.12g}" if "le" in bounds else ""
    if "gt" in bounds:
        return f"a number above {bounds['gt']:.12g}" + (f", at most {most}" if most else "")
    if "ge" in bounds:
        return f"{bounds['ge']:.12g} to {most}" if most else f"{bounds['ge']:.12g} or more"
    return ""


def first_mistake(error: ValidationError) -> Any:
    """First error; an unknown field comes before a missing one, which it may misspell."""
    found = error.errors(include_url=False)
    return next((each for each in found if each["type"] in UNKNOWN), found[0])


def refusal(cls: type[Any], error: ValidationError) -> UsageError:
    """First error in a value of a class, as one sentence with valid values."""
    first = first_mistake(error)
    kind, value = first["type"], first.get("input")
    if kind == "unexpected_positional_argument":
        return UsageError(
            f"{cls.__name__.lower()} takes {' and '.join(_positional(cls))} by position, all else by name."
        )
    cls, name = _place(cls, first["loc"])
    known, what = about(cls), cls.__name__.lower()
    if kind in UNKNOWN:
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"It has: {', '.join(known)}."
        return UsageError(f"{what} has no field {name!r}. {hint}")
    if kind.startswith("missing"):
        return UsageError(f"{what} needs {name}: {known[name].help}")
    if name not in known:
        return UsageError(f"{what}: {first['msg']}.")
    give, message = known[name].give or first.get("ctx", {}).get("error"), first["msg"]
    return FieldError(f"{{{name}}} {_shown(value)}: {f'give {give}' if give else message[0].lower() + message[1:]}.")


def _place(cls: type[Any], at: Sequence[int | str]) -> tuple[type[Any], str]:
    """Innermost class with an error, and its field."""
    name = ""
    for number, step in enumerate(at):
        if name:
            inner = _class_in(about(cls)[name].type)
            if inner is None:
                break
            cls, name = inner, ""
        if isinstance(step, str):
            name = step
        elif number == 0:
            name = _positional(cls)[step]
    return cls, name


def _positional(cls: type[Any]) -> list[str]:
    return [f.name for f in fields(cls) if not f.kw_only]


def _class_in(hint: Any) -> type[Any] | None:
    """Dataclass inside a type such as tuple[Shot, ...], or None."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return next((found for each in get_args(hint) if (found := _class_in(each))), None)


def _shown(value: object) -> str:
    """Shorten a value for an error message."""
    text = " ".join((f"{value:.12g}" if isinstance(value, float) else str(value)).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
