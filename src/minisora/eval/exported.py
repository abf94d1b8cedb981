"""What the clips of an export are made of, so that one of another model or prompt is never taken for what is asked.

    .OUT.made.jsonl    beside the folder OUT, in which benchmarks look at every file; a line for each clip:
                       its path below OUT, and a digest of what it is made of

A line is written before its clip, so a clip without one was made by somebody else, or by a version that kept no lines.

Here: the lines. Not here: which clips there are (exchange.py).
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from minisora.errors import UsageError
from minisora.video.files import cannot_write


class Made:
    """The clips of one folder.

    by: what makes them, in any words that are others for another model
    """

    def __init__(self, out: Path, by: str) -> None:
        out = out.resolve()
        self._out, self._by, self._path = out, by, out.with_name(f".{out.name}.made.jsonl")
        self._known: dict[str, str] = {}
        for line in self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else ():
            try:
                said = json.loads(line)
                self._known[said["clip"]] = said["made"]
            except (ValueError, KeyError, TypeError):
                continue  # a line of a run that was killed as it wrote

    def digest(self, prompt: str, given: Path) -> str:
        """The key of a clip, beside its name. given: the file that it goes on from; Path() for none"""
        try:
            start = sha256(given.read_bytes()).hexdigest() if given.name else None
        except OSError as error:
            raise UsageError(f"{given}, which a clip goes on from, cannot be read: {error.strerror}.") from error
        return sha256(json.dumps([self._by, prompt, start]).encode()).hexdigest()[:32]

    def holds(self, clip: Path, digest: str) -> bool:
        """Whether the clip is there. Raises UsageError where it is, and made of something else."""
        if not clip.exists():
            return False
        if self._known.get(self._name(clip)) != digest:
            raise UsageError(
                f"{clip} is there and was made by another model or of another prompt, or it is not known of what. "
                "Give another --out, or remove it."
            )
        return True

    def note(self, clip: Path, digest: str) -> None:
        """Say what a clip will be made of, before it is there."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                said = json.dumps({"clip": self._name(clip), "made": digest}, ensure_ascii=False)
                file.write(f"\n{said}\n")  # the line before may have been left unfinished
        except OSError as error:
            raise cannot_write(self._path, error) from error
        self._known[self._name(clip)] = digest

    def _name(self, clip: Path) -> str:
        return clip.resolve().relative_to(self._out).as_posix()
