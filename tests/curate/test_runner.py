"""Whole runs on small files: every clip in the ledger, and the same bytes whatever happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from random import Random

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import minisora.curate.measure
from minisora.curate.recipe import Captions, Clips, Recipe, read_recipe
from minisora.curate.runner import find
from minisora.data.shards import Shards
from minisora.errors import UsageError
from minisora.video import read_frames
from tests.helpers import films
from tests.helpers.curating import bytes_of, curate, film, moving, recipe, videos

__all__ = ["recipe", "videos"]  # fixtures

ROOT = Path(__file__).parents[2]


def measured_files(folder: Path) -> list[str]:
    lines = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [line["source"] for line in lines if line["event"] == "measured"]


READER = """
class Reader:
    name, columns, reads_captions = "fit", {"fit": "letters of the captions"}, True
    def __call__(self, frames, captions):
        return {"fit": float(len("".join(captions)))}
"""


def test_a_scorer_that_reads_captions_measures_a_file_anew_where_they_changed(recipe, tmp_path, monkeypatch):
    (tmp_path / "reader_of_a_user.py").write_text(READER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    recipe = replace(recipe, measure=replace(recipe.measure, scorers=("reader_of_a_user:Reader",)), thresholds={})
    curate(recipe, workers=1)
    for text in ("", "A field that slides."):
        if text:
            (tmp_path / "videos" / "b_captioned.txt").write_text(text)
            (tmp_path / "out" / "events.jsonl").unlink()
            curate(recipe, workers=1)
            assert measured_files(tmp_path / "out") == ["b_captioned.mp4"]
        rows = pq.read_table(tmp_path / "out" / "table.parquet").to_pylist()
        fits = {row["source"]: row["fit"] for row in rows}
        told = "A field that slides." if text else "The video shows a field that slides to the left."
        assert fits["b_captioned.mp4"] == len(told) and fits["g_last.mp4"] == 0


def test_every_clip_is_kept_or_has_a_reason(recipe):
    ledger = curate(recipe)
    assert (ledger.rows, ledger.cut, ledger.missing, ledger.kept) == (7, 1, 0, 4)
    assert ledger.quarantined == {"reading": {"empty": 1, "unreadable": 1}}
    assert ledger.dropped == {"thresholds": {"motion < 0.0001": 1}, "duplicates": {"near-duplicate": 1}}
    assert json.loads((recipe.out / "ledger.json").read_text())["kept"] == 4
    broken = [json.loads(line) for line in (recipe.out / "quarantine.jsonl").read_text().splitlines()]
    assert [row["source"] for row in broken] == ["e_empty.mp4", "f_text.mp4"]
    table = pq.read_table(recipe.out / "table.parquet").to_pylist()
    again = next(row for row in table if row["source"] == "d_again.mp4")
    assert again["duplicate_of"] == next(row["key"] for row in table if row["source"] == "b_captioned.mp4")
    assert len((recipe.out / "export" / "datajuicer.jsonl").read_text().splitlines()) == 4


def test_samples_hold_what_the_table_says(recipe, tmp_path):
    recipe = replace(recipe, clips=replace(recipe.clips, codec="lossless", fps=None))
    curate(recipe)
    shards = Shards(recipe.out / "clips")
    kept = [row for row in pq.read_table(recipe.out / "table.parquet").to_pylist() if row["keep"]]
    assert shards.keys == [row["key"] for row in kept]
    for number, row in enumerate(kept):
        sample = shards.read(number)
        said = json.loads(sample["json"])
        (tmp_path / "clip.mp4").write_bytes(sample["mp4"])
        frames, fps = read_frames(tmp_path / "clip.mp4")
        assert list(frames.shape) == [said["num_frames"], said["height"], said["width"], 3] == [*frames.shape]
        assert fps == pytest.approx(said["fps"]) and said["width"] == 48 and said["height"] == 32
        assert said["source"] == row["source"] and said["scores"]["motion"] == row["motion"]
        assert shards.columns("num_frames")[number] == len(frames)
    captions = {row["source"]: row["captions"] for row in kept}
    assert captions["b_captioned.mp4"] == ["A field that slides to the left."]
    first, second = (json.loads(shards.read(number)["json"]) for number in range(2))
    assert (first["start"], first["num_frames"]) == (0.0, 48) and second["num_frames"] == 40
    assert second["start"] == pytest.approx(2.0, abs=0.01)


def test_the_same_command_again_does_nothing(recipe):
    curate(recipe)
    before, files = bytes_of(recipe.out), measured_files(recipe.out)
    assert len(files) == 7
    curate(recipe, workers=1)
    assert bytes_of(recipe.out) == before and measured_files(recipe.out) == files


def test_a_changed_threshold_measures_nothing(recipe):
    curate(recipe)
    scores = bytes_of(recipe.out / "scores")
    ledger = curate(replace(recipe, thresholds={"duration": (1.9, None)}, captions=Captions(strip=False)))
    assert len(measured_files(recipe.out)) == 7 and bytes_of(recipe.out / "scores") == scores
    assert ledger.dropped["thresholds"] == {"duration < 1.9": 1} and ledger.kept == 4
    fresh = replace(recipe, thresholds={"duration": (1.9, None)}, captions=Captions(strip=False))
    fresh = replace(fresh, out=recipe.out.parent / "fresh")
    curate(fresh)
    mine, theirs = bytes_of(recipe.out), bytes_of(fresh.out)
    same = [name for name in theirs if name != "report.html"]  # its title is the folder's name
    assert [mine[name] for name in same] == [theirs[name] for name in same] and set(mine) == set(theirs)


def test_only_new_files_are_measured_and_whole_shards_stay(recipe):
    curate(recipe)
    shards = {name: digest for name, digest in bytes_of(recipe.out / "clips").items()}
    film(recipe.input.media / "a_new.mp4", moving(6))
    ledger = curate(recipe)
    assert measured_files(recipe.out)[7:] == ["a_new.mp4"] and ledger.kept == 5
    assert shards.items() <= bytes_of(recipe.out / "clips").items()
    assert len(Shards(recipe.out / "clips")) == 5


def test_what_was_quarantined_is_tried_again_when_asked(recipe):
    curate(recipe)
    curate(recipe, retry=True)
    assert measured_files(recipe.out)[7:] == ["e_empty.mp4", "f_text.mp4"]
    film(recipe.input.media / "e_empty.mp4", moving(7))
    ledger = curate(recipe)
    assert measured_files(recipe.out)[9:] == ["e_empty.mp4"] and ledger.kept == 5


def test_a_second_run_on_one_folder_is_refused(recipe):
    import fcntl

    recipe.out.mkdir()
    with (recipe.out / ".lock").open("w") as lock:
        lock.write("12345\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another run, process 12345, is writing"):
            curate(recipe)
    (recipe.out / ".lock").write_text("12345\n")  # of a run that was killed
    assert find(recipe).todo.num_rows == 7


def test_a_folder_of_broken_files_is_a_report_and_no_error(recipe):
    for path in recipe.input.media.glob("[a-dg]*"):
        path.unlink()
    ledger = curate(recipe)
    assert ledger.kept == 0 and sum(ledger.quarantined["reading"].values()) == ledger.rows == 2
    assert (recipe.out / "report.html").exists() and not list((recipe.out / "clips").glob("*.tar"))


def test_odd_names_and_words_cost_themselves_alone(recipe):
    media = recipe.input.media
    (media / "h_gone.mp4").symlink_to(media / "nothing.mp4")
    odd = os.fsencode(media) + b"/caf\xe9.mp4"
    shutil.copy(media / "g_last.mp4", odd)
    (media / "g_last.txt").mkdir()
    (media / "g_last.json").write_text('{"caption": "a field \\ud83d", "frames": 48, "cut": 2}')
    ledger = curate(recipe)
    assert (ledger.rows, ledger.missing, ledger.kept) == (9, 2, 4)
    lines = (recipe.out / "missing.jsonl").read_text(encoding="utf-8").splitlines()
    reasons = {row["source"]: row["reason"] for row in map(json.loads, lines)}
    assert "a link to nothing" in reasons["h_gone.mp4"] and "not UTF-8" in reasons["caf?.mp4"]
    table = pq.read_table(recipe.out / "table.parquet").to_pylist()
    assert next(row for row in table if row["source"] == "g_last.mp4")["captions"] == ["a field ?"]


def test_newer_tables_are_refused_and_left_alone(recipe):
    curate(recipe)
    part = recipe.out / "scores" / "part-000000.parquet"
    table = pq.read_table(part)
    pq.write_table(table.replace_schema_metadata({"minisora_scores": "99"}), part)
    before = bytes_of(recipe.out)
    with pytest.raises(UsageError, match="format 99, newer than"):
        curate(recipe)
    assert bytes_of(recipe.out) == before


def test_a_long_clip_becomes_several(recipe):
    recipe = replace(recipe, clips=Clips(longest_side=32, seconds=0.75, codec="lossless"), thresholds={})
    ledger = curate(recipe)
    shards = Shards(recipe.out / "clips")
    said = [json.loads(shards.read(number)["json"]) for number in range(len(shards))]
    mine = [each for each in said if each["source"] == "g_last.mp4"]
    assert [each["num_frames"] for each in mine] == [16, 16, 16] and ledger.samples == len(said)
    assert [each["start"] for each in mine] == pytest.approx([0, 16 / 24, 32 / 24])


def captioned(recipe: Recipe, lines: list[dict[str, object]], **clips: object) -> Recipe:
    path = recipe.out.parent / "captions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return replace(recipe, captions=replace(recipe.captions, file=path), clips=replace(recipe.clips, **clips))


def captions_in(recipe: Recipe) -> dict[str, list[str]]:
    shards = Shards(recipe.out / "clips")
    said = {key: json.loads(shards.read(number)["json"])["captions"] for number, key in enumerate(shards.keys)}
    return {key: [one["text"] for one in captions] for key, captions in said.items()}


def test_clips_are_told_anew_and_nothing_is_measured(recipe):
    curate(recipe)
    before = captions_in(recipe)
    first, second, *_ = before
    lines = [{"key": first, "text": "The video shows a kite."}, {"key": second, "text": ["A long kite.", "A kite."]}]
    curate(captioned(recipe, lines))
    assert captions_in(recipe) == before | {first: ["A kite."], second: ["A long kite.", "A kite."]}
    assert len(measured_files(recipe.out)) == 7
    table = {row["key"]: row for row in pq.read_table(recipe.out / "table.parquet").to_pylist()}
    assert table[second]["captions"] == ["A long kite.", "A kite."] and table[second]["caption_count"] == 2


def test_samples_of_one_clip_are_told_one_by_one(recipe):
    divided = replace(recipe, clips=replace(recipe.clips, seconds=1.0))
    curate(divided)
    key = next(key for key in captions_in(divided) if key.endswith("-000")).removesuffix("-000")
    number = Shards(recipe.out / "clips").keys.index(f"{key}-001")
    said = json.loads(Shards(recipe.out / "clips").read(number)["json"])
    span = {"start": said["start"], "stop": said["stop"]}
    moved = captioned(divided, [{"key": f"{key}-001", **span, "text": "It turns."}])
    curate(moved)
    assert captions_in(divided)[f"{key}-000"] == [] and captions_in(divided)[f"{key}-001"] == ["It turns."]
    curate(replace(moved, clips=replace(moved.clips, seconds=None)))
    assert captions_in(divided)[key] == ["It turns."]  # in one piece again, it has those of its parts
    shifted = captioned(divided, [{"key": f"{key}-001", "start": 50.0, "stop": 51.0, "text": "It turns."}])
    curate(shifted)
    assert captions_in(divided)[f"{key}-001"] == []  # what it showed then is another stretch now


@pytest.mark.parametrize("line", ['{"text": "a kite"}', '{"key": "abc", "text": ""}', "no json"])
def test_captions_that_are_none_cost_themselves(recipe, line):
    told = captioned(recipe, [])
    assert told.captions.file is not None
    told.captions.file.write_text(line + "\n")
    with pytest.raises(UsageError, match=r"captions.jsonl:1"):
        curate(told)
    assert not (recipe.out / "scores").exists()
    told.captions.file.write_text('{"key": "abc", "text": "a kite"}\n' + line + "\n")
    assert curate(told).kept == 4
    first = json.loads((recipe.out / "quarantine.jsonl").read_text().splitlines()[0])
    assert (first["stage"], first["row"], first["error"]) == ("captions", "captions.jsonl:2", "broken row")


def test_rows_of_a_table_are_in_the_books(recipe):
    """One video twice, one that is not there, two broken rows, one blank."""
    rows = "g_last.mp4;one\ng_last.mp4;two\nb_captoined.mp4;x\n;\na_two_shots.mp4;a\u2028line\nonly\n;y\n"
    (recipe.input.media / "table.csv").write_text("File;Caption\n" + rows, encoding="utf-8")
    told = replace(recipe, input=replace(recipe.input, importer="table", annotations=recipe.input.media / "table.csv"))
    ledger = curate(told)
    assert (ledger.rows, ledger.cut, ledger.joined, ledger.missing, ledger.kept) == (6, 1, 1, 1, 3)
    assert ledger.quarantined == {"annotations": {"broken row": 2}} and ledger.blank == 1 and not ledger.dropped
    lines = [json.loads(line) for line in (recipe.out / "quarantine.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == ["table.csv:7", "table.csv:8"]
    missing = json.loads((recipe.out / "missing.jsonl").read_text())
    assert missing["reason"].endswith("The nearest name is b_captioned.mp4.")
    captions = {row["source"]: row["captions"] for row in pq.read_table(recipe.out / "table.parquet").to_pylist()}
    assert captions == {"g_last.mp4": ["one", "two"], "a_two_shots.mp4": ["a line"]}
    assert "table.csv:7" in (recipe.out / "report.html").read_text(encoding="utf-8")


def test_files_measured_in_another_order_stay_as_they_are(recipe, monkeypatch):
    """Sets of before numbers were sorted as numbers: 10 came before 9."""
    for number in (9, 10):
        film(recipe.input.media / f"clip{number}.mp4", moving(number))
    monkeypatch.setattr(import_module("minisora.curate.importers.pair"), "natural", lambda name: name)
    curate(recipe)
    before, files = bytes_of(recipe.out), measured_files(recipe.out)
    assert files[2:4] == ["c_still.mp4", "clip10.mp4"] and files[4] == "clip9.mp4"
    monkeypatch.undo()
    curate(recipe)
    assert bytes_of(recipe.out) == before and measured_files(recipe.out) == files
    fresh = replace(recipe, out=recipe.out.parent / "fresh")
    curate(fresh)
    assert measured_files(fresh.out)[3:5] == ["clip9.mp4", "clip10.mp4"]


def test_a_clip_is_lost_when_all_its_samples_are(recipe):
    """One sample of several that cannot be written costs itself."""
    whole = replace(recipe, clips=replace(recipe.clips, seconds=1.0))
    ledger = curate(whole)
    keys = Shards(recipe.out / "clips").keys
    first = next(key for key in keys if key.endswith("-000"))
    made = dict(zip(keys, Shards(recipe.out / "clips").columns("made"), strict=True))[first]
    failed = {"key": first, "made": made, "reason": "crashed", "message": "its process was ended by SIGSEGV"}
    (recipe.out / "clips" / "failed.jsonl").write_text(json.dumps(failed) + "\n")
    after = curate(whole)
    assert (after.kept, after.samples) == (ledger.kept, ledger.samples - 1)
    assert "writing" not in after.quarantined and after.seconds_kept == pytest.approx(ledger.seconds_kept - 1, abs=0.1)
    lines = [json.loads(line) for line in (recipe.out / "quarantine.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines if line["stage"] == "writing"] == [first]


NOISE = """
out: out
input: {media: videos}
duplicates: {distance: null}
clips: {longest_side: 64, codec: lossless, shard_mb: 1}
"""
FILES_OF_A_PART = 3


def noisy(folder: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Recipe, Recipe]:
    """Films that make several parts and shards, as a recipe, and the same with another output."""
    (folder / "videos").mkdir()
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        film(folder / "videos" / f"{seed:02d}.mp4", torch.randint(0, 256, (24, 48, 64, 3), generator=generator).byte())
    (folder / "recipe.yaml").write_text(NOISE)
    monkeypatch.setattr(minisora.curate.measure, "MOST_FILES", FILES_OF_A_PART)
    recipe = read_recipe(folder / "recipe.yaml")
    return recipe, replace(recipe, out=folder / "whole" / "out")


def started(recipe: Recipe) -> subprocess.Popen[bytes]:
    code = (
        "from pathlib import Path; import minisora.curate.measure as m; from minisora.cli.curate import curate; "
        f"m.MOST_FILES = {FILES_OF_A_PART}; "
        f"curate(Path({str(recipe.out.parent / 'recipe.yaml')!r}), 'local', 2, None, False, False)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL)


@pytest.mark.long
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    """Killed once as it measures and once as it writes."""
    recipe, whole = noisy(tmp_path, 8, monkeypatch)
    curate(whole)
    assert len(list((whole.out / "scores").iterdir())) == 3 and len(list((whole.out / "clips").glob("*.tar"))) == 2
    for sign in ("scores/part-000000.parquet", "clips/shard-000000.parquet"):
        process = started(recipe)
        while process.poll() is None and not (recipe.out / sign).exists():
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    curate(recipe)
    assert bytes_of(recipe.out) == bytes_of(whole.out)
    measured = measured_files(recipe.out)
    assert len(measured) <= 8 + 2 * FILES_OF_A_PART, "whole parts are not measured again"


@pytest.mark.long
def test_a_run_killed_at_ten_moments_ends_with_the_same_bytes(tmp_path, monkeypatch):
    """Each run is killed at a random moment, and the next one resumes it.

    The moments lie within the time of an unbroken run.
    """
    recipe, whole = noisy(tmp_path, 24, monkeypatch)
    began = time.monotonic()
    curate(whole)
    lasted, draw, killed = time.monotonic() - began, Random(0), 0
    while killed < 10:
        process = started(recipe)
        try:
            process.wait(draw.uniform(0.1, 1.0) * lasted)
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        if process.wait() == 0:
            assert bytes_of(recipe.out) == bytes_of(whole.out)
            shutil.rmtree(recipe.out)
    curate(recipe)
    assert bytes_of(recipe.out) == bytes_of(whole.out)


@pytest.mark.long
def test_a_thousand_damaged_files_are_all_in_the_books(tmp_path):
    """Bytes changed, cut out, doubled and lost, in five containers.

    Each file is kept, dropped or quarantined.
    """
    (tmp_path / "videos").mkdir()
    written = films.whole_films(tmp_path)
    rng = np.random.default_rng(1)
    for number in range(1000):
        whole = written[number % len(written)]
        (tmp_path / "videos" / f"{number:04d}{whole.suffix}").write_bytes(films.damaged(whole.read_bytes(), rng))
    (tmp_path / "recipe.yaml").write_text(
        "out: out\ninput: {media: videos}\nduplicates: {distance: null}\nrun: {timeout_seconds: 60}\n"
    )
    recipe = read_recipe(tmp_path / "recipe.yaml")
    ledger = curate(recipe)
    assert ledger.rows == ledger.files == 1000 and ledger.missing == ledger.joined == 0
    assert "timeout" not in ledger.quarantined["reading"] and ledger.kept > 0
    table = pq.read_table(recipe.out / "table.parquet").to_pylist()
    broken = [json.loads(line) for line in (recipe.out / "quarantine.jsonl").read_text().splitlines()]
    told = {row["source"] for row in table} | {row["source"] for row in broken}
    events = [json.loads(line) for line in (recipe.out / "events.jsonl").read_text().splitlines()]
    told |= {event["source"] for event in events if event.get("error") == "no_shot"}
    assert len(told) == 1000 and ledger.samples == len(Shards(recipe.out / "clips"))
