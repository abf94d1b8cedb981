import hashlib
import io
import lzma
import tarfile

import pytest

from minisora.errors import UsageError
from minisora.worlds import fetch as fetch_module
from minisora.worlds.fetch import Asset, cache_folder, fetch, members


def _tar(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


FILES = {"package/LICENSE": b"do what you like", "package/a.webp": b"pixels"}


def _asset(data):
    return Asset(
        registry="npm",
        name="toys",
        version="1.0.0",
        file="toys-1.0.0.tgz",
        sha256=hashlib.sha256(data).hexdigest(),
        licence="MIT",
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MINISORA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def npm(monkeypatch):
    """Stands for the client: writes what it is told to, and counts its calls."""

    class Npm:
        data, calls = _tar(FILES), 0

        def __call__(self, asset, folder, command):
            assert command == ["npm", "pack", "toys@1.0.0", "--silent"]
            self.calls += 1
            (folder / asset.file).write_bytes(self.data)

    client = Npm()
    monkeypatch.setattr(fetch_module, "_run", client)
    return client


def test_a_file_is_fetched_once_and_its_licence_lies_beside_it(cache, npm):
    assert cache_folder() == cache
    path = fetch(_asset(npm.data))
    assert fetch(_asset(npm.data)) == path
    assert npm.calls == 1
    assert path.read_bytes() == npm.data
    assert "do what you like" in path.with_name(path.name + ".licence.txt").read_text()


def test_another_file_than_the_one_asked_for_is_refused_and_not_kept(cache, npm):
    asset, npm.data = _asset(npm.data), npm.data + b"!"
    with pytest.raises(UsageError, match="SHA-256"):
        fetch(asset)
    assert list((cache / "assets").iterdir()) == []


def test_no_client_says_what_to_do(cache, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=r"no `npm` here\. Install it, or put the file toys-1\.0\.0\.tgz into"):
        fetch(_asset(b""))


@pytest.mark.parametrize("name", ["p.tgz", "p.tar.xz", "p.deb"])
def test_members_reads_every_kind_of_package(tmp_path, name):
    tar = _tar(FILES)
    if name.endswith(".deb"):  # deb(5): an ar archive; the first part has an odd size, so it is padded
        data, parts = b"!<arch>\n", {"debian-binary": b"2.0", "data.tar.xz": lzma.compress(tar)}
        for part, content in parts.items():
            data += f"{part:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
            data += content + b"\n" * (len(content) % 2)
    else:
        data = lzma.compress(tar) if name.endswith("xz") else tar
    (tmp_path / name).write_bytes(data)
    assert dict(members(tmp_path / name, lambda name: name.endswith("webp"))) == {"package/a.webp": b"pixels"}
