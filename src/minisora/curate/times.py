"""Timestamps of a video as annotations write them.

    137.72    "137.72"    "2:17"    "0:02:17.720"    "00:02:17.720"    "00:02:17,720" (subtitles)

Here: text and numbers to seconds. Not here: frames to seconds, which needs the file's rate
(importers/pair.py).
"""

from __future__ import annotations

import math
import re

from minisora.errors import UsageError

_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:[.,]\d*)?)")  # the first part may be as large as it likes
_FORMS = "seconds (137.72) or H:MM:SS.fff (0:02:17.720)"


def parse_time(value: object) -> float:
    """Parse a time into seconds, 0 or more.

    Raises UsageError if it has none of the forms above.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and (match := _CLOCK.fullmatch(value.strip())):
        hours, minutes, rest = match.groups()
        seconds = float(rest.replace(",", "."))
        if (minutes is not None and seconds >= 60) or (hours is not None and int(minutes) >= 60):
            raise UsageError(f"{value!r} is not a time: minutes and seconds end at 59. Write {_FORMS}.")
        seconds += 60 * int(minutes or 0) + 3600 * int(hours or 0)
    else:
        raise UsageError(f"{value!r} is not a time. Write {_FORMS}.")
    if not 0 <= seconds < math.inf:
        raise UsageError(f"{value!r} is not a time in a video. Write {_FORMS}, from 0 on.")
    return seconds


def parse_span(start: object, stop: object) -> tuple[float, float]:
    """Parse both ends into seconds.

    Raises UsageError if one of them is no time, or if the span is not positive.
    """
    span = parse_time(start), parse_time(stop)
    if span[1] <= span[0]:
        raise UsageError(f"a span from {start} to {stop} ends where it starts or before. Mend or drop it.")
    return span
