"""A provider: another server with the shape of OpenAI's videos API, and how it is asked.

A call that brings no answer, or one that says "later" (408, 429, from 500 on), is repeated with
growing pauses, at most for the provider's patience. What makes a video carries an Idempotency-Key,
so that a server which knows keys makes none twice, and x-stainless-retry-count.

Source: OpenAI's client, versions 2.8 to 3.57, for routes, fields and headers. A server is minisora
if it answers GET /verbs.

Here: calls and their answers. Not here: jobs (providers.py), connections (outgoing.py).
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2

from minisora.studio.blobs import storage
from minisora.studio.jobs import Failure
from minisora.studio.outgoing import AddressRefused, Outgoing, TooLarge, Unreachable, pieces, read
from minisora.studio.settings_file import Provider

MOST_JSON = 4 << 20  # bytes of an answer
CALL_SECONDS, FILE_SECONDS = 60.0, 600.0  # for one call; for one with a file
MOST_PAUSE, MOST_RETRY_AFTER = 30.0, 120.0  # seconds between tries
MOST_MISSING = 3  # times in a row that a video may be unknown: a proxy's answer while a server starts
_LATER = {408, 409, 425, 429}
_CODE = re.compile(r"[A-Za-z][\w.-]{0,59}", re.ASCII)
_MESSAGE_LETTERS = 500

Found = TypeVar("Found")
Pause = Callable[[float], Awaitable[None]]


class ProviderError(Exception):
    """The provider refuses, or does not answer for too long.

    status: of its answer, 0 without one
    """

    def __init__(self, failure: Failure, status: int = 0) -> None:
        super().__init__(failure.message)
        self.failure, self.status = failure, status


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A call. fields: of a body; files: paths by field, which make it a multipart form"""

    method: str
    path: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    is_form: bool = False
    key: str = ""


@dataclass(frozen=True)
class Answer:
    """JSON of an answer, and its headers."""

    data: dict[str, Any]
    headers: Mapping[str, str]


class Server:
    """One provider, by its alias."""

    def __init__(self, alias: str, provider: Provider, outgoing: Outgoing) -> None:
        self.alias = alias
        self._provider, self._outgoing = provider, outgoing
        self._is_minisora: bool | None = None

    async def is_minisora(self, pause: Pause) -> bool:
        """True if the provider is a studio of ours, which takes all fields of a request."""
        if self._is_minisora is None:
            try:
                found = (await self.ask(Ask(method="GET", path="/verbs"), pause)).data
                self._is_minisora = found.get("object") == "list" and isinstance(found.get("data"), list)
            except ProviderError as error:
                if not 400 <= error.status < 500 or error.status in (401, 403):
                    raise
                self._is_minisora = False
        return self._is_minisora

    async def ask(self, ask: Ask, pause: Pause) -> Answer:
        """Send a call until it is answered. pause: waits between tries, or raises to end

        Raises ProviderError.
        """
        seconds = FILE_SECONDS if ask.files else CALL_SECONDS

        async def one(tries: int) -> Answer:
            with ExitStack() as stack:
                body = _body(ask, stack)
                async with self._outgoing.call(
                    ask.method,
                    self._provider.address + ask.path,
                    headers=self._headers(ask.key, tries),
                    seconds=seconds,
                    **body,
                ) as response:
                    content = await read(response, MOST_JSON)
                    self._check(response, content)
                    return Answer(_object(content), {k.lower(): v for k, v in response.headers.items()})

        return await self._patiently(one, pause)

    async def delete(self, video_id: str, pause: Pause) -> None:
        """Delete a video; one that is not there any more is none. Raises ProviderError."""
        try:
            await self.ask(Ask(method="DELETE", path=f"/videos/{quote(video_id, safe='')}"), pause)
        except ProviderError as error:
            if error.status != 404:
                raise

    async def download(self, video_id: str, path: Path, most_bytes: int, pause: Pause) -> None:
        """Write a video's content to a file. Raises ProviderError, StorageFull."""

        async def one(tries: int) -> None:
            address = f"{self._provider.address}/videos/{video_id}/content"
            headers = {**self._headers("", tries), "accept": "video/mp4, application/octet-stream;q=0.9, */*;q=0.1"}
            async with self._outgoing.call("GET", address, headers=headers, seconds=FILE_SECONDS) as response:
                if not response.is_success:
                    self._check(response, await read(response, MOST_JSON))
                with storage(), path.open("wb") as file:
                    async for piece in pieces(response, most_bytes):
                        file.write(piece)

        await self._patiently(one, pause)

    async def _patiently(self, one: Callable[[int], Awaitable[Found]], pause: Pause) -> Found:
        began, tries, missing = time.monotonic(), 0, 0
        while True:
            try:
                return await one(tries)
            except _Later as later:
                error, wait = later.error, later.seconds
            except Unreachable as broken:
                error, wait = self.failed("provider_unreachable", str(broken)), None
            except (AddressRefused, TooLarge) as refused:
                raise self.failed("provider_refused", str(refused)) from None
            except ProviderError as refusal:
                missing += 1
                if refusal.status != 404 or missing == MOST_MISSING:
                    raise
                error, wait = refusal, None
            tries += 1
            if wait is None:
                wait = min(MOST_PAUSE, 0.5 * 2.0 ** min(tries - 1, 10)) * random.uniform(0.75, 1.0)
            if time.monotonic() + wait - began > self._provider.patience and error.status != 404:
                raise error
            await pause(wait)

    def _headers(self, key: str, tries: int) -> dict[str, str]:
        secret = self._provider.key.get_secret_value()
        headers = {"accept": "application/json", "x-stainless-retry-count": str(tries)}
        if secret:
            headers["authorization"] = f"Bearer {secret}"
        return {**headers, "idempotency-key": key} if key else headers

    def _check(self, response: httpx2.Response, content: bytes) -> None:
        """Raise ProviderError for an answer that is no success, _Later for one to try again."""
        status, headers = response.status_code, response.headers
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise self.failed("provider_error", f"status {status}: redirects are not followed.", status)
        try:
            found = _object(content).get("error")
        except ValueError:
            found = None
        about = found if isinstance(found, Mapping) else {"message": found}
        error = self.failed(about.get("code"), str(about.get("message") or f"status {status}, without words."), status)
        again = headers.get("x-should-retry", "")
        if again == "false" or error.failure.code == "insufficient_quota":
            raise error
        if status in _LATER or status >= 500 or again == "true":
            raise _Later(error, _retry_after(headers))
        raise error

    def failed(self, code: object, message: str, status: int = 0) -> ProviderError:
        """Error in words of the provider, shortened and without the key."""
        if (secret := self._provider.key.get_secret_value()) and len(secret) > 3:
            message = message.replace(secret, "[key]")
        known = code if isinstance(code, str) and _CODE.fullmatch(code) else "provider_error"
        return ProviderError(Failure(known, f"{self.alias}: {plain(message)}"), status)


class _Later(Exception):
    """The provider says to try again. seconds: after which, if it says so"""

    def __init__(self, error: ProviderError, seconds: float | None) -> None:
        super().__init__(str(error))
        self.error, self.seconds = error, seconds


def plain(text: str) -> str:
    """Text of others to show: one line, not too long."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * _MESSAGE_LETTERS])
    return " ".join(line.split())[:_MESSAGE_LETTERS]


def _body(ask: Ask, stack: ExitStack) -> dict[str, Any]:
    if ask.files or ask.is_form:
        text = {
            name: (None, value if isinstance(value, str) else json.dumps(value)) for name, value in ask.fields.items()
        }
        opened = {
            name: (f"{name}{_suffix(path)}", stack.enter_context(path.open("rb")), "application/octet-stream")
            for name, path in ask.files.items()
        }
        return {"files": {**text, **opened}}
    return {"json": dict(ask.fields)} if ask.fields else {}


def _suffix(path: Path) -> str:
    """Suffix of a file by its first bytes: some servers go by it."""
    with path.open("rb") as file:
        head = file.read(12)
    known = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp", b"GIF8": ".gif", b"\x1aE\xdf\xa3": ".webm"}
    return next((suffix for magic, suffix in known.items() if head.startswith(magic)), ".mp4")


def _object(content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        raise Unreadable from None
    if not isinstance(data, dict):
        raise Unreadable
    return data


class Unreadable(Unreachable, ValueError):
    """A success whose body is no JSON object, such as the page of a proxy."""

    def __init__(self) -> None:
        super().__init__("the answer is no JSON object.")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if 0 <= seconds <= MOST_RETRY_AFTER:
            return seconds
    return None
