"""Decoding a file that others made, in a process of its own, to learn what it is.

Here: starting that process, and reading its answer. Not here: what runs in it (sandbox.py).
"""

from __future__ import annotations

import asyncio
import base64
import codecs
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from minisora.generate.fields import adapter
from minisora.studio.api.errors import Refusal
from minisora.studio.api.sandbox import command, environment
from minisora.studio.api.settings import UploadBounds

MOST_PROCESSES = 2
_MOST_ANSWER, _HEAD_BYTES = 4 << 20, 1 << 10
_UNREADABLE = "cannot be decoded: it takes more memory or time than a file may, or it is damaged."


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """Facts of a decoded file; see `sandbox.inspect`.

    type:    media type, from its content
    request: saved request in it, unchecked
    """

    kind: Literal["picture", "video"]
    type: str
    width: int
    height: int
    fps: float
    num_frames: int
    thumbnail: bytes
    sheet: bytes
    request: Mapping[str, Any] | None = None


_INSPECTED = adapter(Inspected)
_HEADS = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive or an office document",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"ID3": "sound alone",
}
_MARKUP = {"svg": "a drawing in SVG", "html": "a web page"}


class Inspector:
    """Inspects files, MOST_PROCESSES at once."""

    def __init__(self, bounds: UploadBounds) -> None:
        self._bounds, self._free = bounds, asyncio.Semaphore(MOST_PROCESSES)

    async def inspect(self, path: Path, name: str, *, with_sheet: bool = False) -> Inspected:
        """Decode a file in a process of its own. name: for messages

        Raises Refusal for what is no video or picture, is damaged or exceeds the bounds.
        """
        async with self._free:
            words = command(path, self._bounds, with_sheet=with_sheet)
            answer = await output_of(words, folder=path.parent, seconds=self._bounds.decode_seconds)
        try:
            found = json.loads(answer)
            if "refused" in found:
                message = str(found["refused"]).replace(str(path), name)
                if kind := _other_kind(path):
                    message = f"{name} is {kind}, and no video or picture. Choose another file."
                raise Refusal(400, message, "invalid_file")
            found |= {each: base64.b64decode(found[each]) for each in ("thumbnail", "sheet")}
            inspected: Inspected = _INSPECTED.validate_python(found)
        except (ValueError, KeyError, TypeError):
            raise Refusal(400, f"{name} {_UNREADABLE}", "invalid_file") from None
        return inspected


async def output_of(words: Sequence[str], *, folder: Path, seconds: float) -> bytes:
    """Run a process of ours that handles files of others; nothing if it takes longer.

    words: its command line; folder: in which it runs
    """
    process = await asyncio.create_subprocess_exec(
        *words,
        env=environment(),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    answer = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while len(answer) < _MOST_ANSWER and (piece := await process.stdout.read(_MOST_ANSWER)):
                answer += piece
        return bytes(answer)
    except TimeoutError:
        return b""
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _other_kind(path: Path) -> str:
    """What a file is that is no video, by its first bytes; empty if that is not known."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if known := next((kind for mark, kind in _HEADS.items() if head.startswith(mark)), ""):
        return known
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head).lower()  # a letter may be cut
    except UnicodeDecodeError:
        return ""
    if any(ord(letter) < 32 and letter not in "\t\n\f\r" for letter in text) or not text.strip():
        return ""
    return next((kind for tag, kind in _MARKUP.items() if f"<{tag}" in text), "a text")
