"""Errors in the form of OpenAI's API: {"error": {"message", "type", "param", "code"}}.

Its client takes the class of an exception from the status, repeats a call after 408, 409, 429 and
all from 500 on unless `x-should-retry` is false, and waits as long as `retry-after` says, up to 120
seconds.

Here: the form, and the status of each error. Not here: where they are caught (app.py, guard.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse

from minisora.errors import DiskFull, UsageError
from minisora.generate.fields import FieldError
from minisora.studio.jobs import Blocked, NotFound, QueueFull, Unavailable, WrongState

NOT_AGAIN = {"x-should-retry": "false"}
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
MESSAGES = {
    404: "there is no such address here. The paths are in /openapi.json.",
    405: "this address does not take this method.",
    416: "the range lies outside of the file.",
    500: "the server made a mistake. Its log has more under the request id.",
}


@dataclass(eq=False)
class Refusal(Exception):
    """An error with its status.

    code:  for programs, such as video_not_ready
    param: field that is wrong
    """

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> JSONResponse:
        return JSONResponse(body(self.status, self.message, self.code, self.param), self.status, dict(self.headers))


def body(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """JSON of an error."""
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> Refusal:
    """Refusal of a field's value."""
    return Refusal(400, message, code, param)


def wait(message: str, code: str, seconds: float) -> Refusal:
    """Refusal for now. seconds: until it is worth another try, 120 at most"""
    seconds = min(max(seconds, 0.05), 120.0)
    headers = {"retry-after": str(max(1, round(seconds))), "retry-after-ms": str(round(1000 * seconds))}
    return Refusal(429, message, code, headers=headers)


def refused(error: UsageError) -> Refusal:
    """Refusal for an error of the layers below."""
    message = str(error)
    if isinstance(error, QueueFull):
        return wait(message, "queue_full", error.retry_after)
    if isinstance(error, NotFound):
        return Refusal(404, message, "not_found")
    if isinstance(error, Blocked):
        return Refusal(400, message, "moderation_blocked", "prompt")
    if isinstance(error, WrongState):  # 409 would be tried again
        return Refusal(409, message, "wrong_state", headers=NOT_AGAIN)
    if isinstance(error, DiskFull):
        return Refusal(507, message, "storage_full", headers=NOT_AGAIN)
    if isinstance(error, Unavailable):
        return Refusal(503, message, "unavailable", headers={"retry-after": "5"})
    if isinstance(error, FieldError):
        named = re.search(r"\{(\w+)\}", error.text)
        return invalid(message, named[1] if named else None)
    return Refusal(400, message, "invalid_request")
