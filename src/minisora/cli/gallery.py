"""`minisora gallery FOLDER -o site/`: a static page of the videos and pictures of a folder.

The site is a folder of plain files for any web server: index.html without scripts, copies of the
files, and a first frame of each video. Prompts and settings are those of the files' own metadata.

Here: the command, and the values of the page. Not here: the page (pages/templates/gallery.html),
what files carry of their request (generate/saved.py).
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from minisora.cli.console import make_folder, say
from minisora.cli.produce import Force
from minisora.errors import UsageError
from minisora.folders import PICTURES, VIDEOS, is_hidden, natural

PAGE, MEDIA, POSTERS = "index.html", "media", "posters"
SHOWN = (".mp4", ".m4v", ".webm", ".mov", ".ogv", ".gif", ".png", ".jpg", ".jpeg", ".webp")  # what browsers show
PICTURE = (*PICTURES, ".gif")
SETTINGS = ("seed", "steps", "guidance", "strength", "seconds")  # that are told, if the request says them


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file on the page.

    address, poster: relative, as in a link
    about:           verb, model and settings
    """

    name: str
    address: str
    poster: str | None
    width: int
    height: int
    prompt: str
    about: str


def gallery(
    folder: Annotated[Path, typer.Argument(help="A folder of videos and pictures.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="SITE", help="Folder for the page.")],
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Made with minisora",
    force: Force = False,
) -> None:
    """Make a static page of the videos in a folder, with their prompts, for any web server."""
    from minisora import pages
    from minisora.video.origin import check_replaceable, identity

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder. Name one that holds videos.")
    found = [path for path in sorted(folder.iterdir(), key=natural) if path.is_file() and not is_hidden(path.name)]
    shown = [path for path in found if path.suffix.lower() in SHOWN]
    if not shown:
        raise UsageError(f"{folder} holds no videos or pictures that browsers show: {', '.join(SHOWN)}.")
    if identity(folder) in (identity(out), identity(out / MEDIA), identity(out / POSTERS)):
        raise UsageError(f"{out} is the folder of the videos. Name another for the page, such as -o site.")
    check_replaceable([out / PAGE], force=force)
    for part in (out, out / MEDIA, out / POSTERS):
        make_folder(part)
    entries, problems = list[Entry](), list[str]()
    for path in shown:
        try:
            entries.append(_entry(path, out))
        except UsageError as error:
            problems.append(str(error))
    if not entries:
        raise UsageError(f"no file of {folder} can be read: {problems[0]}")
    pages.write_page(out / PAGE, "gallery.html", page_title=title, entries=entries)
    left = [path.name for path in found if path.suffix.lower() in VIDEOS and path not in shown]
    if left:
        problems.append(f"browsers do not show {', '.join(left)}: convert them to mp4 first")
    for problem in problems:
        say(f"note: left out: {problem}", err=True)
    say(f"{out / PAGE} shows {len(entries)} of {len(found)} files")


def _entry(path: Path, out: Path) -> Entry:
    """Copy a file into the site. Raises UsageError for one that cannot be read or copied."""
    from minisora.video import probe

    found, is_moving, poster = probe(path), path.suffix.lower() not in PICTURE, None
    try:
        shutil.copyfile(path, out / MEDIA / path.name)
        if is_moving:
            poster = f"{path.name}.jpg"
            (out / POSTERS / poster).write_bytes(_first_frame(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be copied to {out}: {error.strerror}.") from None
    request = _request(path)
    return Entry(
        name=path.name,
        address=f"{MEDIA}/{quote(path.name)}",
        poster=None if poster is None else f"{POSTERS}/{quote(poster)}",
        width=found.width,
        height=found.height,
        prompt=_prompt(request.get("request", {})),
        about=", ".join(_about(request)),
    )


def _first_frame(path: Path) -> bytes:
    from PIL import Image

    from minisora.video.decode import decode

    with closing(decode(path, 0.0, "white")) as shown:
        pixels = next(shown).pixels()
    jpeg = io.BytesIO()
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=88)
    return jpeg.getvalue()


def _request(path: Path) -> Mapping[str, Any]:
    """What a file says of how it was made; nothing if minisora did not make it."""
    from minisora.video.read import read_comment

    try:
        found = json.loads(read_comment(path))
    except (UsageError, ValueError, RecursionError):
        return {}
    is_ours = isinstance(found, dict) and isinstance(found.get("request"), dict) and "minisora" in found
    return found if is_ours else {}


def _prompt(request: Mapping[str, Any]) -> str:
    """Prompt of a request; of a storyboard, those of its shots."""
    if isinstance(prompt := request.get("prompt"), str):
        return prompt
    board = request.get("board")
    shots = board.get("shots", ()) if isinstance(board, Mapping) else ()
    return " | ".join(str(shot.get("prompt", "")) for shot in shots if isinstance(shot, Mapping))


def _about(found: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(verb := found.get("verb"), str):
        yield verb
    model = found.get("model")
    if isinstance(model, Mapping) and isinstance(model.get("name"), str):
        yield model["name"]
    for name in SETTINGS:
        value = found.get("request", {}).get(name)
        if isinstance(value, int | float):
            yield f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
