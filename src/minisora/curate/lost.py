"""Why a file gives no clips: the one error that curation counts by.

Here: the error, apart from what decodes, so that naming it needs no OpenCV.
"""

from __future__ import annotations

from typing import Literal

from minisora.errors import InputError

Reason = Literal["missing", "unreadable", "empty", "no_video", "truncated", "too_short", "timeout"]


class MediaError(InputError):
    """A file that gives no clips."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
