"""Commands of the verbs: each verb's fields as arguments and options, then the shared ones.

Here: a command for each verb, and `run` for a saved request. Not here: the verbs
(generate/verbs.py), writing the file (produce.py), other checks before any work (console.py), the
other commands (main.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer

from minisora.cli.console import check_kept, check_outputs, check_zoom
from minisora.cli.lists import ListOptions, PromptList, produce_list
from minisora.cli.options import parameters, with_home
from minisora.cli.produce import Force, ModelOptions, Output, produce
from minisora.errors import UsageError
from minisora.generate.fields import About, FieldError, about
from minisora.generate.media import Stretch, files, is_clip, located
from minisora.generate.request import Request, Sampled
from minisora.generate.verbs import VERBS

KEYWORD = inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True, kw_only=True)
class Span:
    """Options of a verb that takes one clip."""

    start: Annotated[float | None, typer.Option(help="Use the clip from this second on.")] = None
    stop: Annotated[float | None, typer.Option(help="Use the clip up to this second.")] = None


def add_verbs(app: typer.Typer) -> None:
    """Add a command for each verb, and `run` for saved requests."""
    for kind in VERBS.values():
        app.command(kind.name())(with_home(_command(kind)))
    app.command("run")(with_home(run))


def run(
    request: Annotated[Path, typer.Argument(help="A file of --save-request, or a generated video or picture.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="By suffix: mp4, webm, gif, mkv (lossless), png.")],
    media: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of its clips and pictures.")] = Path("."),
    model: Annotated[str | None, typer.Option(help="Instead of the request's own model.")] = None,
    timings: Annotated[bool, typer.Option("--timings", help="Print how long each stage took.")] = False,
    force: Force = False,
) -> None:
    """Run a saved request again: the same frames from the same model."""
    from minisora.generate import saved

    output = Output(out=out, timings=timings, force=force)
    check_outputs(output, [request], moving=False)
    if not media.is_dir():
        raise UsageError(f"--media {media}: there is no such folder.")
    read = saved.read(request)
    wanted = saved.with_media(read.request, media).opened()
    inputs = [request, *files(wanted)]
    check_outputs(output, inputs, moving=wanted.moving)
    check_kept(output, inputs)
    options = ModelOptions(model=model or read.model or "toybox", upscale=read.upscale)
    produce(wanted, options, output, inputs=inputs, digest=None if model else read.digest)


def _command(kind: type[Request]) -> Callable[..., None]:
    """Function for typer to make a command of: the request's fields first."""
    out = Path("out.mp4" if kind.moving else "out.png")
    takes_list = [f.name for f in fields(kind) if not f.kw_only] == ["prompt"]  # type: ignore[arg-type]
    wanted = ((ListOptions, takes_list), (ModelOptions, kind.needs_model), (Output, True))
    parts: list[type[Any]] = [part for part, is_taken in wanted if is_taken]
    described = about(kind)
    names = {name: _parameter_name(name, field) for name, field in described.items() if not field.flag.hidden}
    shared = set(about(Sampled)) if kind.needs_model else set()
    ordered = sorted(names, key=lambda name: name in shared)  # the verb's own first
    clips = [name for name in names if is_clip(described[name].type)]
    own = [_parameter(kind, name, described[name], optional=takes_list) for name in ordered]
    if len(clips) == 1:  # of two clips, FILE@START-STOP says which
        own += parameters(Span)
    common = [each for part in parts for each in parameters(part, out=out)]

    def command(**given: Any) -> None:
        took = {part: part(**{f.name: given.pop(f.name) for f in fields(part)}) for part in parts}
        output, options, listed = took[Output], took.get(ModelOptions), took.get(ListOptions)
        check_zoom(output.zoom)
        values = {name: given[name] for name in names if given[name] not in (None, [])}
        span = given.get("start"), given.get("stop")

        def request(**more: Any) -> Request:
            try:
                if span != (None, None):
                    more[clips[0]] = _stretch(values.get(clips[0]), names[clips[0]], *span)
                return kind(**{**values, **more})
            except FieldError as error:
                raise UsageError(error.labelled(lambda name: names.get(name, name))) from None

        if listed is not None and listed.check(values):
            assert options is not None, kind
            produce_list(PromptList.of(kind, request, listed, output), options, output)
            return
        asked = request()
        inputs = list(files(asked))
        check_outputs(output, inputs, moving=kind.moving)
        asked = asked.opened()
        inputs += files(asked)
        check_kept(output, inputs)
        produce(asked, options, output, inputs=inputs)

    command.__name__, command.__doc__ = kind.name(), kind.__doc__
    command.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    return command


def _stretch(path: Path | None, name: str, start: float | None, stop: float | None) -> Stretch:
    if path is None:
        raise UsageError(f"--start and --stop name a stretch of a clip: give {name} too.")
    if not isinstance(place := located(path), Path):
        raise UsageError(f"{path} names a stretch already: leave out --start and --stop.")
    return Stretch(place, start or 0.0, stop)


def _parameter_name(name: str, field: About) -> str:
    """Name of a field in messages."""
    return field.flag.name or f"--{name.replace('_', '-')}"


def _parameter(kind: type[Request], name: str, field: About, *, optional: bool) -> inspect.Parameter:
    """Typer parameter of a field: an argument if Python takes it by position, else an option.

    optional: an argument may be left out
    """
    found = next(f for f in fields(kind) if f.name == name)  # type: ignore[arg-type]
    read = field.flag.text or _plain(field.type)
    positional, metavar = not found.kw_only, field.flag.metavar or None
    if positional:
        metavar = metavar or (field.flag.name.upper() or None)
        argument = typer.Argument(help=field.help, metavar=metavar)
        if optional:
            return inspect.Parameter(name, KEYWORD, default=None, annotation=Annotated[read | None, argument])
        return inspect.Parameter(name, KEYWORD, annotation=Annotated[read, argument])
    required = found.default is MISSING and found.default_factory is MISSING
    info = typer.Option(_parameter_name(name, field), help=field.help, metavar=metavar)
    if read is bool:
        return inspect.Parameter(name, KEYWORD, default=found.default, annotation=Annotated[bool, info])
    default = inspect.Parameter.empty if required else None if found.default is MISSING else found.default
    return inspect.Parameter(
        name, KEYWORD, default=default, annotation=Annotated[read if required else read | None, info]
    )


def _plain(hint: Any) -> Any:
    """Type that the command line reads: X of `X | None`, without metadata; Path for media."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(each for each in get_args(hint) if each is not NoneType)
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint if hint in (int, float, str, bool) else Path
