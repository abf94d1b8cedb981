"""Options of a command as one frozen dataclass, with typer's annotations on its fields.

Here: making a command of a function that takes such a value, `~` in the paths of any command. Not
here: the commands (the other files of cli/).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from minisora.outside import as_path

Options = TypeVar("Options")
KEYWORD = inspect.Parameter.KEYWORD_ONLY
_GROUP = "group"


def group(options: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Metadata of a field that holds many options, by name.

    options: annotation and default of each
    """
    return {
        _GROUP: {
            name: inspect.Parameter(name, KEYWORD, default=default, annotation=annotation)
            for name, (annotation, default) in options.items()
        }
    }


def taking(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Decorator: make a command of a function of one value; its docstring is the help."""
    groups = {f.name: f.metadata[_GROUP] for f in fields(options) if _GROUP in f.metadata}  # type: ignore[arg-type]

    def decorate(run: Callable[[Options], None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            for name, group in groups.items():
                values[name] = {key: values.pop(key) for key in group}
            run(options(**values))

        command.__name__, command.__doc__ = run.__name__, run.__doc__
        command.__signature__ = inspect.Signature(parameters(options))  # type: ignore[attr-defined]
        return command

    return decorate


def with_home(command: Callable[..., None]) -> Callable[..., None]:
    """Let the paths of a command begin with `~`; in its text "./~" is still as it was typed."""
    signature = inspect.signature(command, eval_str=True)
    for parameter in signature.parameters.values():
        hint, *metadata = get_args(parameter.annotation)
        for info in metadata if _is_of_paths(hint) else ():
            info.parser = as_path
    command.__signature__ = signature  # type: ignore[attr-defined]
    return command


def _is_of_paths(hint: Any) -> bool:
    parts = [part for part in get_args(hint) if part is not NoneType]
    return hint is Path or (bool(parts) and all(map(_is_of_paths, parts)))


def parameters(options: type[Any], **defaults: Any) -> list[inspect.Parameter]:
    """Parameters for typer from the fields of a dataclass. defaults: override the fields' own"""
    hints = get_type_hints(options, include_extras=True)
    found = []
    for f in fields(options):
        if _GROUP in f.metadata:
            found += f.metadata[_GROUP].values()
            continue
        default = defaults.get(f.name, inspect.Parameter.empty if f.default is MISSING else f.default)
        found.append(inspect.Parameter(f.name, KEYWORD, default=default, annotation=hints[f.name]))
    return found
