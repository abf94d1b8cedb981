"""Fields of requests: their metadata, their description, and errors about their values.

The command line, Python, saved requests and the studio's interface derive from it.

Here: metadata and its reading, invalid values in words. Not here: the requests (request.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from minisora.errors import UsageError

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
