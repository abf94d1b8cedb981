"""Bodies of calls -> fields: JSON, multipart forms with files, and plain forms.

    input_reference=@frame.png          {"input_reference": Upload(...)}
    video[id]=video_0f3a...             {"video": {"id": "video_0f3a..."}}
    tags[]=a, tags[]=b                  {"tags": ["a", "b"]}
    extra_body={"steps": 4}             {"steps": 4}

Files are written to a folder while they come, under names of ours, and removed when the call ends;
a client's name for a file is kept as text only.

Here: reading bodies within bounds. Not here: what the fields mean (requests.py), what the files
hold (uploads.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from minisora.studio.api.errors import Refusal, invalid
from minisora.studio.api.settings import Settings
from minisora.studio.blobs import storage

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

Model = TypeVar("Model", bound=BaseModel)
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_DEEPEST = 12
_NAME_LETTERS = 100


@dataclass(frozen=True)
class Upload:
    """A file that came with a call. name: the client's, never a path"""

    path: Path
    name: str
    sha256: str
    size_bytes: int


class Form:
    """Fields of one call, and its files until it ends.

    fields: text, numbers, lists and maps of these, and Upload
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.fields: dict[str, Any] = {}
        self._folder, self._settings, self._paths = folder, settings, list[Path]()

    def writer(self, name: str) -> Writer:
        """Open a new file. Raises Refusal for too many."""
        if len(self._paths) >= self._settings.body.files:
            raise _too_large(f"this call takes {self._settings.body.files} files at most.")
        path = self._folder / secrets.token_hex(16)
        self._paths.append(path)
        return Writer(path, display_name(name), self._settings.upload.size_bytes)

    def kept(self, content: bytes, name: str) -> Upload:
        """Write a file whose bytes came as text."""
        writer = self.writer(name)
        writer.write(content)
        return writer.closed()

    def fingerprint(self) -> str:
        """SHA-256 of the fields and of the files' bytes; equal for a call that is repeated."""
        text = json.dumps(self.fields, sort_keys=True, default=lambda upload: {"sha256": upload.sha256})
        return hashlib.sha256(text.encode()).hexdigest()

    def remove(self) -> None:
        """Remove the files."""
        for path in self._paths:
            path.unlink(missing_ok=True)


class Writer:
    """A file that is being received."""

    def __init__(self, path: Path, name: str, most_bytes: int) -> None:
        self._path, self._name, self._most = path, name, most_bytes
        self._digest, self._size = hashlib.sha256(), 0
        with storage():
            self._file: BinaryIO = path.open("xb")

    def write(self, piece: bytes) -> None:
        """Raises Refusal for more bytes than a file may have, StorageFull."""
        self._size += len(piece)
        if self._size > self._most:
            raise _too_large(f"the file {self._name!r} has more than {self._most:,} bytes. Send a smaller one.")
        self._digest.update(piece)
        with storage():
            self._file.write(piece)

    def closed(self) -> Upload:
        with storage():
            self._file.close()
        return Upload(self._path, self._name, self._digest.hexdigest(), self._size)


@asynccontextmanager
async def read_form(request: Request, folder: Path, settings: Settings) -> AsyncIterator[Form]:
    """Read the body of a call. folder: for its files, until the block ends

    Raises Refusal for a body that is too large, of another type or not well formed.
    """
    form, bounds = Form(folder, settings), settings.body
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > bounds.size_bytes:
        raise _too_large(f"the body has {int(length):,} bytes; {bounds.size_bytes:,} are the most.")
    kind, options = parse_options_header(request.headers.get("content-type"))
    pieces = _pieces(request, bounds.size_bytes, bounds.idle_seconds)
    try:
        if kind == b"multipart/form-data":
            await _read_multipart(form, options.get(b"boundary", b""), pieces, settings)
        else:
            text = await _whole(pieces, bounds.text_bytes)
            if kind == b"application/x-www-form-urlencoded":
                _read_plain(form, text, bounds.fields)
            elif kind == b"application/json" or not text:
                form.fields = _object(text or b"{}", "the body")
            else:
                shown = kind.decode("latin-1")[:60] or "nothing"
                raise Refusal(415, f"a body is multipart/form-data or application/json, not {shown}.", "bad_type")
        if isinstance(extra := form.fields.pop("extra_body", {}), str):
            extra = _object(extra, "extra_body")
        if not isinstance(extra, dict) or extra.keys() & form.fields.keys():
            raise invalid("extra_body has to be a map of further fields.", "extra_body")
        form.fields = {name: value for name, value in (form.fields | extra).items() if value is not None}
        check(form.fields)
        yield form
    finally:
        form.remove()


async def read_model(request: Request, folder: Path, settings: Settings, kind: type[Model]) -> Model:
    """Read a body without files into a pydantic model.

    Raises Refusal as `read_form` does, and for a value that the model does not take.
    """
    bounds = replace(settings.body, files=0, size_bytes=settings.body.text_bytes)
    async with read_form(request, folder, replace(settings, body=bounds)) as form:
        try:
            return kind.model_validate(form.fields)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            name = ".".join(map(str, first["loc"]))
            raise invalid(f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}.", name or None) from None


def display_name(name: str) -> str:
    """Shorten a file's name to something to show: its last part, without control characters."""
    last = re.split(r"[/\\]", name)[-1]
    plain = "".join(letter for letter in last if letter.isprintable()).strip()
    return plain[:_NAME_LETTERS] or "upload"


async def _pieces(request: Request, most_bytes: int, idle_seconds: float) -> AsyncIterator[bytes]:
    stream, size = request.stream(), 0
    while True:
        try:
            async with asyncio.timeout(idle_seconds):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refusal(408, f"nothing came for {idle_seconds:g} s. Send the body at once.", "timeout") from None
        size += len(piece)
        if size > most_bytes:
            raise _too_large(f"the body has more than {most_bytes:,} bytes.")
        yield piece


async def _whole(pieces: AsyncIterator[bytes], most_bytes: int) -> bytes:
    whole = bytearray()
    async for piece in pieces:
        whole += piece
        if len(whole) > most_bytes:
            raise _too_large(f"text has more than {most_bytes:,} bytes. Send files as parts of a multipart form.")
    return bytes(whole)


def parsed(text: str | bytes, what: str) -> Any:
    """Parse JSON without NaN, and within what `check` allows. Raises Refusal."""

    def none(constant: str) -> None:
        raise ValueError(constant)

    try:
        value = json.loads(text, parse_constant=none)
    except (ValueError, RecursionError):
        raise Refusal(400, f"{what} is not JSON.", "invalid_json") from None
    check(value)
    return value


def _object(text: str | bytes, what: str) -> dict[str, Any]:
    value = parsed(text, what)
    if not isinstance(value, dict):
        raise Refusal(400, f"{what} has to be a JSON object: names and values.", "invalid_json")
    return value


def _read_plain(form: Form, text: bytes, most_fields: int) -> None:
    try:
        pairs = parse_qsl(text.decode(), keep_blank_values=True, errors="strict", max_num_fields=most_fields)
    except ValueError:
        raise Refusal(400, f"the form is not UTF-8, or has more than {most_fields} fields.", "invalid_form") from None
    for name, value in pairs:
        put(form.fields, name, value)


async def _read_multipart(form: Form, boundary: bytes, pieces: AsyncIterator[bytes], settings: Settings) -> None:
    parts = _Parts(form, settings)
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        async for piece in pieces:
            parser.write(piece)
        parser.finalize()
    except FormParserError:
        raise Refusal(400, "the multipart form is damaged or cut short.", "invalid_form") from None
    if not parts.ended:
        raise Refusal(400, "the multipart form is cut short.", "invalid_form")


class _Parts:
    """Receives a multipart form, part by part."""

    def __init__(self, form: Form, settings: Settings) -> None:
        self.ended = False
        self._form, self._bounds = form, settings.body
        self._count = self._text_bytes = 0
        self._header, self._value, self._disposition = bytearray(), bytearray(), b""
        self._text, self._file, self._name = bytearray(), None, ""

    _file: Writer | None

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._count += 1
        if self._count > self._bounds.fields:
            raise _too_large(f"a form takes {self._bounds.fields} fields at most.")
        self._disposition, self._file = b"", None
        self._text.clear()

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise Refusal(400, "a part of the form has no name.", "invalid_form")
        self._name = _text(options[b"name"], "the name of a field")
        if b"filename" in options:
            self._file = self._form.writer(options[b"filename"].decode("utf-8", "replace"))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
            return
        self._text_bytes += end - start
        if self._text_bytes > self._bounds.text_bytes:
            raise _too_large(f"the fields have more than {self._bounds.text_bytes:,} bytes of text.")
        self._text += data[start:end]

    def _part_end(self) -> None:
        value = _text(bytes(self._text), self._name) if self._file is None else self._file.closed()
        put(self._form.fields, self._name, value)

    def _end(self) -> None:
        self.ended = True


def _text(content: bytes, what: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise invalid(f"{what[:60]} is not UTF-8.") from None


def put(fields: dict[str, Any], name: str, value: Any) -> None:
    """Put a value where a form's name says: name, name[inner] or name[]. Raises Refusal."""
    found = _NAME.fullmatch(name)
    steps = [] if found is None else [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])]
    if not 0 < len(steps) <= _DEEPEST:
        raise invalid(f"{name[:60]!r} is no name of a field.")
    *way, last = steps
    if many := last == "":
        last = way.pop()
    at: Any = fields
    for step in way:
        at = at.setdefault(step, {}) if step else None
        if not isinstance(at, dict):
            raise invalid(f"{name[:60]} is given in two ways.", steps[0])
    if many:
        at = at.setdefault(last, [])
        if not isinstance(at, list):
            raise invalid(f"{name[:60]} is given in two ways.", steps[0])
        at.append(value)
    elif last in at:
        raise invalid(f"{name[:60]} is given twice.", steps[0])
    else:
        at[last] = value


def check(value: Any, depth: int = 0) -> None:
    """Raise Refusal for text that a database does not hold, numbers that are none, and depth."""
    if depth > _DEEPEST:
        raise invalid("the fields are nested too deeply.")
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise invalid("text may not hold NUL or halves of surrogate pairs.")
    elif isinstance(value, float) and not math.isfinite(value):
        raise invalid("a number is not finite.")
    elif isinstance(value, dict):
        for name, inner in value.items():
            check(name, depth + 1)
            check(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            check(inner, depth + 1)


def _too_large(message: str) -> Refusal:
    return Refusal(413, message, "too_large")
