"""Scores of all files, on disk: a file is analysed again only if it or the analysis changes.

    scores/part-000000.parquet    rows of some files, in the order of the files; written atomically

A part holds a row for each clip: `work` (the key of the work that measured it), `row` (the key of
its annotation), `key` (its own), `source`, `start`, `stop`, the scores, `hashes`, and `notes`
(other findings as JSON). If a file could not be read, or has no shot, every annotation of it is a
row with `error` and `message`.

`work` is a digest of the file (path, size, modification time), its spans, and the analysis: every
score with its version, and the settings. So a new score, built in or not, measures all files again,
for all scores, as one decode yields them all. Captions and thresholds are not in the digest, and a
change of them measures nothing; but if a user's scorer reads captions, a file with changed captions
is measured again.

Here: the stage, its units of work, the parts. Not here: the analysis of one file (analyse.py),
decisions (decide.py).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from minisora.curate.analyse import Analysis, all_scores, analyse, made_by
from minisora.curate.learned import reads_captions
from minisora.curate.table import Row, annotation
from minisora.errors import UsageError
from minisora.video.files import replacing
from minisora.workers.pool import Engine

NO_SHOT = "no_shot"  # the error of a file that was read, and in which there is nothing to keep
_FORMAT = 1  # of the parts; in the key of the work too
_ENDLESS = 1e9  # seconds: a span that holds any file
MOST_FILES, MOST_BYTES = 64, 1 << 30  # of video behind one part: what a kill may cost

UNITS = pa.schema(
    [
        ("work", pa.string()),
        ("source", pa.string()),
        ("rows", pa.list_(pa.string())),  # keys of the annotations
        ("starts", pa.list_(pa.float64())),  # null: the whole file
        ("stops", pa.list_(pa.float64())),
        ("captions", pa.list_(pa.list_(pa.string()))),  # of each annotation; null: no scorer reads them
        ("size_bytes", pa.int64()),
    ]
)


def columns(scores: Iterable[str]) -> pa.Schema:
    """The schema of a part file."""
    return pa.schema(
        [
            *((name, pa.string()) for name in ("work", "row", "key", "source")),
            *((name, pa.float64()) for name in ("start", "stop", *scores)),
            ("hashes", pa.list_(pa.uint64())),
            *((name, pa.string()) for name in ("notes", "error", "message")),
        ],
        metadata={"minisora_scores": str(_FORMAT)},
    )


@dataclass(frozen=True)
class Measure:
    """The stage from files to clips with scores: UNITS in, `columns(scores)` out."""

    media: Path
    settings: Analysis
    shots: bool  # whole files are cut into shots; else each is a clip
    pictures: bool = False  # a file of one frame is a clip; else it is refused

    @property
    def scores(self) -> tuple[str, ...]:
        return tuple(all_scores(self.settings))

    @property
    def reads_captions(self) -> bool:
        return any(map(reads_captions, self.settings.scorers))

    def __call__(self, units: pa.Table, /) -> pa.Table:
        rows = [row for unit in units.to_pylist() for row in self._clips(unit)]
        return pa.Table.from_pylist(rows, schema=columns(self.scores))

    def failed(self, units: pa.Table, reason: str, message: str) -> pa.Table:
        rows = [row for unit in units.to_pylist() for row in _nothing(unit, reason, message)]
        return pa.Table.from_pylist(rows, schema=columns(self.scores))

    def _clips(self, unit: Row) -> list[Row]:
        source, whole = unit["source"], unit["starts"] is None
        spans = [(0.0, _ENDLESS)] if whole else list(zip(unit["starts"], unit["stops"], strict=True))
        asked = None if whole and self.shots else spans
        path, captions = self.media / source, unit["captions"] or ()
        found = analyse(path, asked, self.settings, captions, pictures=self.pictures)
        if not found:
            return _nothing(unit, NO_SHOT, "no shot was found in it")
        if whole and not self.shots:
            found[0] |= {"stop": found[0]["duration"], "missing_share": 0.0}
        rows = []
        for number, clip in enumerate(found):
            key = unit["rows"][0 if whole else number]
            row = {"work": unit["work"], "row": key, "source": source, "start": clip["start"], "stop": clip["stop"]}
            row["key"] = annotation(source, start=clip["start"], stop=clip["stop"])["key"] if whole else key
            if not clip["duration"]:
                where = f"{source} ends before {clip['start']:g} s, where the clip begins"
                rows.append({**row, "start": None, "stop": None, "error": "outside", "message": where})
                continue
            row["stop"] = min(row["stop"], row["start"] + clip["duration"])  # a span may be longer than its file
            row |= {name: _finite(clip.get(name)) for name in self.scores}
            row["hashes"] = clip["hashes"]
            notes = {name: value for name, value in clip.items() if name not in row}
            rows.append({**row, "notes": json.dumps(notes, ensure_ascii=False, sort_keys=True)})
        return rows


def units_of(rows: Sequence[Row], stage: Measure) -> pa.Table:
    """Units of work, in the order of the rows: a file, or a row that covers a whole file."""
    groups: dict[tuple[str, bool], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["source"], row["start"] is None), []).append(row)
    how = {"format": _FORMAT, "shots": stage.shots, "pictures": stage.pictures, **made_by(stage.settings)}
    measure = json.dumps(how, sort_keys=True)
    units = []
    for (source, whole), group in groups.items():
        file = (stage.media / source).stat()
        spans = None if whole else [(row["start"], row["stop"]) for row in group]
        captions = [row["captions"] for row in group] if stage.reads_captions else None
        of = [source, file.st_size, file.st_mtime_ns, spans, captions, measure]
        inputs = json.dumps(of, ensure_ascii=False)
        units.append(
            {
                "work": hashlib.sha256(inputs.encode("utf-8", "surrogatepass")).hexdigest()[:32],
                "source": source,
                "rows": [row["key"] for row in group],
                "starts": None if spans is None else [start for start, _ in spans],
                "stops": None if spans is None else [stop for _, stop in spans],
                "captions": captions,
                "size_bytes": file.st_size,
            }
        )
    return pa.Table.from_pylist(units, schema=UNITS)


def pending(units: pa.Table, folder: Path, *, retry: bool = False) -> pa.Table:
    """The units that no part in the folder holds yet.

    Units to measure again come first, in the order of their last measurement, so that the table and
    the shards keep their order.

    retry: include files that could not be read
    """
    done: set[str] = set()
    places: dict[str, int] = {}  # by annotation, in which row it was measured last
    seen = 0
    for part in _parts(folder):
        table = _read(part, ["work", "row", "error"])
        places.update((key, seen + n) for n, key in enumerate(table.column("row").to_pylist()))
        seen += table.num_rows
        failed = pc.and_(pc.is_valid(table.column("error")), pc.not_equal(table.column("error"), NO_SHOT))
        works = table.filter(pc.invert(pc.fill_null(failed, False))) if retry else table
        done.update(pc.unique(works.column("work")).to_pylist())
    first = [places.get(rows[0], math.inf) for rows in units.column("rows").to_pylist()]
    todo = [n for n, work in enumerate(units.column("work").to_pylist()) if work not in done]
    return units.take(pa.array(sorted(todo, key=first.__getitem__), pa.int64()))


def measure(
    units: pa.Table, stage: Measure, engine: Engine, folder: Path, on_step: Callable[[int, int, pa.Table], None]
) -> None:
    """Run the stage over pending units, and write their parts to the folder one by one.

    on_step: called with the number of files done, the number of all, and the rows of the last one
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = max((int(part.stem.rpartition("-")[2]) + 1 for part in _parts(folder)), default=0)
    results = (piece for table in engine(stage, units) for piece in _by_unit(table))
    done, held = 0, columns(stage.scores)
    for count in _part_sizes(units.column("size_bytes").to_pylist()):
        tables = []
        for table in islice(results, count):
            tables.append(table)
            done += 1
            on_step(done, units.num_rows, table)
        with replacing(folder / f"part-{number:06d}.parquet") as temporary:
            part = pa.concat_tables(tables).select(held.names).cast(held).combine_chunks()
            pq.write_table(part.replace_schema_metadata(held.metadata), temporary, compression="zstd")
        number += 1


def measured(units: pa.Table, folder: Path, scores: Iterable[str]) -> pa.Table:
    """The latest rows of each of these units, in the order of measurement."""
    wanted = columns(scores)
    left = pc.unique(units.column("work"))
    tables = []
    for part in reversed(_parts(folder)):
        table = _read(part)
        table = table.filter(pc.is_in(table.column("work"), left))
        if table.num_rows:  # parts of another measure may have other columns
            tables.append(table.select(wanted.names).cast(wanted))
            left = left.filter(pc.invert(pc.is_in(left, pc.unique(table.column("work")))))
    return pa.concat_tables([wanted.empty_table(), *reversed(tables)]).combine_chunks()


def _part_sizes(sizes_bytes: Sequence[int]) -> list[int]:
    """Number of units in each part, by the units alone: a resumed run writes the same parts."""
    counts, held_bytes = [0], 0
    for size_bytes in sizes_bytes:
        if counts[-1] and (counts[-1] == MOST_FILES or held_bytes + size_bytes > MOST_BYTES):
            counts.append(0)
            held_bytes = 0
        counts[-1] += 1
        held_bytes += size_bytes
    return [count for count in counts if count]


def _by_unit(table: pa.Table) -> list[pa.Table]:
    works = table.column("work").to_pylist()
    starts = [i for i, work in enumerate(works) if i == 0 or work != works[i - 1]]
    return [table.slice(i, end - i) for i, end in zip(starts, [*starts[1:], len(works)], strict=True)]


def _nothing(unit: Row, reason: str, message: str) -> list[Row]:
    """Error rows for the annotations of a file that could not be measured."""
    same = {"work": unit["work"], "source": unit["source"], "error": reason, "message": message}
    return [{**same, "row": key, "key": key} for key in unit["rows"]]


def _finite(value: object) -> float | None:
    number = float(value) if isinstance(value, int | float) else math.nan
    return number if math.isfinite(number) else None


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-" + "[0-9]" * 6 + ".parquet"))


def _read(part: Path, names: list[str] | None = None) -> pa.Table:
    try:
        table = pq.read_table(part, columns=names)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{part} is not a readable table of scores: {error}. Remove it to measure again.") from error
    version = (table.schema.metadata or {}).get(b"minisora_scores", b"")
    if not version.isdigit():
        raise UsageError(f"{part} is not a table of scores. Remove it from the folder.")
    if int(version) > _FORMAT:
        raise UsageError(
            f"{part} has format {int(version)}, newer than {_FORMAT}, the newest known here. Update minisora."
        )
    return table
