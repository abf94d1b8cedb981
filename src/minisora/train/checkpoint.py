"""Checkpoints: a folder each, written under another name and renamed, so none is half-written.

    step-00000042/
        *.distcp, .metadata   the tensors, as torch's distributed checkpoint writes them; each
                              process its own shard
        about.json            the step, scalars, settings, size and CRC-32 of every file; written
                              last

A checkpoint can be read by any number of processes: tensors are resharded.

Here: files. Not here: their content (loop.State).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save, save

from minisora.errors import UsageError
from minisora.train.parallel import Ranks

FORMAT = 1


class Checkpoints:
    """The checkpoints in one run's folder.

    background: write while training continues; the state is copied to the CPU first
    keep:       number of newest checkpoints that are kept
    """

    def __init__(self, folder: Path, ranks: Ranks, *, background: bool = False, keep: int = 2) -> None:
        self.folder, self.ranks, self.background, self.keep = folder, ranks, background, keep
        if ranks.is_first:
            for left in folder.glob(".step-*.partial"):  # of a run that was killed while writing
                shutil.rmtree(left)
        self._open: tuple[Future[Any], Path, dict[str, Any]] | None = None
        # its own group, so that collectives of the writing thread do not mix with others;
        # gloo, as NCCL cannot use CPU tensors
        self.group = dist.new_group(backend="gloo") if background and ranks.count > 1 else None

    def save(self, step: int, tensors: dict[str, Any], about: dict[str, Any]) -> None:
        """Write the checkpoint of `step` and remove all but the newest `keep`.

        Every process has to call.

        tensors: nested dicts of tensors
        about:   JSON values
        """
        self.finish()
        partial = self.folder / f".step-{step:08d}.partial"
        if self.ranks.is_first:
            shutil.rmtree(partial, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
        self.ranks.wait()
        alone = self.ranks.count == 1
        about = {"format": FORMAT, "step": step, "processes": self.ranks.count, **about}
        with _disk(partial, step), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch warns if there is only one process
            if self.background:
                written: Any = async_save(tensors, checkpoint_id=partial, process_group=self.group, no_dist=alone)
                self._open = (getattr(written, "upload_completion", written), partial, about)
                return
            save(tensors, checkpoint_id=partial, no_dist=alone)
            self._close(partial, about)

    def finish(self) -> None:
        """Wait for the write in the background and rename its folder into place.

        Every process has to call.
        """
        if self._open is None:
            return
        (written, partial, about), self._open = self._open, None
        with _disk(partial, about["step"]):
            written.result()
            self._close(partial, about)

    def load_newest(self, tensors: dict[str, Any], warn: Any = print) -> dict[str, Any] | None:
        """Fill `tensors` from the newest undamaged checkpoint.

        Returns its `about`; None if there is no such checkpoint.

        Damaged checkpoints are reported, and removed once an older one is loaded.

        Raises UsageError if a checkpoint is of another model or a newer format.
        """
        damaged = []
        for path in reversed(all_checkpoints(self.folder)):
            about = self._whole(path)
            if about is None:
                damaged.append(path)
                if self.ranks.is_first:
                    warn(f"checkpoint {path.name} is damaged or cut short; using the one before it")
                continue
            if about["format"] > FORMAT:
                raise UsageError(
                    f"checkpoint {path} has format {about['format']}, newer than {FORMAT}. Update minisora."
                )
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)
                    load(tensors, checkpoint_id=path, no_dist=self.ranks.count == 1)
            except (CheckpointException, RuntimeError, ValueError, KeyError) as error:
                raise UsageError(
                    f"checkpoint {path} is of another model than this recipe's: {_first_line(error)}. "
                    f"Give another --folder, or remove it."
                ) from error
            if self.ranks.is_first:
                for other in damaged:  # else they would count among the newest `keep`
                    shutil.rmtree(other)
            self.ranks.wait()
            return about
        return None

    def _close(self, partial: Path, about: dict[str, Any]) -> None:
        own = {file.name: _sum(file) for file in self._own(partial)}
        about["files"] = {name: sum_ for part in self.ranks.gather(own) for name, sum_ in part.items()}
        if not self.ranks.is_first:
            return self.ranks.wait()
        about["sum"] = _sum_of(about)
        (partial / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        final = self.folder / partial.name.removeprefix(".").removesuffix(".partial")
        former = self.folder / f".{final.name}.former"
        shutil.rmtree(former, ignore_errors=True)
        if final.exists():
            final.rename(former)
        partial.rename(final)
        shutil.rmtree(former, ignore_errors=True)
        for old in all_checkpoints(self.folder)[: -self.keep]:
            shutil.rmtree(old)
        self.ranks.wait()

    def _own(self, folder: Path) -> list[Path]:
        """The files that this process wrote."""
        mine = sorted(folder.glob(f"__{self.ranks.rank}_*"))
        return [*mine, folder / ".metadata"] if self.ranks.is_first else mine

    def _whole(self, path: Path) -> dict[str, Any] | None:
        """about.json of a checkpoint if every file matches its checksum, else None.

        The processes share the reading.
        """
        try:
            about: dict[str, Any] = json.loads((path / "about.json").read_text(encoding="utf-8"))
            files = sorted(about["files"].items())[self.ranks.rank :: self.ranks.count]
            sound = about.pop("sum") == _sum_of(about) and all(_sum(path / name) == sum_ for name, sum_ in files)
        except (OSError, ValueError, KeyError, TypeError):
            about, sound = {}, False
        return about if all(self.ranks.gather(sound)) else None


def all_checkpoints(folder: Path) -> list[Path]:
    """All checkpoint folders, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def git_commit() -> str | None:
    """The git commit of the working directory, with a + if files changed; None if there is none."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None


@contextmanager
def _disk(partial: Path, step: int) -> Iterator[None]:
    """Turn errors of a full or read-only disk into a UsageError of one line.

    The half-written folder is removed.
    """
    try:
        yield
    except (CheckpointException, OSError, RuntimeError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UsageError(
            f"the checkpoint of step {step} could not be written to {partial.parent}: {_first_os_error(error)}. "
            f"The one before it is whole; free some room and run the same command again."
        ) from error


def _first_os_error(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, CheckpointException):
        for inner, _ in error.failures.values():
            return _first_os_error(inner)
    if error.__cause__ is not None:
        return _first_os_error(error.__cause__)
    line = _first_line(error)
    return "the disk took no more of it, and may be full" if "unexpected pos" in line else line  # torch's words for it


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1][:200]


def _sum_of(about: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(about, sort_keys=True).encode())


def _sum(path: Path) -> list[int]:
    """Size in bytes and CRC-32, read in pieces."""
    total = size = 0
    with path.open("rb") as file:
        while piece := file.read(2**22):
            total, size = zlib.crc32(piece, total), size + len(piece)
    return [size, total]
