"""Checkpoints: a folder for each, written beside and renamed, so that a half-written one is never found."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from minisora.errors import UsageError

KEEP = 2


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `state` as the checkpoint of `step`; older ones but the newest KEEP are removed."""
    final = folder / f"step-{step:08d}"
    partial = folder / f".step-{step:08d}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with (partial / "state.pt").open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UsageError(
            f"the checkpoint of step {step} could not be written to {folder}: {error.strerror}. "
            f"The one before it is whole; free some room and run the same command again."
        ) from error
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    for old in all_checkpoints(folder)[:-KEEP]:
        shutil.rmtree(old)
    return final


def all_checkpoints(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / "state.pt").exists())


def load_newest(folder: Path, warn: Any = print) -> tuple[int, dict[str, Any]] | None:
    """The newest checkpoint that can be read, and its step; a damaged one is passed over and said."""
    for path in reversed(all_checkpoints(folder)):
        try:
            with zipfile.ZipFile(path / "state.pt") as file:  # torch.load does not check the sums that it wrote
                if file.testzip() is not None:
                    raise ValueError("a checksum is wrong")
            state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
            return int(path.name.removeprefix("step-")), state
        except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
            warn(f"checkpoint {path.name} cannot be read ({type(error).__name__}); using the one before it")
    return None
