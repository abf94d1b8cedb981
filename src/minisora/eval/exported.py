"""Provenance of exported clips, so that a clip is never taken for that of another model or prompt.

    .OUT.made.jsonl    next to the folder OUT, whose every file a benchmark may read; a line for
                       each clip: its path below OUT, and a digest of its inputs

A line is written before its clip, so a clip without a line comes from elsewhere, or from a version
without this file.

Here: reading and writing the lines. Not here: which clips an export has (exchange.py).
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from minisora.errors import UsageError
from minisora.tables.objects import json_lines
from minisora.video.files import cannot_write


class ExportLog:
    """The recorded clips of one folder.

    by: identifies the model; any string that differs for another model
    """

    def __init__(self, out: Path, by: str) -> None:
        out = out.resolve()
        self._out, self._by, self._path = out, by, out.with_name(f".{out.name}.made.jsonl")
        self._known: dict[str, str] = {}
        for entry in json_lines(self._path) if self._path.exists() else ():
            if isinstance(entry.value, dict) and {"clip", "made"} <= entry.value.keys():
                self._known[entry.value["clip"]] = entry.value["made"]  # others: of a run that was killed while writing

    def digest(self, prompt: str, given: Path) -> str:
        """Digest of a clip's inputs. given: the file that the clip continues; Path() for none"""
        try:
            start = sha256(given.read_bytes()).hexdigest() if given.name else None
        except OSError as error:
            raise UsageError(f"{given}, which a clip goes on from, cannot be read: {error.strerror}.") from error
        return sha256(json.dumps([self._by, prompt, start]).encode()).hexdigest()[:32]

    def holds(self, clip: Path, digest: str) -> bool:
        """True if the clip exists. Raises UsageError if it exists with another digest."""
        if not clip.exists():
            return False
        if self._known.get(self._name(clip)) != digest:
            raise UsageError(
                f"{clip} is there and was made by another model or of another prompt, or it is not known of what. "
                "Give another --out, or remove it."
            )
        return True

    def note(self, clip: Path, digest: str) -> None:
        """Record the digest of a clip that is about to be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                record = json.dumps({"clip": self._name(clip), "made": digest}, ensure_ascii=False)
                file.write(f"\n{record}\n")  # the line before may be partial
        except OSError as error:
            raise cannot_write(self._path, error) from error
        self._known[self._name(clip)] = digest

    def _name(self, clip: Path) -> str:
        return clip.resolve().relative_to(self._out).as_posix()
