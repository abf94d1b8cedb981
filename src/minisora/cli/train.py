"""`minisora train`: run a recipe, or plan it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minisora.cli.console import make_folder, say
from minisora.cli.options import taking
from minisora.errors import UsageError
from minisora.outside import as_path

if TYPE_CHECKING:
    from minisora.train.config import RunConfig
    from minisora.train.parallel import Layout

BEGUN_WITHIN = ("toybox-pictures", "toybox", "toybox-student", "captioner-playroom")  # recipes that take --from


@dataclass(frozen=True, kw_only=True)
class Train:
    """Options of `minisora train`."""

    recipe: Annotated[str | None, typer.Argument(help="Its name, or a file of your own; none lists them.")] = None
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Checkpoints, log and weights; .cache/runs/RECIPE.")
    ] = None
    base: Annotated[str | None, typer.Option("--from", metavar="MODEL", help="Begin with its weights.")] = None
    data: Annotated[Path | None, typer.Option(help="Curated clips, for fine-tune.", metavar="FOLDER")] = None
    pictures: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Curated pictures too: a quarter of each step.")
    ] = None
    lora: Annotated[int | None, typer.Option(metavar="RANK", help="For fine-tune: adapters only.")] = None
    steps: Annotated[int | None, typer.Option(help="All steps, with the cool-down; instead of the recipe's.")] = None
    cooldown_steps: Annotated[int | None, typer.Option(help="Steps of the cool-down; 0: none.")] = None
    cool_down: Annotated[
        bool, typer.Option("--cool-down", help="Cool the newest checkpoint down now; the run can go on from it later.")
    ] = False
    replicate: Annotated[int | None, typer.Option(help="Under torchrun: whole copies of the weights.")] = None
    context: Annotated[int | None, typer.Option(help="Under torchrun: processes that share each clip's tokens.")] = None
    recompute: Annotated[
        bool | None, typer.Option("--recompute", help="Activation checkpointing: less memory, more arithmetic.")
    ] = None
    float8: Annotated[bool | None, typer.Option("--float8", help="Matmuls in float8, on GPUs that have it.")] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would take.")] = False

    @property
    def is_file(self) -> bool:
        return self.recipe is not None and self.recipe.endswith(".py")

    def check(self) -> None:
        """Raise UsageError for options that exclude each other."""
        from minisora.recipes import RECIPES

        recipe = self.recipe
        if recipe is None and self.data is not None:
            raise UsageError("--data is for the recipe fine-tune: minisora train fine-tune --data FOLDER.")
        if recipe is None:
            return
        if self.is_file and self.steps is not None:
            raise UsageError(f"--steps is for recipes by name; {recipe} says its own.")
        if not self.is_file and recipe not in RECIPES:
            names = ", ".join(RECIPES)
            raise UsageError(f"there is no recipe {recipe!r}. There are: {names}; or give a file of your own.")
        if recipe != "fine-tune" and any(given is not None for given in (self.data, self.pictures, self.lora)):
            raise UsageError(f"--data, --pictures and --lora are for the recipe fine-tune, not for {recipe}.")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"--steps {self.steps}: give 1 or more.")

    def configured(self) -> RunConfig:
        """Recipe's run with the options applied, but for its layout."""
        from minisora.recipes import RECIPES, initialised_from, recipe_from_file
        from minisora.recipes.tuning import fine_tune

        given = {} if self.steps is None else {"steps": self.steps}
        assert self.recipe is not None
        if self.recipe == "fine-tune":
            return fine_tune(self.data, self.base or "toybox", pictures=self.pictures, lora=self.lora, **given)
        if self.recipe in BEGUN_WITHIN:
            return RECIPES[self.recipe](base=self.base, **given)
        config = recipe_from_file(as_path(self.recipe)) if self.is_file else RECIPES[self.recipe](**given)
        return config if self.base is None else initialised_from(config, self.base)

    def run_folder(self) -> Path:
        """Folder of the run."""
        from minisora.recipes.tuning import name_of_set
        from minisora.runs.logs import RUNS

        if self.folder is not None:
            return self.folder
        assert self.recipe is not None
        recipe = Path(self.recipe).stem if self.is_file else self.recipe
        name = recipe if self.data is None else f"{recipe}-{name_of_set(self.data)}"
        return RUNS / (name if self.lora is None else f"{name}-lora")

    def laid_out(self, own: Layout) -> Layout:
        """Recipe's layout with the options applied."""
        return replace(
            own,
            replicate=own.replicate if self.replicate is None else self.replicate,
            context=own.context if self.context is None else self.context,
            recompute=own.recompute if self.recompute is None else self.recompute,
        )


@taking(Train)
def train(asked: Train) -> None:
    """Run a recipe. The same command again resumes it; under torchrun it uses all processes."""
    from minisora.recipes import RECIPES

    asked.check()
    if asked.recipe is None:
        for name, make in RECIPES.items():
            say(f"{name}  {(make.__doc__ or '').strip().splitlines()[0]}")
        return
    from minisora.runs.estimate import describe
    from minisora.train.loop import run
    from minisora.train.parallel import Layout, joined, main_process_first

    folder = asked.run_folder()
    with joined(asked.laid_out(Layout())) as ranks:
        config = main_process_first(ranks, asked.configured)
        float8 = config.float8 if asked.float8 is None else asked.float8
        config = replace(config, layout=asked.laid_out(config.layout), float8=float8)
        if asked.cooldown_steps is not None:
            config = replace(config, cooldown_steps=asked.cooldown_steps)
        if asked.dry_run:
            say(describe(config))
            return
        make_folder(folder)
        run(config, folder, cool_now=asked.cool_down)
