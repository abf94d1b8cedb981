"""The error of a file that gives no clips, with a reason for the ledger to count by.

Here: the error, in a module without decoders, so that importing it needs no OpenCV.
"""

from __future__ import annotations

from typing import Literal

from minisora.errors import InputError

Reason = Literal["missing", "unreadable", "empty", "no_video", "truncated", "several", "too_short", "timeout"]


class MediaError(InputError):
    """A file that gives no clips."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
