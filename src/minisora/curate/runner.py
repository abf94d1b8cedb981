"""A curation run: from a recipe to shards, with every clip accounted for.

    OUT/scores/part-*.parquet    scores (measure.py)
    OUT/table.parquet            every clip with its scores, and whether it is kept, or which stage
                                 dropped it and why
    OUT/clips/shard-*.tar        the samples, with their index (write.py)
    OUT/export/...               the kept clips as other systems list them (exporters.py), where the
                                 recipe asks for it
    OUT/missing.jsonl            annotations without a file
    OUT/quarantine.jsonl         rows, files and clips that could not be read, with the error
    OUT/ledger.json              how many went in, came out, and why each left (ledger.py)
    OUT/report.html              the same as a page (report.py)
    OUT/events.jsonl             a log with times, over all runs

Finished work is in whole files, from which the same command resumes, whatever ended the last run.
It measures new files, decides again, and writes the changes. Only events.jsonl depends on time or
workers, so an interrupted run ends with the same bytes as an uninterrupted one.

Here: the order of the work, the lock, the events. Not here: the stages, the processes (workers/),
the terminal (command.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from minisora.curate.captions import CaptionTable, read_captions
from minisora.curate.decide import Decisions, decide
from minisora.curate.exporters import exporter_named
from minisora.curate.importers import importer_named, pair, plain
from minisora.curate.ledger import Ledger, counted, write_ledger
from minisora.curate.measure import NO_SHOT, Measure, measure, measured, pending, units_of
from minisora.curate.recipe import Clips, Recipe, scores_of
from minisora.curate.report import write_report
from minisora.curate.table import SCHEMA, Row, annotation, merged
from minisora.curate.words import WORDS, cleaned, shared_scores, word_scores
from minisora.curate.write import PIECES, Cut, Failure, pieces_of, write_shards
from minisora.errors import UsageError
from minisora.progress import Event, OnEvent, no_listener
from minisora.tables.entry import Skipped
from minisora.video.files import cannot_write, replacing
from minisora.workers.lock import one_run
from minisora.workers.pool import Engine, Pool, Stage

EXPORT_FILES = {"datajuicer": "datajuicer.jsonl", "opensora": "opensora.csv", "fastvideo": "videos2caption.json"}
BROKEN = "broken row"
Log = Callable[..., None]  # a line of events.jsonl


@dataclass(frozen=True, eq=False)
class Found:
    """The input of a recipe: annotations, files and the work to do.

    rows:    annotations with a file, one for each clip
    missing: annotations without a file, each with a `reason`
    skipped: broken and blank entries of the annotations
    joined:  number of further rows about clips that are among `rows`
    units:   units of work to measure them
    todo:    the units that no part holds yet
    """

    rows: list[Row]
    missing: list[Row]
    skipped: Skipped
    joined: int
    units: pa.Table
    todo: pa.Table


def find(recipe: Recipe, *, retry: bool = False) -> Found:
    """Read the annotations and find the files; decodes nothing and writes nothing.

    Raises UsageError if the annotations do not match the recipe, or there are no files.
    """
    media, stage = recipe.input.media, stage_of(recipe)
    if not media.is_dir():
        raise UsageError(f"there is no folder {media}. Give `input: {{media: ...}}` the folder of the videos.")
    importer, pictures = importer_named(recipe.input.importer), recipe.input.pictures
    if importer is plain.folder:
        importer = partial(plain.folder, pictures=pictures)
    skipped = Skipped()
    annotations = skipped.unless_all(importer(recipe.input.annotations or media, skipped))
    rows, missing = pair(annotations, media, pictures=pictures)
    keyed = [{**row, "key": annotation(row["source"], start=row["start"], stop=row["stop"])["key"]} for row in rows]
    once = merged(keyed)  # a file may have a row for each sentence, or be called by two names
    units = units_of(once, stage)
    todo = pending(units, recipe.out / "scores", retry=retry)
    return Found(once, missing, skipped, len(rows) - len(once), units, todo)


def stage_of(recipe: Recipe) -> Measure:
    return Measure(recipe.input.media, recipe.measure, recipe.input.shots, recipe.input.pictures)


def run(recipe: Recipe, engine: Engine, *, on_event: OnEvent = no_listener, retry: bool = False) -> Ledger:
    """Run a recipe, or resume it.

    retry: try quarantined files and clips again

    Raises UsageError for errors that the user can fix, such as another run on the same folder.
    """
    out, stage, names = recipe.out, stage_of(recipe), scores_of(recipe)
    with one_run(out, "or give this recipe another `out`"):
        event = _event_log(out / "events.jsonl")
        table, untold = CaptionTable(), Skipped()
        if recipe.captions.file:
            table = read_captions(recipe.captions.file, untold, strip=recipe.captions.strip)
        found = find(recipe, retry=retry)
        files, new = found.units.num_rows, found.todo.num_rows
        broken_rows = len(found.skipped.broken)
        event("found", rows=len(found.rows), missing=len(found.missing), broken=broken_rows, files=files, new=new)
        _write_lines(out / "missing.jsonl", found.missing)

        def on_file(done: int, total: int, rows: pa.Table) -> None:
            on_event(Event("measuring files", done, total))
            error, message = (rows.column(name)[0].as_py() for name in ("error", "message"))
            outcome = {"error": error, "message": message} if error else {"clips": rows.num_rows}
            event("measured", source=rows.column("source")[0].as_py(), **outcome)

        measure(found.todo, stage, engine, out / "scores", on_file)
        every = measured(found.units, out / "scores", stage.scores)
        broken = pc.is_valid(every.column("error"))
        lost = every.filter(broken).select(["source", "row", "error", "message"]).to_pylist()
        clips = _with_words(every.filter(pc.invert(broken)), found.rows, table, recipe.captions.strip)
        decided = decide(
            clips, recipe.thresholds, need_caption=recipe.captions.required, distance=recipe.duplicates.distance
        )
        event("decided", clips=clips.num_rows, kept=int(decided.keep.sum()))
        _write_table(out / "table.parquet", clips, decided)
        _export(out / "export", clips.filter(pa.array(decided.keep)), recipe.export, names)
        pieces = _pieces(clips.filter(pa.array(decided.keep)), table, recipe.clips, names)

        def on_sample(done: int, total: int, failure: Failure | None) -> None:
            on_event(Event("writing clips", done, total))
            if failure is not None:
                event("not written", key=failure.key, error=failure.reason, message=failure.message)

        failures = write_shards(
            pieces, Cut(recipe.input.media, recipe.clips), engine, out / "clips", on_sample, retry=retry
        )
        quarantine = _broken_rows("annotations", found.skipped) + _broken_rows("captions", untold)
        quarantine += [{"stage": "reading", **row} for row in lost if row["error"] != NO_SHOT]
        quarantine += _not_written(failures, pieces)
        _write_lines(out / "quarantine.jsonl", quarantine)
        ledger = _ledger(found, every, clips, decided, lost, failures, pieces)
        write_ledger(out / "ledger.json", ledger)
        write_report(out / "report.html", recipe, ledger, clips, decided, quarantine, found.missing, engine)
        event("done", kept=ledger.kept, samples=ledger.samples)
        return ledger


def local_engine(workers: int, timeout_seconds: float) -> Engine:
    """An engine that runs stages in processes of this machine."""

    def engine(stage: Stage, rows: pa.Table) -> Iterator[pa.Table]:
        with Pool(stage, workers, timeout_seconds) as pool, closing(pool.run(rows)) as results:
            yield from results

    return engine


def _pieces(kept: pa.Table, table: CaptionTable, settings: Clips, names: Iterable[str]) -> pa.Table:
    """Samples of the kept clips, as PIECES; Python objects would take ten times the memory."""
    batches = []
    for batch in kept.to_batches(max_chunksize=1000):
        rows = []
        for row in batch.to_pylist():
            row["scores"] = {name: row[name] for name in names if row[name] is not None}
            row["notes"] = json.loads(row["notes"])
            rows += pieces_of(row, settings, table)
        batches.append(pa.RecordBatch.from_pylist(rows, schema=PIECES))
    return pa.Table.from_batches(batches, schema=PIECES)


def _with_words(clips: pa.Table, rows: Sequence[Row], table: CaptionTable, strip: bool) -> pa.Table:
    """Add captions and their scores to the clips."""
    by_key = {row["key"]: row for row in rows}
    mine = [by_key[key] for key in clips.column("row").to_pylist()]
    keys = clips.column("key").to_pylist()
    captions = [table.clip(key, cleaned(row["captions"], strip=strip)) for key, row in zip(keys, mine, strict=True)]
    scored: dict[str, list[float]] = {name: [] for name in WORDS}
    for texts in captions:
        for name, value in word_scores(texts).items():
            scored[name].append(value)
    scored["caption_shared"] = shared_scores(captions)
    clips = clips.append_column("captions", pa.array(captions, pa.list_(pa.string())))
    for name in ("origin", "meta"):
        clips = clips.append_column(name, pa.array([row[name] for row in mine], pa.string()))
    for name, values in scored.items():
        clips = clips.append_column(name, pa.array(values, pa.float64()))
    return clips


def _write_table(path: Path, clips: pa.Table, decided: Decisions) -> None:
    """Write table.py's table, with scores, `keep`, `stage`, `reason` and `duplicate_of`."""
    keys = clips.column("key").to_pylist()
    table = clips.select([*SCHEMA.names, *(name for name in clips.column_names if name not in SCHEMA.names)])
    table = table.drop_columns(["work", "row", "error", "message"])
    table = table.append_column("keep", pa.array(decided.keep))
    table = table.append_column("stage", pa.array(decided.stage, pa.string()))
    table = table.append_column("reason", pa.array(decided.reason, pa.string()))
    twins = [keys[twin] if twin >= 0 else None for twin in decided.twin.tolist()]
    table = table.append_column("duplicate_of", pa.array(twins, pa.string()))
    with replacing(path) as temporary:
        pq.write_table(table.replace_schema_metadata(SCHEMA.metadata), temporary, compression="zstd")


def _export(folder: Path, kept: pa.Table, forms: Sequence[str], scores: Iterable[str]) -> None:
    """Write the lists for other systems; delete those that the recipe no longer has."""
    for form, file in EXPORT_FILES.items():
        if form not in forms:
            (folder / file).unlink(missing_ok=True)
    if forms:
        folder.mkdir(exist_ok=True)
    listed = kept.select([*SCHEMA.names, *scores])
    for form in forms:
        rows = (row for batch in listed.to_batches(max_chunksize=1000) for row in batch.to_pylist())
        exporter_named(form)(folder / EXPORT_FILES[form], rows)


def _broken_rows(stage: str, skipped: Skipped) -> list[dict[str, Any]]:
    return [
        {"stage": stage, "source": where, "row": where, "error": BROKEN, "message": reason}
        for where, reason in skipped.broken
    ]


def _not_written(failures: Sequence[Failure], pieces: pa.Table) -> list[dict[str, Any]]:
    sources = dict(zip(pieces.column("key").to_pylist(), pieces.column("source").to_pylist(), strict=True))
    return [
        {
            "stage": "writing",
            "source": sources[failure.key],
            "row": failure.key,
            "error": failure.reason,
            "message": failure.message,
        }
        for failure in failures
    ]


def _ledger(
    found: Found,
    every: pa.Table,
    clips: pa.Table,
    decided: Decisions,
    lost: Sequence[Mapping[str, Any]],
    failures: Sequence[Failure],
    pieces: pa.Table,
) -> Ledger:
    seconds = np.subtract(clips.column("stop").to_numpy(), clips.column("start").to_numpy())
    samples = Counter(key.partition("-")[0] for key in pieces.column("key").to_pylist())
    samples.subtract(failure.key.partition("-")[0] for failure in failures)
    # a clip that became several samples is lost when all of them are
    unwritten = {clip: failure for failure in failures if not samples[clip := failure.key.partition("-")[0]]}
    cut_off = {failure.key for failure in failures}
    seconds_lost = sum(
        num_frames / fps
        for key, num_frames, fps in zip(
            *(pieces.column(n).to_pylist() for n in ("key", "num_frames", "fps")), strict=True
        )
        if key in cut_off
    )
    kept = int(decided.keep.sum()) - len(unwritten)
    dropped = [each for each in zip(decided.stage, decided.reason, strict=True) if each[0]]
    return Ledger(
        rows=len(found.rows) + found.joined + len(found.missing) + len(found.skipped.broken),
        cut=every.num_rows - len(found.rows),
        joined=found.joined,
        missing=len(found.missing),
        quarantined=counted(
            [("annotations", BROKEN)] * len(found.skipped.broken)
            + [("reading", row["error"]) for row in lost if row["error"] != NO_SHOT]
            + [("writing", failure.reason) for failure in unwritten.values()]
        ),
        dropped=counted([("shots", NO_SHOT) for row in lost if row["error"] == NO_SHOT] + dropped),
        kept=kept,
        files=len(set(found.units.column("source").to_pylist())),
        samples=pieces.num_rows - len(failures),
        seconds_in=round(float(seconds.sum()), 3),
        seconds_kept=round(float(seconds[decided.keep].sum()) - seconds_lost, 3),
        blank=found.skipped.blank,
        notes=list(found.skipped.notes),
    )


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with replacing(path) as temporary:
        lines = (json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
        temporary.write_text("".join(lines), encoding="utf-8")


def _event_log(path: Path) -> Log:
    def event(name: str, **facts: Any) -> None:
        line = json.dumps({"time": datetime.now(UTC).isoformat(), "event": name, **facts}, ensure_ascii=False)
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise cannot_write(path, error) from error

    return event
