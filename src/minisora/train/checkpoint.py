"""Checkpoints: a folder for each, written beside and renamed, so that a half-written one is never found.

    step-00000042/
        *.distcp, .metadata   the tensors, as torch's distributed checkpoint writes them; each process its own part
        about.json            the step, scalars, settings, size and CRC-32 of every file; written last

Any number of processes reads what any other number wrote: a tensor is cut anew where it is split otherwise.

Here: files. Not here: what is in them (loop.State).
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
    """The checkpoints of one run's folder.

    background: write while training goes on; the state is copied to the CPU first
    """

    def __init__(self, folder: Path, ranks: Ranks, *, background: bool = False, keep: int = 2) -> None:
        self.folder, self.ranks, self.background, self.keep = folder, ranks, background, keep
        if ranks.is_first:
            for left in folder.glob(".step-*.partial"):  # by a run that was killed as it wrote
                shutil.rmtree(left)
        self._open: tuple[Future[Any], Path, dict[str, Any]] | None = None
        # of its own, so that nothing else's exchange meets that of the thread that writes; NCCL has no CPU's
        self.group = dist.new_group(backend="gloo") if background and ranks.count > 1 else None

    def save(self, step: int, tensors: dict[str, Any], about: dict[str, Any]) -> None:
        """Write the checkpoint of `step`; older ones but the newest `keep` are removed. Every process has to call.

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
            warnings.simplefilter("ignore", UserWarning)  # that one process is alone
            if self.background:
                written: Any = async_save(tensors, checkpoint_id=partial, process_group=self.group, no_dist=alone)
                self._open = (getattr(written, "upload_completion", written), partial, about)
                return
            save(tensors, checkpoint_id=partial, no_dist=alone)
            self._close(partial, about)

    def finish(self) -> None:
        """Wait for what is written in the background, and put it in place. Every process has to call."""
        if self._open is None:
            return
        (written, partial, about), self._open = self._open, None
        with _disk(partial, about["step"]):
            written.result()
            self._close(partial, about)

    def load_newest(self, tensors: dict[str, Any], warn: Any = print) -> dict[str, Any] | None:
        """Fill `tensors` from the newest checkpoint that is whole and return what `about` said; None without one.

        A damaged one is said, and removed once an older one is loaded.

        Raises UsageError where a checkpoint is of another model, or of a newer format.
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
                for other in damaged:  # or it would count among the newest, which are kept
                    shutil.rmtree(other)
            self.ranks.wait()
            return about
        return None

    def _close(self, partial: Path, about: dict[str, Any]) -> None:
        own = {file.name: _sum(file) for file in self._own(partial)}
        about["files"] = {name: told for part in self.ranks.gather(own) for name, told in part.items()}
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
        """Files that this process wrote."""
        mine = sorted(folder.glob(f"__{self.ranks.rank}_*"))
        return [*mine, folder / ".metadata"] if self.ranks.is_first else mine

    def _whole(self, path: Path) -> dict[str, Any] | None:
        """What a checkpoint says of itself, if every file is as it was written; the files are dealt out to be read."""
        try:
            about: dict[str, Any] = json.loads((path / "about.json").read_text(encoding="utf-8"))
            files = sorted(about["files"].items())[self.ranks.rank :: self.ranks.count]
            sound = about.pop("sum") == _sum_of(about) and all(_sum(path / name) == told for name, told in files)
        except (OSError, ValueError, KeyError, TypeError):
            about, sound = {}, False
        return about if all(self.ranks.gather(sound)) else None


def all_checkpoints(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def git_commit() -> str | None:
    """Of the working directory, with a + where files were changed; None outside a repository."""
    try:
        told = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.strip() or None


@contextmanager
def _disk(partial: Path, step: int) -> Iterator[None]:
    """Turns what a full or read-only disk does into one line, and leaves nothing half-written."""
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
    told = _first_line(error)
    return "the disk took no more of it, and may be full" if "unexpected pos" in told else told  # torch's words for it


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
