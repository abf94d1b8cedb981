"""Which files minisora made: their metadata name it, so that they may be replaced unasked.

Here: the mark, and the check before a file is replaced. Not here: what a video carries of its
request (generate/saved.py), writing (write.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from minisora.errors import UsageError
from minisora.video.read import read_comment

_KEY = "minisora"  # of a JSON object, as a file or as a video's comment
_PAGE = b'<meta name="generator" content="minisora">'  # pages/templates/base.html


def mark() -> str:
    """Comment of a file that carries no request."""
    import minisora

    return json.dumps({_KEY: minisora.__version__})


def is_ours(path: Path) -> bool:
    """True if minisora made a file: a video, a picture, JSON, or a page."""
    try:
        with path.open("rb") as file:
            if _PAGE in file.read(1024):
                return True
        text = path.read_text(encoding="utf-8") if path.suffix.lower() == ".json" else read_comment(path)
        data = json.loads(text)
    except (UsageError, OSError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and _KEY in data


def check_replaceable(paths: Iterable[Path], *, force: bool = False) -> None:
    """Raise UsageError for files that are there and are not minisora's; empty ones may be replaced.

    force: replace whatever is there
    """
    for path in () if force else paths:
        if path.exists() and path.stat().st_size and not is_ours(path):
            raise UsageError(f"{path} is there, and minisora did not make it. Choose another name, or add --force.")


def check_apart(outputs: Iterable[Path], inputs: Iterable[Path], *, force: bool = False) -> None:
    """Raise UsageError for an output that is an input, or the same file as another output.

    force: outputs may be inputs, which are read before they are replaced
    """
    taken = dict[object, Path]()
    given = {} if force else {identity(path): path for path in inputs}
    for path in outputs:
        key = identity(path)
        if key in taken:
            raise UsageError(f"{path} would replace the output {taken[key]}. Give it another name.")
        if key in given:
            raise UsageError(f"{path} would replace the input {given[key]}. Choose another name, or add --force.")
        taken[key] = path


def identity(path: Path) -> object:
    """Equal for two paths that lead to one file, through links too; it need not be there."""
    try:
        found = path.stat()
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino
