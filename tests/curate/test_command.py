"""The command says what there is to do, and refuses what it cannot."""

from __future__ import annotations

import pytest

from minisora.cli.curate import curate
from minisora.errors import UsageError


def run(path, engine="local", workers=None, address=None, dry_run=True) -> None:
    curate(path, engine, workers, address, False, dry_run)


def test_a_dry_run_counts_and_leaves_nothing(tmp_path, capsys):
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "videos" / name).write_bytes(b"not looked into")
    (tmp_path / "table.csv").write_text("path,caption\na.mp4,one\nb.mp4,two\na.mp4,three\nc.mp4,four\n\n,five\n")
    path = tmp_path / "recipe.yaml"
    path.write_text("out: out\ninput: {media: videos, importer: table, annotations: table.csv}\n")
    run(path)
    said = capsys.readouterr()
    assert said.err.splitlines() == ["note: skipped blank rows of the annotations: 1"]
    assert said.out.splitlines() == [
        "2 annotations with a file, 1 without",
        "1 broken rows, such as table.csv:7: expected a path in 'path', found ''. Is it the file that is meant?",
        "2 of 2 files are to be measured; the others have been",
    ]
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_done_is_refused(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("out: out\ninput: {media: nowhere}\n")
    with pytest.raises(UsageError, match=r"there is no folder .*nowhere"):
        run(path)
    with pytest.raises(UsageError, match="--workers 0"):
        run(path, workers=0)
    with pytest.raises(UsageError, match="Add --engine ray"):
        run(path, address="10.0.0.1:6379")
