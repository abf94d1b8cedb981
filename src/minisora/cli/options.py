"""A command's options as one frozen value: the fields of a dataclass, with typer's annotations.

Here: making a command of a function that takes such a value. Not here: the commands (the files beside this one).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

Options = TypeVar("Options")


def taking(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Make a command of a function of one value; its docstring is the help."""

    def made(run: Callable[[Options], None]) -> Callable[..., None]:
        def command(**given: Any) -> None:
            run(options(**given))

        command.__name__, command.__doc__ = run.__name__, run.__doc__
        command.__signature__ = inspect.Signature(parameters(options))  # type: ignore[attr-defined]
        return command

    return made


def parameters(options: type[Any], **defaults: Any) -> list[inspect.Parameter]:
    """The fields of a dataclass as typer reads parameters. defaults: in place of the fields' own"""
    hints = get_type_hints(options, include_extras=True)
    made = []
    for f in fields(options):
        default = defaults.get(f.name, inspect.Parameter.empty if f.default is MISSING else f.default)
        made.append(
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[f.name])
        )
    return made
