"""`minisora zoo`: the papers that led to Sora, each trained in minutes on the same toy data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from minisora.cli.console import parse_size, say
from minisora.cli.options import with_home
from minisora.cli.produce import Force
from minisora.errors import UsageError

zoo = typer.Typer(invoke_without_command=True, no_args_is_help=False)

Name = Annotated[str, typer.Argument(help="A paper's name, such as ddpm.")]
Seed = Annotated[int, typer.Option(help="Of the training and of the samples.")]
Factor = Annotated[float, typer.Option("--budget", help="Times the FLOPs of the table: 0.1 is a minute, 4 is forty.")]


@zoo.callback()
def papers(context: typer.Context) -> None:
    """The papers that led to Sora, each trained in minutes on the same toy data."""
    if context.invoked_subcommand is not None:
        return
    from minisora.zoo.frame.entry import FAMILIES
    from minisora.zoo.frame.list import entries

    found = entries()
    for family, title in FAMILIES.items():
        own = [each for each in found if each.family == family]
        if own:
            say(f"\n{title}")
        for each in own:
            say(f"  {each.name:18} {each.paper.year}  {each.new}")
    say("\nminisora zoo show NAME tells more; minisora zoo train NAME trains and measures it.")


@zoo.command()
def show(name: Name) -> None:
    """The page of a paper: what was new, what was made smaller, its figures."""
    from rich.console import Console
    from rich.markdown import Markdown

    from minisora.zoo.frame.list import entry
    from minisora.zoo.frame.pages import page_of

    page, console = page_of(entry(name)), Console()
    console.print(Markdown(page)) if console.is_terminal else say(page)


@zoo.command()
def train(
    name: Annotated[str | None, typer.Argument(help="A paper's name; --all for all.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All papers, one after the other: seven hours.")] = False,
    seed: Seed = 0,
    budget: Factor = 1.0,
) -> None:
    """Train a paper's models and measure its rows. The same command goes on after a stop."""
    from minisora.zoo.frame.entry import TABLE
    from minisora.zoo.frame.list import entries, entry
    from minisora.zoo.frame.results import path_of, result_of

    if every == (name is not None):
        raise UsageError("give a paper's name, or --all. `minisora zoo` lists them.")
    wanted = TABLE.times(budget)
    for each in entries() if name is None else [entry(name)]:
        if each.runs and not each.stages:
            say(f"{each.title} stands in another part of minisora: {each.runs}")
            continue
        result_of(each, seed=seed, budget=wanted, say=say)
        say(f"{path_of(each, seed=seed, budget=wanted)}: the figures of {each.title}")


@zoo.command()
@with_home
def sample(
    name: Name,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A picture; NAME.png.")] = None,
    seed: Seed = 0,
    budget: Factor = 1.0,
    force: Force = False,
) -> None:
    """Sample a trained paper, a line of pictures for each of its ways; trains it if needed."""
    from minisora.video.origin import check_replaceable
    from minisora.video.write import check_writable, write_picture
    from minisora.zoo.frame.entry import TABLE
    from minisora.zoo.frame.list import entry
    from minisora.zoo.frame.results import samples_of

    asked, path = entry(name), out or Path(f"{name}.png")
    if not asked.rows:
        raise UsageError(f"{asked.title} has nothing to sample. `minisora zoo show {name}` tells what it does.")
    check_writable(path)
    check_replaceable([path], force=force)
    write_picture(path, samples_of(asked, seed=seed, budget=TABLE.times(budget)))
    say(f"{path}: {', '.join(row.name for row in asked.rows)}, from top to bottom")


@zoo.command()
@with_home
def picture(
    folder: Annotated[Path, typer.Argument(help="Stable Diffusion 1.x, 2.x or XL, in diffusers' layout.")],
    prompt: Annotated[str, typer.Argument(help="What to show.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="A png.")] = Path("picture.png"),
    size: Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="The model's own if not given.")] = None,
    steps: Annotated[int, typer.Option(help="Of DDIM.")] = 30,
    guidance: Annotated[float, typer.Option(help="1 turns it off.")] = 7.5,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    force: Force = False,
) -> None:
    """A picture by the published weights of Stable Diffusion, whose paper is latent_diffusion."""
    from PIL import Image

    from minisora.video.origin import check_replaceable
    from minisora.video.write import check_writable, write_picture
    from minisora.zoo.nets import stable

    check_writable(out)
    check_replaceable([out], force=force)
    pixels = stable.picture(folder, prompt, size=parse_size(size), steps=steps, guidance=guidance, seed=seed)
    write_picture(out, Image.fromarray(pixels.numpy()))
    say(f"{out}: {prompt}")


@zoo.command()
@with_home
def table(
    folder: Annotated[Path | None, typer.Option(help="Results; those of the package if not given.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A Markdown file; prints it if not given.")] = None,
    tree: Annotated[Path | None, typer.Option(metavar="SVG", help="Write the family tree.")] = None,
    force: Force = False,
) -> None:
    """The table of all papers, from their results with their pictures, and the family tree."""
    from shutil import copyfile

    from minisora.video.files import replacing
    from minisora.video.origin import check_replaceable
    from minisora.zoo.frame import pages
    from minisora.zoo.frame.list import entries
    from minisora.zoo.frame.results import STORED

    found, results = entries(), folder or STORED
    shown = {} if out is None else {out.with_suffix("") / path.name: path for path in results.glob("*-0-row*.png")}
    check_replaceable([*shown, *(path for path in (out, tree) if path is not None)], force=force)
    for copy, picture in shown.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        with replacing(copy) as temporary:
            copyfile(picture, temporary)
    pictures = out.stem if out is not None and out.with_suffix("").is_dir() else ""
    text = pages.table(found, results, pictures)
    if out is None:
        say(text)
    for path, content in ((out, text), (tree, pages.tree(found))):
        if path is not None:
            with replacing(path) as temporary:
                temporary.write_text(content, encoding="utf-8")
            say(f"{path}: {len(found)} papers")
