"""Names and words from outside: `~` in paths, and characters that are neither letters nor spaces.

A name or a prompt may hold any byte: half of a character, an escape sequence that moves the cursor,
an override of the direction of writing. Such a prompt is refused, and such a name is printed
escaped, so that a file cannot steer a terminal.

Here: paths as people write them, checking and printing text. Not here: printing itself
(cli/console.py), names for FFmpeg (video/files.py).
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from minisora.errors import UsageError

_SPACES = "\t\n"  # control characters that only separate words
# Unicode Standard Annex 9, table 4: embeddings, overrides and isolates
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MARKS = frozenset("\u061c\u200e\u200f")  # common in Arabic and Hebrew


def as_path(value: str | os.PathLike[str], folder: Path | None = None) -> Path:
    """Path of a file by its name; `~` and `~user` become home folders.

    value:  as text, "./~" is the file called ~; as a Path, whose "./" is lost, a file that is there
    folder: of names that are relative; None: the current one

    Calling it again on its result changes nothing.

    Raises UsageError for a name that no file can have.
    """
    text = os.fspath(value)
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise UsageError(f'no file can be called "{printable(text)}". Give another name.')
    is_literal = not isinstance(value, str) and os.path.lexists(text)
    path = Path(text if is_literal else os.path.expanduser(text))
    if folder is not None:
        path = folder / path
    return path if os.path.expanduser(path) == str(path) else Path.cwd() / path


def check_text(text: str, what: str) -> None:
    """Raise UsageError for characters that words do not have.

    what: noun phrase for the message
    """
    text = text.replace("\r\n", "\n")
    for place, letter in enumerate(text):
        kind = unicodedata.category(letter)
        if letter in _SPACES or (kind not in ("Cc", "Cs") and letter not in _DIRECTIONS):
            continue
        before = printable(text[max(0, place - 30) : place])
        where = f'after "{before}"' if before else "at its beginning"
        if kind == "Cs":
            found = printable(letter)
            raise UsageError(f"{what} is not UTF-8: {where} stands {found}. Type it anew, or save it as UTF-8.")
        raise UsageError(f"{what} holds the control character U+{ord(letter):04X} {where}. Leave it out.")


def is_text(text: str) -> bool:
    """True if `check_text` passes."""
    try:
        check_text(text, "it")
    except UsageError:
        return False
    return True


def printable(text: str, keep: str = "") -> str:
    """Text with what a terminal would obey, or cannot show, as \\x1b or \\u202e; line ends too.

    keep: characters that stay, such as line ends
    """
    if text.isprintable() and text.isascii():
        return text
    return "".join(letter if letter in keep else _shown(letter) for letter in text)


def _shown(letter: str) -> str:
    kind = unicodedata.category(letter)
    if kind not in ("Cc", "Cs", "Zl", "Zp") and letter not in _DIRECTIONS | _MARKS:
        return letter
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # PEP 383: a byte that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
