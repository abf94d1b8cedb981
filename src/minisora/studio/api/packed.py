"""Answers that are the same for everyone and worth compressing: the page's files, the verbs.

Here: gzip where the client takes it, worked out once. Not here: the answers (page.py, verbs.py).
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from functools import cache

from starlette.requests import Request as Call
from starlette.responses import Response

LEAST_BYTES = 1000  # less is sent as it is
_GZIP = re.compile(r"(?:^|,)\s*gzip\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[^,]*)?(?:,|$)")


def packed_answer(call: Call, content: bytes, media_type: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with text, compressed if the client takes that and it is large enough."""
    given = {**(headers or {}), "vary": "accept-encoding"}
    if len(content) >= LEAST_BYTES and _GZIP.search(call.headers.get("accept-encoding", "")):
        return Response(_packed(content), headers={**given, "content-encoding": "gzip"}, media_type=media_type)
    return Response(content, headers=given, media_type=media_type)


@cache
def _packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
