"""The work of `minisora evaluate`: every suite, and export to and import from public benchmarks.

Here: running the suites, and benchmarks by name. Not here: the list of suites (suites.py), options
and progress bar (cli/evaluate.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from minisora.bundle import Bundle
from minisora.errors import UsageError
from minisora.eval import exchange
from minisora.eval.page import write_page
from minisora.eval.rows import Findings, verb_table
from minisora.eval.suites import SUITES
from minisora.generate.model import Model
from minisora.progress import OnEvent
from minisora.train.latents import fingerprint
from minisora.video import Video, read_video

Value = TypeVar("Value")
CONTINUED = 5.0  # seconds of a continuation that Physics-IQ reads


def checked(counts: Mapping[str, int]) -> Mapping[str, int]:
    """Return the counts of clips of each suite.

    Raises UsageError if one is negative, or without prompts.
    """
    if counts["prompts"] < 1 or min(counts.values()) < 0:
        listed = ", ".join(f"{name} {value}" for name, value in counts.items())
        raise UsageError(f"{listed}: give 1 or more prompts, 0 or more of the others.")
    return {**counts, "stickers": min(counts["prompts"], counts["stickers"])}


def evaluate_all(
    model: Model,
    out: Path,
    counts: Mapping[str, int],
    *,
    training: Sequence[int] = (),
    i3d: Path | None = None,
    on_event: OnEvent,
) -> str:
    """Run the suites, each with its files in the folder `out`, and write the page of them all.

    counts:   clips of each suite, by its name; 0 skips it
    training: seeds of the playroom clips that the model was trained on (variety.py)
    i3d:      TorchScript file of I3D, for FVD (report.py)
    returns   the tables, and notes on skipped suites
    """
    given = {"training": training, "i3d": i3d}
    found: list[Findings] = [
        suite.module.run(
            model, out, count=counts[suite.name], on_event=on_event, **{name: given[name] for name in suite.takes}
        )
        for suite in SUITES
        if counts[suite.name]
    ]
    tables = [each.table for each in found if each.table]
    rows = verb_table([figure for each in found for figure in each.figures])
    notes = [f"note: {note}" for each in found for note in each.notes]
    return "\n\n".join([*tables, rows, *notes, f"{write_page(out)}: the report"])


def export(model: Model, benchmark: str, prompts: Path, out: Path, *, given: Path | None = None) -> list[Path]:
    """Generate a benchmark's clips under the file names that it expects; existing clips are kept.

    prompts: the benchmark's own file
    given:   for Physics-IQ, the folder of frames or clips to continue

    Raises UsageError as the functions of exchange.py do.
    """
    check_export(benchmark, given)
    by = _model_identity(model.bundle)

    def make(prompt: str, seed: int) -> Video:
        return model.generate(prompt, seed=seed)

    def animate(prompt: str, seed: int, picture: Path) -> Video:
        return model.animate(picture, prompt, seed=seed)

    def continue_from(prompt: str, seed: int, start: Path) -> Video:
        """The continuation of a picture or a clip, without its start."""
        rate = model.bundle.sampling.fps
        if start.suffix.lower() in (".jpg", ".jpeg", ".png"):
            video = model.animate(start, prompt, seconds=CONTINUED, seed=seed)
        else:
            video = model.extend(read_video(start, fps=rate), prompt, after=CONTINUED, seed=seed)
        return Video(video.frames[-round(CONTINUED * rate) :], rate)

    if benchmark in FROM_TEXT:
        return FROM_TEXT[benchmark](prompts, out, make, by)
    if benchmark == PHYSICS_IQ:
        assert given is not None
        return exchange.export_physics_iq(prompts, out, continue_from, by, given=given)
    return exchange.export_worldmodelbench_images(prompts, out, animate, by)


def _model_identity(bundle: Bundle) -> str:
    """Everything in a bundle that determines its output, as JSON."""
    parts = [fingerprint(bundle.vae), fingerprint(bundle.dit), bundle.text.fingerprint]
    if bundle.student is not None:
        parts += [fingerprint(bundle.with_student().dit), str(bundle.student.steps)]
    return json.dumps([*parts, bundle.trained.get("captioner"), asdict(bundle.sampling)])


def check_export(benchmark: str, given: Path | None) -> None:
    """Raise UsageError for an unknown benchmark, or one that needs `given` and has none."""
    _named(dict.fromkeys((*FROM_TEXT, *FROM_FILES)), benchmark)
    if benchmark == PHYSICS_IQ and given is None:
        raise UsageError("Physics-IQ continues clips: name its folder switch-frames with --given.")


def read(benchmark: str, path: Path) -> str:
    """Read a benchmark's result file: a line for each score, and totals of complete parts."""
    lines = [f"{name}: {value:.4f}" for name, value in _named(READERS, benchmark)(path).items()]
    return "\n".join(lines)


PHYSICS_IQ = "physics-iq"
FROM_FILES = (PHYSICS_IQ, "worldmodelbench-images")
FROM_TEXT: dict[str, Callable[[Path, Path, exchange.Make, str], list[Path]]] = {
    "vbench": exchange.export_vbench,
    "vbench2": exchange.export_vbench2,
    "compbench": exchange.export_compbench,
    "worldmodelbench": exchange.export_worldmodelbench,
}


def _vbench(path: Path) -> dict[str, float]:
    scores = exchange.read_vbench(path)
    if all(name in scores for name in (*exchange.QUALITY, *exchange.SEMANTIC)):
        scores |= asdict(exchange.vbench_total(scores))
    return scores


def _vbench2(path: Path) -> dict[str, float]:
    scores = exchange.read_vbench(path)
    if all(name in scores for names in exchange.VBENCH2.values() for name in names):
        scores |= exchange.vbench2_total(scores)
    return scores


READERS: dict[str, Callable[[Path], Mapping[str, float]]] = {
    "vbench": _vbench,
    "vbench2": _vbench2,
    "compbench": lambda path: {path.stem: exchange.read_compbench(path)},
    PHYSICS_IQ: lambda path: asdict(exchange.read_physics_iq(path)),
    "worldmodelbench": exchange.read_worldmodelbench,
}


def _named(table: Mapping[str, Value], name: str) -> Value:
    if name not in table:
        raise UsageError(f"there is no benchmark {name!r} here. There are: {', '.join(table)}.")
    return table[name]
