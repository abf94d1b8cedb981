"""One run in a folder at a time."""

from __future__ import annotations

from minisora.video.files import replacing
from minisora.workers.lock import one_run


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    (tmp_path / "inner").mkdir()
    left = []
    for folder in (tmp_path, tmp_path / "inner"):
        with replacing(folder / "a.parquet") as temporary:
            temporary.write_bytes(b"whole")
        temporary.write_bytes(b"half")  # as SIGKILL leaves it
        left.append(temporary)
        (folder / ".mine.part").write_bytes(b"a user's own")
    with one_run(tmp_path, "or wait"):
        pass
    for folder, temporary in zip((tmp_path, tmp_path / "inner"), left, strict=True):
        assert not temporary.exists()
        assert (folder / ".mine.part").exists() and (folder / "a.parquet").read_bytes() == b"whole"
