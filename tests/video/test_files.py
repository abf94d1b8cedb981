"""Files that are there whole or not at all, under any name, and that others may read."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from minisora.errors import UsageError
from minisora.video.files import check_place, delivered, replacing, save_tensors

NAMES = [
    *("18:05.txt", "rtmp:x.txt", "file:a.txt", "-dash.txt", "100%.txt", "%d.txt", "a b.txt", "~.txt", ".txt"),
    *("new\nline.txt", "\x1b[2J.txt", "'\"\\*?.txt", "\udcff\udcfe.txt", "a" * 251 + ".txt", "é" * 125 + ".txt"),
    "a." + "b" * 253,
]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Path, text: str = "whole") -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_file_takes_its_place_only_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(UsageError, match="was not written"), replacing(tmp_path / "no folder" / "b.txt") as temporary:
        temporary.write_text("x")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_what_passes_the_check_is_written(tmp_path, name):
    check_place(tmp_path / name)
    assert names(tmp_path) == []
    write(tmp_path / name)
    assert names(tmp_path) == [name] and (tmp_path / name).read_text() == "whole"
    write(tmp_path / name, "again")
    assert names(tmp_path) == [name] and (tmp_path / name).read_text() == "again"


def test_many_files_of_one_folder_may_be_written_at_once(tmp_path):
    with replacing(tmp_path / "a.txt") as one, replacing(tmp_path / "a.txt") as other:
        one.write_text("one")
        other.write_text("other")
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("folder", "is a folder. Name a file in it"),
        ("missing/a.txt", "there is no folder"),
        ("a" * 256, "the name is too long. Choose a shorter one"),
        ("/".join(["a" * 200] * 30), "the name is too long"),
        ("fifo.txt", "is a device or a pipe. Name a file"),
        ("loop.txt", "a link that leads back to itself"),
        ("dangling/to/missing.txt", "there is no folder"),
        ("to-missing.txt", "there is no folder"),
        ("to-null.txt", "is a device or a pipe"),
        ("read-only.txt", "it is read-only"),
        ("plain.txt/a.txt", "there is no folder"),
    ],
    ids=lambda value: value[:20],
)
def test_what_cannot_be_written_is_refused_by_name(tmp_path, name, says):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo.txt")
    (tmp_path / "loop.txt").symlink_to(tmp_path / "pool.txt")
    (tmp_path / "pool.txt").symlink_to("loop.txt")
    (tmp_path / "to-missing.txt").symlink_to("missing/a.txt")
    (tmp_path / "to-null.txt").symlink_to("/dev/null")
    (tmp_path / "plain.txt").touch()
    (tmp_path / "read-only.txt").touch()
    (tmp_path / "read-only.txt").chmod(0o444)
    before = names(tmp_path)
    with pytest.raises(UsageError, match=says):
        check_place(tmp_path / name)
    assert names(tmp_path) == before
    if "read-only" not in name:  # a rename replaces that
        with pytest.raises(UsageError):
            write(tmp_path / name)
    assert names(tmp_path) == before and stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("address", ["http://a.b/c.mp4", "rtmp://a/c.mp4", "file:///a/c.mp4", "s3://a/c.mp4"])
def test_an_address_is_no_file(address):
    with pytest.raises(UsageError, match=r"is an address\. Name a file on this machine"):
        check_place(Path(address))


def test_a_folder_may_look_like_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("http:").mkdir()
    check_place(Path("http:/a.mp4"))


def test_links_are_written_through(tmp_path):
    (tmp_path / "far").mkdir()
    there, link, chain = tmp_path / "far" / "there.txt", tmp_path / "link.txt", tmp_path / "chain.txt"
    link.symlink_to("far/there.txt")
    chain.symlink_to(link)
    check_place(link)
    write(link, "made")  # what a link leads to need not be there
    assert link.is_symlink() and there.read_text() == "made"
    write(chain, "again")
    assert chain.is_symlink() and link.is_symlink() and there.read_text() == "again"
    assert names(tmp_path / "far") == ["there.txt"]


def test_what_cannot_be_put_in_its_place_is_kept_next_to_it(tmp_path):
    (tmp_path / "a.txt").mkdir()  # since it was checked
    (tmp_path / "a-2.txt").write_text("another's")
    with pytest.raises(UsageError, match=r"a\.txt was not written: .* What was made is kept as .*a-3\.txt\.$"):
        delivered(tmp_path / "a.txt", write, lambda path: [path])
    assert (tmp_path / "a-3.txt").read_text() == "whole" and (tmp_path / "a-2.txt").read_text() == "another's"


def test_without_its_folder_it_is_kept_in_the_systems_own(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with pytest.raises(UsageError, match="kept as") as kept:
        delivered(tmp_path / "gone" / "a.txt", write, lambda path: [path])
    (found,) = (tmp_path / "temporary").rglob("a.txt")
    assert str(kept.value).endswith(f"kept as {found}.") and found.read_text() == "whole"
    shutil.rmtree(tmp_path / "temporary")
    with pytest.raises(UsageError, match=r"a\.txt was not written: No such file or directory\.$"):
        delivered(tmp_path / "gone" / "a.txt", write, lambda path: [path])


def test_weights_have_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    weights = {"a": torch.arange(6.0).view(2, 3).mT}
    save_tensors(weights, tmp_path / "weights.safetensors", metadata={"format": "pt"})
    assert (tmp_path / "weights.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert torch.equal(load_file(tmp_path / "weights.safetensors")["a"], weights["a"])
