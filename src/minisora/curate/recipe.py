"""A curation recipe: the YAML file that sets input, measurements, thresholds and output.

    input:        paths of the videos and their annotations
    measure:      settings of the analysis; a change here measures again
    thresholds:   score: [least, most], null for an open end; the first that fails is the reason
    captions:     rules for captions, and whether a clip must have one
    duplicates:   distance below which clips are near-duplicates
    clips:        size, fps, length and codec of the kept clips
    export:       formats of other systems in which the kept clips are also listed
    run:          processes and time limits; nothing here changes the output

Paths are relative to the folder of the recipe. The fields of a section are those of the dataclass
of its name, here and in analyse.py, with its defaults.

Here: parsing the file into a `Recipe`, each error with its line. Not here: the work of the sections
(measure.py, decide.py, write.py).
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from minisora.curate.analyse import Analysis, all_scores
from minisora.curate.decide import Limits
from minisora.curate.exporters import EXPORTERS
from minisora.curate.importers import IMPORTERS
from minisora.curate.words import WORDS
from minisora.errors import UsageError
from minisora.outside import as_path

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Input:
    """Videos, and the annotations with their captions and spans."""

    media: Path  # the folder of the videos
    importer: str = "folder"  # one of IMPORTERS: the layout of the annotations
    annotations: Path | None = None  # the file or folder that the importer reads; None: `media`
    shots: bool = True  # files without a span are cut into shots; false: each is a clip
    pictures: bool = False  # files of single pictures are taken too, each a clip of one frame


@dataclass(frozen=True, kw_only=True)
class Captions:
    """Rules for captions. Scores of captions are set under `thresholds`, like all others."""

    required: bool = False  # a clip without a caption is dropped
    strip: bool = True  # remove openings such as "The video shows"
    file: Path | None = None  # captions by key, as from `minisora caption OUT`, that replace the annotations' own


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Near-duplicates: all but the first are dropped."""

    distance: int | None = 6  # bits of 64 in which two hashes may differ; null keeps all


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Format of the kept clips.

    Frames are never enlarged and keep their aspect ratio, up to the crop by `multiple`.
    """

    longest_side: int = 256  # pixels, at most
    multiple: int = 16  # both sides are multiples of this many pixels, cut from the middle
    fps: float | None = None  # frames per second; null keeps the rate of the file
    seconds: float | None = None  # at most; a longer clip becomes several of equal length
    codec: Literal["h264", "lossless"] = "h264"  # lossless: every pixel exact, several times the size
    crf: int = 17  # quality of h264, 0 the best, 51 the worst
    shard_mb: int = 256  # a shard is closed before it grows beyond this


@dataclass(frozen=True, kw_only=True)
class Run:
    """Processes and time limits."""

    timeout_seconds: float = 600.0  # for a clip, and for each 256 MB of a file; then it is quarantined


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole recipe, one field for each section."""

    out: Path  # folder of all output
    input: Input
    measure: Analysis = field(default_factory=Analysis)
    thresholds: dict[str, Limits] = field(default_factory=dict)
    captions: Captions = field(default_factory=Captions)
    duplicates: Duplicates = field(default_factory=Duplicates)
    clips: Clips = field(default_factory=Clips)
    export: tuple[str, ...] = ()  # of EXPORTERS
    run: Run = field(default_factory=Run)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises UsageError, with file and line, if it is missing, not YAML, or has unknown fields.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the recipe {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark is not None else str(path)
        raise UsageError(f"{where}: this is not YAML: {getattr(error, 'problem', None) or error}.") from None
    if node is None:
        raise UsageError(f"{path} is empty. Say at least `out:` and `input: {{media: FOLDER}}`.")
    reader = _Reader(path, loader)
    recipe = reader.section(Recipe, node, "the recipe")
    _check(reader, recipe, node)
    return recipe


class _Reader:
    """Nodes of one file to values of a stated type."""

    def __init__(self, path: Path, loader: yaml.SafeLoader) -> None:
        self._path, self._loader = path, loader

    def wrong(self, node: yaml.Node, what: str) -> UsageError:
        return UsageError(f"{self._path}, line {node.start_mark.line + 1}: {what}")

    def pairs(self, node: yaml.Node, where: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key node and value node by the text of the key."""
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(node, f"{where} must be `name: value` lines.")
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in found:
                raise self.wrong(key, f"{name!r} occurs twice in {where}. Keep one.")
            found[name] = key, value
        return found

    def section(self, kind: type[T], node: yaml.Node, where: str) -> T:
        """Parse a section into the dataclass `kind`."""
        assert is_dataclass(kind)
        types_of = get_type_hints(kind)
        sections = self.pairs(node, where)
        for name, (key, _) in sections.items():
            if name not in types_of:
                kind_of = "stage" if where == "the recipe" else "field"
                raise self.wrong(key, f"{where} has no {kind_of} {name!r}. {nearest(name, types_of)}")
        for needed in fields(kind):
            if needed.name not in sections and needed.default is MISSING and needed.default_factory is MISSING:
                raise self.wrong(node, f"{where} must say `{needed.name}:`.")
        values = {name: self.value(types_of[name], value, name) for name, (_, value) in sections.items()}
        try:
            return kind(**values)
        except UsageError as error:
            raise self.wrong(node, str(error)) from None

    def value(self, kind: Any, node: yaml.Node, name: str) -> Any:
        if is_dataclass(kind):
            empty = isinstance(node, yaml.ScalarNode) and self._plain(node) is None
            return kind() if empty else self.section(kind, node, f"`{name}`")  # type: ignore[arg-type, operator]
        origin = get_origin(kind)
        if origin in (Union, types.UnionType):
            optional = type(None) in get_args(kind)
            if isinstance(node, yaml.ScalarNode) and self._plain(node) is None and optional:
                return None
            inner = [each for each in get_args(kind) if each is not type(None)]
            assert len(inner) == 1, f"{name}: {kind}"
            return self.value(inner[0], node, name)
        if kind == dict[str, Limits]:
            empty = isinstance(node, yaml.ScalarNode) and self._plain(node) is None
            pairs = {} if empty else self.pairs(node, f"`{name}`")
            return {score: self.limits(value, score) for score, (_, value) in pairs.items()}
        plain = self._plain(node)
        if origin is Literal:
            if plain not in get_args(kind):
                choices = ", ".join(map(str, get_args(kind)))
                raise self.wrong(node, f"`{name}` is {plain!r}. Choose one of: {choices}.")
            return plain
        if origin is tuple:
            each, _ = get_args(kind)
            if not isinstance(node, yaml.SequenceNode):
                raise self.wrong(node, f"`{name}` must be a list, such as [a, b].")
            return tuple(self.value(each, item, name) for item in node.value)
        if kind is Path and isinstance(plain, str):
            return as_path(plain, self._path.parent)
        if kind is float and (number := _number(plain)) is not None:
            return number
        if kind in (int, bool, str) and type(plain) is kind:
            return plain
        wanted = {Path: "a path", float: "a number", int: "a whole number", bool: "true or false", str: "text"}[kind]
        raise self.wrong(node, f"`{name}` is {_shown(plain)}, and must be {wanted}.")

    def limits(self, node: yaml.Node, score: str) -> Limits:
        if not isinstance(node, yaml.SequenceNode) or len(node.value) != 2:
            raise self.wrong(node, f"the threshold of {score} must be [least, most], with null for no end.")
        ends = [self._plain(end) for end in node.value]
        numbers = [None if end is None else _number(end) for end in ends]
        if any(number is None and end is not None for number, end in zip(numbers, ends, strict=True)):
            raise self.wrong(node, f"the threshold of {score} is {ends}, and must be two numbers, or null for no end.")
        least, most = numbers
        if least is not None and most is not None and least > most:
            raise self.wrong(node, f"the threshold of {score} is {ends}: nothing is both. Write the lower end first.")
        return least, most

    def _plain(self, node: yaml.Node) -> Any:
        try:
            return self._loader.construct_object(node, deep=True)
        except yaml.YAMLError as error:  # a tag, an impossible date
            raise self.wrong(node, f"this value cannot be read: {error}.") from None
        except ValueError as error:
            raise self.wrong(node, f"this value cannot be read: {error}.") from None


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that suggests the most similar known name, or else lists all of them."""
    known = list(known)
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."


def scores_of(recipe: Recipe) -> dict[str, str]:
    """Every score that a threshold may name, with its description."""
    return {**all_scores(recipe.measure), **WORDS}


def _check(reader: _Reader, recipe: Recipe, node: yaml.Node) -> None:
    """Check the constraints that types do not express."""

    def at(*names: str) -> yaml.Node:
        found = node
        for name in names:
            pairs = reader.pairs(found, "")
            if name not in pairs:
                return found
            found = pairs[name][1]
        return found

    try:
        known = scores_of(recipe)
    except UsageError as error:
        raise reader.wrong(at("measure", "scorers"), str(error)) from None
    for score in recipe.thresholds:
        if score not in known:
            key = reader.pairs(at("thresholds"), "")[score][0]
            raise reader.wrong(key, f"no stage computes a score {score!r}. {nearest(score, known)}")
    if recipe.input.importer not in IMPORTERS:
        where = at("input", "importer")
        name = recipe.input.importer
        raise reader.wrong(where, f"there is no importer {name!r}. {nearest(name, IMPORTERS)}")
    for name in recipe.export:
        if name not in EXPORTERS:
            raise reader.wrong(at("export"), f"there is no export {name!r}. {nearest(name, EXPORTERS)}")
    clips = recipe.clips
    for wrong, name, advice in (
        (clips.multiple < 2 or clips.multiple % 2 > 0, "multiple", "Give an even number of pixels, 2 or more."),
        (clips.longest_side < clips.multiple, "longest_side", f"Give {clips.multiple} or more, the `multiple`."),
        (clips.fps is not None and not 0 < clips.fps <= 1000, "fps", "Give a rate above 0, at most 1000, or null."),
        (clips.seconds is not None and clips.seconds <= 0, "seconds", "Give a length above 0, or null."),
        (not 0 <= clips.crf <= 51, "crf", "Give 0, the best, to 51, the worst."),
        (clips.shard_mb < 1, "shard_mb", "Give 1 or more."),
    ):
        if wrong:
            raise reader.wrong(at("clips", name), f"`{name}` is {getattr(clips, name)}. {advice}")
    if recipe.run.timeout_seconds <= 0:
        raise reader.wrong(at("run", "timeout_seconds"), "`timeout_seconds` must be above 0.")
    if recipe.duplicates.distance is not None and not 0 <= recipe.duplicates.distance <= 16:
        raise reader.wrong(at("duplicates", "distance"), "`distance` must be 0 to 16 of 64 bits, or null.")


def _number(plain: Any) -> float | None:
    """A number, or a text such as 1e-3, which YAML does not read as one."""
    if isinstance(plain, bool) or not isinstance(plain, int | float | str):
        return None
    try:
        number = float(plain)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _shown(plain: Any) -> str:
    return "empty" if plain is None else repr(plain)
