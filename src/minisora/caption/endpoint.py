"""Captions from a server that speaks OpenAI's chat completions: frames as JPEGs, clips in parallel.

    POST BASE/chat/completions    {"model", ..., "messages": [{"role": "user", "content":
                                  [text, image_url, ...]}]}
    GET  BASE/models              the first of them, where no model was named

Answers are cached on disk by a hash of the whole request, images and address included: the same
command again requests only the missing ones. A busy or failing server (429, 5xx, timeout) is
retried with exponential backoff; a clip that never gets an answer is reported and the others
continue. An API key, if needed, comes from the environment.

Here: HTTP and the cache. Not here: frames and prompts (protocol.py).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from minisora.caption.protocol import PROMPTS, Answer, Failed, pictures, plain
from minisora.errors import UsageError
from minisora.video import Video
from minisora.video.files import replacing

CACHE = Path(".cache/captions")
KEY = "OPENAI_API_KEY"  # default environment variable of the API key
_AGAIN = (408, 409, 425, 429)  # retried, as is 5xx
_FATAL = {  # errors that every clip would meet
    401: "it wants a key: set the environment variable {key}",
    403: "it refuses the key in the environment variable {key}",
    404: "there is no such address or model there; name BASE/v1#MODEL",
}
_MOST_WAIT_SECONDS = 60.0
_MOST_TOKENS = {False: 120, True: 600}  # of an answer, short and long


class Endpoint:
    """A server as a captioner."""

    def __init__(
        self,
        url: str,
        *,
        cache: Path = CACHE,
        key_variable: str = KEY,
        frames: int = 8,
        threads: int = 8,
        attempts: int = 6,
        wait_seconds: float = 1.0,
        timeout_seconds: float = 120.0,
    ) -> None:
        """
        url:          the base, such as http://localhost:8000/v1, and after "#" the model; default:
            the server's first
        attempts:     requests for one clip, in all
        wait_seconds: before the second attempt; doubled before each further one, unless the server
            says `Retry-After`
        """
        base, _, model = url.partition("#")
        self.base, self._cache, self._key_variable = base.rstrip("/"), cache, key_variable
        self._frames, self._threads, self._attempts = frames, threads, attempts
        self._wait_seconds, self._timeout_seconds = wait_seconds, timeout_seconds
        self.together = 4 * threads
        self.model = model or self._first_model()
        self.name = f"{self.base}#{self.model}"

    def __call__(self, clips: Sequence[Video], *, long: bool = False) -> list[Answer]:
        bodies = [self._body(clip, long) for clip in clips]
        files = [self._cache / f"{self._key(body)}.json" for body in bodies]
        answers: list[Answer] = [_kept(file) or Failed("not asked") for file in files]
        with ThreadPoolExecutor(self._threads) as pool:
            asked = {pool.submit(self._ask, bodies[n]): n for n, one in enumerate(answers) if isinstance(one, Failed)}
            try:
                for future in as_completed(asked):
                    n = asked[future]
                    answers[n] = answer = future.result()
                    if isinstance(answer, str):
                        _keep(files[n], answer)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [plain(answer) if isinstance(answer, str) else answer for answer in answers]

    def _body(self, clip: Video, long: bool) -> dict[str, Any]:
        shown = [
            {"type": "image_url", "image_url": {"url": _data_url(picture)}} for picture in pictures(clip, self._frames)
        ]
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": [*shown, {"type": "text", "text": PROMPTS[long]}]}],
            "max_tokens": _MOST_TOKENS[long],
            "temperature": 0.0,
        }

    def _key(self, body: dict[str, Any]) -> str:
        return hashlib.sha256(json.dumps([self.base, body], sort_keys=True).encode()).hexdigest()

    def _ask(self, body: dict[str, Any]) -> Answer:
        """The model's raw answer; it is cached raw, so that its post-processing may change."""
        answer = self._answer("chat/completions", body, attempts=self._attempts)
        if isinstance(answer, Failed):
            return answer
        try:
            text: str = answer["choices"][0]["message"]["content"]
            return text if plain(text) else Failed("the model said nothing")
        except (KeyError, IndexError, TypeError, AttributeError):
            return Failed(f"an answer of another form: {json.dumps(answer)[:200]}")

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


def _data_url(picture: Any) -> str:
    file = BytesIO()
    picture.save(file, format="jpeg", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


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


def _kept(file: Path) -> str | None:
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["text"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_text(json.dumps({"text": text}, ensure_ascii=False) + "\n", encoding="utf-8")
