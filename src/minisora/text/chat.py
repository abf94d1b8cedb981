"""A server that speaks OpenAI's chat completions: one request, one answer.

    POST BASE/chat/completions    {"model", ..., "messages": [{"role", "content"}, ...]}
    GET  BASE/models              the first of them, where no model was named

A busy or failing server (429, 5xx, timeout) is retried with exponential backoff. An API key, if
needed, comes from the environment.

Here: HTTP. Not here: captions by such a server (caption/endpoint.py), prompts (rewrite.py).
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, TypedDict
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from minisora.errors import UsageError

KEY = "OPENAI_API_KEY"  # default environment variable of the API key
_AGAIN = (408, 409, 425, 429)  # retried, as is 5xx
_FATAL = {  # errors that every clip would meet
    401: "it wants a key: set the environment variable {key}",
    403: "it refuses the key in the environment variable {key}",
    404: "there is no such address or model there; name BASE/v1#MODEL",
}
_MOST_WAIT_SECONDS = 60.0
_MOST_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Failed:
    """The reason why there is no answer."""

    reason: str


class Trying(TypedDict, total=False):
    """How a server is tried: the options of `ChatServer` with these names."""

    attempts: int
    wait_seconds: float
    timeout_seconds: float


class ChatServer:
    """A server and one of its models."""

    def __init__(
        self,
        url: str,
        *,
        key_variable: str = KEY,
        attempts: int = 6,
        wait_seconds: float = 1.0,
        timeout_seconds: float = 120.0,
    ) -> None:
        """
        url:          the base, such as http://localhost:8000/v1, and after "#" the model; default:
            the server's first
        attempts:     of one request, in all
        wait_seconds: before the second attempt; doubled before each further one, unless the server
            says `Retry-After`

        Raises UsageError if the server does not answer.
        """
        base, _, model = url.partition("#")
        self.base, self._key_variable, self._attempts = base.rstrip("/"), key_variable, attempts
        self._wait_seconds, self._timeout_seconds = wait_seconds, timeout_seconds
        self.model = model or self._first_model()
        self.name = f"{self.base}#{self.model}"

    def ask(self, body: dict[str, Any]) -> str | Failed:
        """The model's raw answer. body: of a chat completion, with the model"""
        answer = self._answer("chat/completions", body, attempts=self._attempts)
        if isinstance(answer, Failed):
            return answer
        try:
            text = answer["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            text = None
        return text if isinstance(text, str) else Failed(f"an answer of another form: {json.dumps(answer)[:200]}")

    def _first_model(self) -> str:
        answer = self._answer("models", None, attempts=2)
        try:
            if isinstance(answer, Failed):
                raise UsageError(f"{self.base} does not answer: {answer.reason}. Is the server running?")
            return str(answer["data"][0]["id"])
        except (KeyError, IndexError, TypeError) as error:
            raise UsageError(f"{self.base} does not say which models it has. Name one: {self.base}#MODEL.") from error

    def _answer(self, path: str, body: dict[str, Any] | None, *, attempts: int) -> Any:
        """The JSON answer to one request, retried while that may help; else Failed."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self._key_variable):
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        reason = ""
        for attempt in range(attempts):
            wait = self._wait_seconds * 2**attempt
            try:
                with urlopen(Request(f"{self.base}/{path}", data, headers), timeout=self._timeout_seconds) as response:
                    return json.load(response)
            except HTTPError as error:
                reason = f"HTTP {error.code} {_reason(error)}".strip()
                if error.code in _FATAL:
                    raise UsageError(
                        f"{self.base} answered {reason}: {_FATAL[error.code].format(key=self._key_variable)}."
                    ) from error
                if error.code < 500 and error.code not in _AGAIN:
                    return Failed(reason)
                wait = _asked_wait(error) or wait
            except (OSError, HTTPException) as error:  # refused, cut off, or too late
                reason = str(error) or type(error).__name__
            except ValueError as error:
                reason = f"an answer that is no JSON ({error})"
            if attempt + 1 < attempts:
                time.sleep(min(wait, _MOST_WAIT_SECONDS))
        return Failed(f"{reason}, {attempts} times")


def _reason(error: HTTPError) -> str:
    """The server's error message, on one line."""
    try:
        text = error.read(2000).decode(errors="replace")
    except (OSError, HTTPException):
        return ""
    return " ".join(text.split())[:200]


def _asked_wait(error: HTTPError) -> float | None:
    """Seconds of `Retry-After`, if it is a number."""
    try:
        return max(0.0, float(error.headers.get("Retry-After", "")))
    except ValueError:
        return None
