"""What is measured again: the key of the work holds all that its bytes depend on."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minisora.curate import measure
from minisora.curate.analyse import Analysis, Cutting, made_by
from minisora.curate.ledger import Ledger
from minisora.curate.lost import MediaError
from minisora.curate.recipe import Recipe, read_recipe
from minisora.curate.runner import find, run
from minisora.curate.scores import SCORES, Scored
from minisora.workers.pool import Stage
from tests.helpers import films
from tests.helpers.curating import bytes_of

RECIPE = "out: out\ninput: {media: videos}\nduplicates: {distance: null}\nclips: {longest_side: 32, codec: lossless}\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Four films, one of two shots and one that is none."""
    (tmp_path / "videos").mkdir()
    for seed, name in enumerate("bcd"):
        films.write(tmp_path / "videos" / f"{name}.mp4", films.pan(seed, 16, 48, 64))
    films.write(tmp_path / "videos" / "e.mp4", films.cut_film([24, 24], 48, 64))
    (tmp_path / "videos" / "f.mp4").write_bytes(b"")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return read_recipe(tmp_path / "recipe.yaml")


def curate(recipe: Recipe, most: float = float("inf")) -> tuple[list[str], Ledger]:
    """A run in this process. Returns the files that it measured.

    most: files; then it is interrupted
    """
    files: list[str] = []

    def engine(stage: Stage, rows: pa.Table) -> Iterator[pa.Table]:
        for number in range(rows.num_rows):
            row = rows.slice(number, 1)
            if isinstance(stage, measure.Measure):
                if len(files) >= most:
                    raise KeyboardInterrupt
                files.append(row.column("source")[0].as_py())
            try:
                yield stage(row)
            except MediaError as error:
                yield stage.failed(row, error.reason, str(error))

    ledger = run(recipe, engine)
    return files, ledger


ALL = ["b.mp4", "c.mp4", "d.mp4", "e.mp4", "f.mp4"]


def with_score(monkeypatch: pytest.MonkeyPatch, name: str, value: Callable[[dict[str, Any]], float]) -> None:
    """A built-in score more: a line in the table, and its value from those that are there."""
    scores = Scored.scores

    def more(self: Scored, span: tuple[float, float]) -> dict[str, Any]:
        found = scores(self, span)
        return found | {name: value(found)}

    monkeypatch.setitem(SCORES, name, (1, "a score that was not there before"))
    monkeypatch.setattr(Scored, "scores", more)


def table(recipe: Recipe) -> pa.Table:
    return pq.read_table(recipe.out / "table.parquet")


def outputs(recipe: Recipe) -> dict[str, str]:
    return {name: digest for name, digest in bytes_of(recipe.out).items() if not name.startswith("scores/")}


def test_a_built_in_score_that_is_added_is_there_for_all_clips(recipe, monkeypatch):
    assert curate(recipe)[0] == ALL
    before = table(recipe)
    with_score(monkeypatch, "pixels", lambda found: found["height"] * found["width"])
    assert find(recipe).todo.num_rows == 5
    files, ledger = curate(recipe)
    assert files == ALL and ledger.kept == before.num_rows == 5
    after = table(recipe)
    assert after.column("pixels").to_pylist() == [48 * 64] * 5
    assert after.drop_columns("pixels").equals(before)
    assert curate(recipe)[0] == []
    assert curate(replace(recipe, thresholds={"pixels": (4000, None)}))[1].dropped == {
        "thresholds": {"pixels < 4000": 5}
    }


def test_nothing_is_measured_again_where_nothing_changed(recipe):
    curate(recipe)
    before = bytes_of(recipe.out)
    assert curate(recipe)[0] == [] and bytes_of(recipe.out) == before
    same = replace(recipe.measure, threads=2, timeout_seconds=50.0, transnet_threshold=0.3)
    assert curate(replace(recipe, measure=same))[0] == [] and bytes_of(recipe.out) == before


@pytest.mark.parametrize(
    "change",
    [{"flow_above": 0.01}, {"samples_per_second": 8.0}, {"cutting": Cutting(content=20.0)}],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_option_measures_again(recipe, change):
    curate(recipe)
    other = replace(recipe, measure=replace(recipe.measure, **change))
    assert curate(other)[0] == ALL
    assert curate(recipe)[0] == [] and curate(other)[0] == []  # both are kept


def test_a_score_of_another_version_measures_again(recipe, monkeypatch):
    curate(recipe)
    monkeypatch.setitem(SCORES, "sharpness", (SCORES["sharpness"][0] + 1, SCORES["sharpness"][1]))
    assert curate(recipe)[0] == ALL


def test_an_interrupted_run_goes_on_with_the_new_score(recipe, monkeypatch):
    """Interrupted after the first part, of two files: it stays, and the result is the same."""
    monkeypatch.setattr(measure, "MOST_FILES", 2)
    curate(recipe)
    with_score(monkeypatch, "pixels", lambda found: found["height"] * found["width"])
    with pytest.raises(KeyboardInterrupt):
        curate(recipe, most=3)
    assert "pixels" not in table(recipe).column_names  # what the run before left, whole
    assert curate(recipe)[0] == ALL[2:]
    fresh = replace(recipe, out=recipe.out.parent / "fresh" / "out")
    curate(fresh)
    assert outputs(recipe) == outputs(fresh)


def test_parts_of_an_older_key_are_measured_again_in_their_order(recipe):
    """A grown set has its clips in the order in which they came; measured again, the same bytes."""
    curate(recipe)
    films.write(recipe.input.media / "a.mp4", films.pan(7, 16, 48, 64))
    assert curate(recipe)[0] == ["a.mp4"]
    before = outputs(recipe)
    for part in (recipe.out / "scores").iterdir():
        old = pq.read_table(part)
        works = pa.array(f"old {work}" for work in old.column("work").to_pylist())
        pq.write_table(old.set_column(0, "work", works), part)
    assert curate(recipe)[0] == [*ALL, "a.mp4"]
    assert outputs(recipe) == before


SCORER = """
class First:
    name, columns, version = "first", {"red": "mean red"}, "of Monday"
    def __call__(self, frames):
        return {"red": float(frames[..., 0].mean())}

class Second(First):
    version = "of Tuesday"

class Other(First):
    pass
"""


def test_a_scorer_is_known_by_its_name_and_its_version(tmp_path, monkeypatch):
    (tmp_path / "scorers_of_a_user.py").write_text(SCORER)
    monkeypatch.syspath_prepend(str(tmp_path))
    keys = [made_by(Analysis(scorers=(f"scorers_of_a_user:{name}",))) for name in ("First", "Second", "Other")]
    assert all(keys[a] != keys[b] for a, b in ((0, 1), (0, 2), (1, 2)))
    assert "of Tuesday" in keys[1]["versions"]["red"]
    first, text = "scorers_of_a_user:First", "text"
    assert made_by(Analysis(scorers=(first, text))) == made_by(Analysis(scorers=(text, first)))


@pytest.mark.parametrize("how", [{"scorers": ("nsfw",)}, {"scorers": ("text",)}, {"detector": "transnet"}], ids=str)
def test_weights_that_come_with_a_package_are_known_by_its_version(monkeypatch, how):
    """None of them has to be installed to be asked."""
    keys = []
    for version in ("1.0", "2.0"):
        monkeypatch.setattr(importlib.metadata, "version", lambda package, told=version: told)
        keys.append((made_by(Analysis()), made_by(Analysis(**how))))
    (plain, first), (again, second) = keys
    assert plain == again and first != second and plain != first


def test_transnet_is_told_its_own_threshold():
    adaptive = [made_by(Analysis(cutting=Cutting(ratio=ratio))) for ratio in (3.0, 4.0)]
    network = [made_by(Analysis(detector="transnet", cutting=Cutting(ratio=ratio))) for ratio in (3.0, 4.0)]
    assert adaptive[0] != adaptive[1] and network[0] == network[1]
    assert made_by(Analysis(detector="transnet", transnet_threshold=0.3)) != network[0]
