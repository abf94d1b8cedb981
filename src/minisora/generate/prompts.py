"""Lists of prompts: a text file with a prompt on each line.

Here: reading a list. Not here: making its videos (cli/lists.py), what a prompt may say
(schedule.py).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from minisora.errors import UsageError

SUFFIXES = (".txt",)


@dataclass(frozen=True)
class Listed:
    """One entry of a list.

    line:   of the file, from 1
    fields: of the request, by name: the prompt, and whatever else the list says
    """

    line: int
    fields: Mapping[str, str]


def prompts_in(path: Path) -> list[Listed]:
    """Read a list; blank lines are passed over.

    Bytes that are not UTF-8 become surrogates: they cost their own line, which a request refuses.

    Raises UsageError if it cannot be read, or holds none.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: prompts are read from {' or '.join(SUFFIXES)}, a prompt on each line.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16") if is_wide else data.decode("utf-8-sig", "surrogateescape")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} cannot be read: {error}. Save it as UTF-8.") from None
    lines = enumerate(re.split("\r\n|\n", text), 1)
    found = [Listed(number, {"prompt": line.strip()}) for number, line in lines if line.strip()]
    if not found:
        raise UsageError(f"{path} holds no prompt. Write one on each line.")
    return found
