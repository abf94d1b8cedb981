"""The code in a worker process: loads a model, runs packs of jobs, writes their results.

The pipe to the server carries `Assignment`s and cancellations in, and `Hello`, `Report`s and a beat
every second out. One thread computes; another reads the pipe, so that a cancelled job stops at the
next step of the sampler, or between two pieces of frames. The process never touches the database,
and writes only into the folders of its assignments.

Here: messages and the model. Importing it loads no torch. Not here: running a job (task.py), a
process of this machine and its pipe (workers.py), an actor and its pipe (ray_actor.py).
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from minisora.errors import UsageError
from minisora.studio.messages import Assignment, Beat, Hello, Refused, Setup
from minisora.studio.moderation import moderator

if TYPE_CHECKING:
    from minisora.generate.model import Model

BEAT_SECONDS = 1.0
ENGLISH = "en"  # language of a card.md
NICENESS = 10  # the server answers while workers compute


class Pipe(Protocol):
    """The way to the server and back; both methods raise OSError or EOFError once it is gone."""

    def send(self, message: Any, /) -> None: ...

    def recv(self) -> Any: ...


def work(pipe: Pipe, setup: Setup) -> None:
    """Body of a process of this machine; see `serve`."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    from minisora.workers.process import become_worker

    become_worker()
    serve(pipe, setup)


def serve(pipe: Pipe, setup: Setup) -> None:
    """Run what comes through a pipe until it closes; what a user can mend is sent as `Refused`."""
    with suppress(OSError):  # the server is gone
        try:
            Process(pipe, setup).run()
        except UsageError as error:
            pipe.send(Refused(str(error)))


class Process:
    """State of the process: the pipe, the model, and which jobs are cancelled."""

    def __init__(self, pipe: Pipe, setup: Setup) -> None:
        self._pipe, self._sending, self.workers = pipe, threading.Lock(), setup.workers
        self.moderator, self.mark = moderator(setup.moderation), setup.mark
        self._folders, facts = described(setup.models)
        for name, folder in self._folders.items():
            check_size(name, folder, self.workers)
        self._model: Model | None = None
        self.loaded: str | None = None
        self.cancelled: set[str] = set()
        self.shows_previews = False
        self._packs: queue.SimpleQueue[Sequence[Assignment] | None] = queue.SimpleQueue()
        self.send(Hello(facts))

    def send(self, message: Any) -> None:
        with self._sending:
            self._pipe.send(message)

    def run(self) -> None:
        """Work until the pipe closes. Raises UsageError if the default model does not load."""
        from minisora.studio.task import Task, run_pack

        for thread in (self._listen, self._beat):
            threading.Thread(target=thread, daemon=True).start()
        self._load(next(iter(self._folders)))  # so that the first job finds it
        while (pack := self._packs.get()) is not None:
            run_pack([Task(self, assignment) for assignment in pack])
            self.cancelled -= {assignment.job.id for assignment in pack}

    def model(self, name: str) -> Model:
        """Model of a job, loaded if it is not."""
        if self.loaded != name:
            try:
                self._load(name)
            except UsageError as error:  # no fault of the job
                raise RuntimeError(f"{name} does not load") from error
        assert self._model is not None
        return self._model

    def _load(self, name: str) -> None:
        import torch

        import minisora

        self._model, self.loaded = None, None  # two would not fit
        self._model = minisora.load(self._folders[name])
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, torch.get_num_threads() // self.workers))
        self.loaded = name

    def _listen(self) -> None:
        try:
            while True:
                kind, content = self._pipe.recv()
                if kind == "run":
                    self._packs.put(content)
                elif kind == "cancel":
                    self.cancelled.add(content)
                else:
                    self.shows_previews = content
        except (EOFError, OSError):
            pass
        finally:
            self._packs.put(None)

    def _beat(self) -> None:
        while True:
            try:
                self.send(Beat(self.loaded))
            except OSError:
                return
            time.sleep(BEAT_SECONDS)


def check_size(name: str, folder: Path, workers: int) -> None:
    """Raise UsageError if a model's weights do not fit in memory, once for each worker."""
    import torch

    from minisora.device import check_memory, default_device, working_dtype

    stored = sum(file.stat().st_size for file in folder.glob("*.safetensors"))  # in bf16
    times = 1 if working_dtype(default_device()) == torch.bfloat16 else 2
    check_memory(times * stored * workers, f"{name} in each of {workers} workers", "Start fewer: --workers N.")


def described(models: Sequence[str]) -> tuple[dict[str, Path], dict[str, Mapping[str, Any]]]:
    """Folders and facts of models by their own names: sampling defaults, digest, when it was made.

    size:  (height, width) as delivered
    world: whose captions it was trained on; dense: on dense ones too
    cards: its model card in Markdown, by language; size_bytes: of its weights

    Raises UsageError for a model that is not there, and for two of one name.
    """
    import torch

    from minisora.bundle import facts, find
    from minisora.generate.deliver import upscaler_for

    folders, known = dict[str, Path](), dict[str, Mapping[str, Any]]()
    for each in models:
        folder = find(each)
        about = facts(folder)
        if (name := about["name"]) in folders:
            raise UsageError(f"{folder} and {folders[name]} are both models named {name}. Serve one of them.")
        upscaler = upscaler_for(about["trained"], dtype=torch.float32)
        factor = 1 if upscaler is None else upscaler.factor
        size, created = [factor * side for side in about["sampling"]["size"]], (folder / "bundle.json").stat().st_mtime
        folders[name] = folder
        captions = {"world": about["world_name"], "dense": about["dense_captions"]}
        stored = {
            "cards": _cards(folder),
            "size_bytes": sum(each.stat().st_size for each in folder.glob("*.safetensors")),
        }
        made = {"digest": about["digest"], "created": created}
        known[name] = {**about["sampling"], **captions, "size": size, **made, **stored}
    return folders, known


def _cards(folder: Path) -> dict[str, str]:
    """Texts of card.md, which is in English, and of card.LANGUAGE.md beside it."""
    names = {path: path.name.removeprefix("card").removesuffix("md").strip(".") for path in folder.glob("card*.md")}
    return {name or ENGLISH: path.read_text(encoding="utf-8") for path, name in names.items()}
