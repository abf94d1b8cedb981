"""Names for people: of jobs and their videos, and of the files that are downloaded.

They stand on pages and in headers; no path of the server is made of them.

Source: RFC 6266 for Content-Disposition, RFC 8187 for letters beyond ASCII in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from minisora.errors import UsageError
from minisora.generate.schedule import Schedule

MOST_LETTERS = 120  # of a title
MOST_BYTES = 150  # of a file's name in UTF-8, without its suffix; file systems take 255
_RESERVED = re.compile(r'[<>:"/\\|?*]')  # by one file system or another
_DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])(\.|$)", re.IGNORECASE)  # of Windows
_MEDIA = re.compile(r"\.(mp4|m4v|mov|webm|mkv|gif|png|jpe?g|webp|avif|bmp|tiff?)$", re.IGNORECASE)
_FALLBACK = "minisora"
_ATTRIBUTE = "!#$&+-.^_`|~"  # RFC 8187, 3.2.1: what stands as it is besides letters and digits


def title(verb: str, request: Mapping[str, Any]) -> str:
    """Title of a request's video: what its prompts say, in order; the verb without any."""
    texts = [" ".join(text.split()) for text in _texts(request)]
    told = [one.rstrip(" .,;") for one, later in pairwise([*texts, ""]) if one != later]
    return _shortened(", then ".join(filter(None, told))) or verb


def _texts(request: Mapping[str, Any]) -> Iterator[str]:
    board = request.get("board")
    shots = board.get("shots", ()) if isinstance(board, Mapping) else ()
    for prompt in (request.get("prompt"), *(shot["prompt"] for shot in shots)):
        if isinstance(prompt, str) and prompt.strip():
            try:
                yield from (part.text for part in Schedule.parse(prompt).parts)
            except UsageError:  # of an older version
                yield prompt


def _shortened(text: str) -> str:
    """Text of MOST_LETTERS at most, cut between words if there are any."""
    if len(text) <= MOST_LETTERS:
        return text
    head = text[: MOST_LETTERS - 1]
    words = head.rpartition(" ")[0]
    return f"{words if 2 * len(words) > MOST_LETTERS else head}…"


def file_name(name: str, suffix: str, part: str = "") -> str:
    """Name of a file that every file system takes.

    name:   of an item
    suffix: without its dot
    part:   which of the item's files it is, if not the video
    """
    text = unicodedata.normalize("NFC", _MEDIA.sub("", name))
    kept = "".join(" " if unicodedata.category(each)[0] in "CZ" else each for each in _RESERVED.sub(" ", text))
    kept = " ".join(kept.split()).encode()[:MOST_BYTES].decode(errors="ignore").strip(" .-")
    if not kept or _DEVICES.match(kept):
        kept = f"{_FALLBACK} {kept}".strip()
    return f"{kept} {part}.{suffix}" if part else f"{kept}.{suffix}"


def disposition(name: str, *, download: bool) -> str:
    """Content-Disposition of a file of this name, in UTF-8 and in ASCII."""
    stem, _, suffix = name.rpartition(".")
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    plain = " ".join(re.sub(r'["\\%]', " ", plain).split()) or _FALLBACK
    how = "attachment" if download else "inline"
    return f"{how}; filename=\"{plain}.{suffix}\"; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE)}"
