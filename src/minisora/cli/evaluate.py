"""`minisora evaluate`: score a model, compare reports, write and read other benchmarks' files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minisora.cli.console import make_folder, parse_size, progress, say
from minisora.cli.options import group, taking
from minisora.cli.produce import Force, ModelName, load
from minisora.errors import UsageError
from minisora.eval.suites import PROMPTS, SUITES

if TYPE_CHECKING:
    from minisora.cli.console import Bar
    from minisora.generate.model import Model

MOST_NOTES = 20  # that are printed


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Options of `minisora evaluate`."""

    model: ModelName = "toybox"
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder for the report.")] = Path("out/evaluation")
    count: Annotated[int, typer.Option(help=f"{PROMPTS.help}.")] = PROMPTS.count
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="In pixels; the model's own if not given.")
    ] = None
    candidates: Annotated[
        int | None,
        typer.Option(
            min=0, help="First frames to choose from; 0: all frames in one stage; the model's own if not given."
        ),
    ] = None
    suites: dict[str, int] = field(
        metadata=group(
            {
                suite.name: (Annotated[int, typer.Option(help=f"{suite.help}; 0 for none.")], suite.count)
                for suite in SUITES
                if suite is not PROMPTS
            }
        )
    )
    i3d: Annotated[Path | None, typer.Option(metavar="FILE", help="i3d_torchscript.pt, for FVD.")] = None
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(metavar="OLD NEW", help="Only say how two reports differ beyond noise.")
    ] = None
    folder: Annotated[Path | None, typer.Option(metavar="DIR", help="Only score these videos, of any model.")] = None
    write_prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only write the held-out prompts: .txt, .csv, .jsonl.")
    ] = None
    export: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only make the clips of vbench, vbench2, compbench, physics-iq, worldmodelbench[-images].",
        ),
    ] = None
    prompts: Annotated[Path | None, typer.Option(metavar="FILE", help="With --export: its prompts.")] = None
    given: Annotated[Path | None, typer.Option(metavar="DIR", help="With physics-iq: its switch-frames.")] = None
    read: Annotated[
        tuple[str, Path] | None, typer.Option(metavar="NAME FILE", help="Only read a benchmark's result file.")
    ] = None
    force: Force = False

    @property
    def counts(self) -> Mapping[str, int]:
        """Clips of each suite. Raises UsageError for negative counts, and for no prompts."""
        from minisora.eval.command import checked

        return checked({PROMPTS.name: self.count, **self.suites})

    def loaded(self, bar: Bar) -> Model:
        """Load the model without an upscaler: scores are of the model's own frames."""
        model = load(self.model, bar, "none")
        how, pixels = model.bundle.sampling, parse_size(self.size)
        if self.candidates is not None:
            how = replace(how, candidates=self.candidates)
        model.bundle = replace(model.bundle, sampling=how if pixels is None else replace(how, size=pixels))
        return model


@taking(Evaluate)
def evaluate(asked: Evaluate) -> None:
    """Score a model by its videos, between shuffled captions (floor) and real renders (ceiling).

    Stickers are judged too, if they were fetched. The playroom and the stickers get a table each;
    so do the other verbs, three aspects, and world consistency: objects return, stay in place, and
    move as in the simulator.
    """
    from minisora.eval import command
    from minisora.eval import folder as folders

    if asked.read is not None:
        say(command.read(*asked.read))
    elif asked.compare is not None:
        _compare(*asked.compare)
    elif asked.write_prompts is not None:
        folders.write_prompts(asked.write_prompts, asked.counts["prompts"], force=asked.force)
        say(f"{asked.write_prompts}: {asked.count} held-out prompts")
    elif asked.export is not None:
        _export(asked, asked.export)
    elif asked.folder is not None:
        _score_folder(asked, asked.folder)
    else:
        counts = asked.counts
        parse_size(asked.size)
        make_folder(asked.out)
        with progress() as bar:
            model = asked.loaded(bar)
            seeds = _training_seeds(model)
            report = command.evaluate_all(model, asked.out, counts, training=seeds, i3d=asked.i3d, on_event=bar.step)
        say(report)


def _score_folder(asked: Evaluate, folder: Path) -> None:
    from minisora.eval.folder import folder_figures

    counts = asked.counts
    make_folder(asked.out)
    with progress() as bar:
        found = folder_figures(folder, asked.out, count=counts["prompts"], i3d=asked.i3d, on_event=bar.step)
    say(found.table)
    for note in found.notes[:MOST_NOTES]:
        say(f"note: {note}", err=True)
    if len(found.notes) > MOST_NOTES:
        say(f"note: {len(found.notes) - MOST_NOTES} more are in {asked.out / 'folder.md'}", err=True)


def _compare(old: Path, new: Path) -> None:
    from minisora.eval.compare import compare
    from minisora.eval.page import write_page

    say(compare(old, new))
    if old.is_dir() and new.is_dir():
        say(f"\n{write_page(new, old)}: the same with sheets side by side")


def _export(asked: Evaluate, benchmark: str) -> None:
    from minisora.eval import command

    command.check_export(benchmark, asked.given)
    if asked.prompts is None:
        raise UsageError(f"--export {benchmark} needs --prompts: the benchmark's own file of prompts.")
    parse_size(asked.size)
    make_folder(asked.out)
    with progress() as bar:
        model = asked.loaded(bar)
        bar.doing(f"making the clips of {benchmark}")
        made = command.export(model, benchmark, asked.prompts, asked.out, given=asked.given)
    say(f"{asked.out}: {len(made)} new clips of {benchmark}")


def _training_seeds(model: Model) -> Sequence[int]:
    """Seeds of the two-second playroom clips in a model's training; empty if not by a recipe."""
    from minisora.recipes import RECIPES
    from minisora.sources import latent_jobs
    from minisora.worlds.playroom import WORLD_VERSION

    if model.bundle.trained.get("recipe") not in RECIPES or model.bundle.world != WORLD_VERSION:
        return ()
    return latent_jobs(["playroom-short"])[0].seeds
