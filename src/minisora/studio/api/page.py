"""GET / and /page/...: the studio's page, as it lies in the package.

The addresses of its files hold a digest of all of them, `/page/DIGEST/main.js`, so that a browser
keeps them for good and never mixes two versions; only index.html is asked for again. All files are
read once, when the server starts, and nothing else can be reached.

Here: serving the files. Not here: the page (studio/page/; its main.js says which file holds what).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter
from starlette.requests import Request as Call
from starlette.responses import Response

import minisora
from minisora.studio.api.errors import Refusal
from minisora.studio.api.packed import packed_answer

router = APIRouter(include_in_schema=False)
TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
FOR_GOOD = "public, max-age=31536000, immutable"


@cache
def page_files() -> dict[str, bytes]:
    """Files of the page by their paths in its folder."""
    return dict(sorted(_read(files("minisora.studio") / "page")))


@cache
def digest() -> str:
    """Sixteen digits that change with any file of the page."""
    whole = hashlib.sha256(minisora.__version__.encode())
    for name, content in page_files().items():
        whole.update(f"\n{name} {len(content)}\n".encode() + content)
    return whole.hexdigest()[:16]


@router.head("/")
@router.get("/")
async def index(call: Call) -> Response:
    """Get the page."""
    text = page_files()["index.html"].decode().replace("@digest@", digest())
    return _answer(call, "html", text.encode(), "no-cache")


@router.head("/page/{version}/{name:path}")
@router.get("/page/{version}/{name:path}")
async def file(version: str, name: str, call: Call) -> Response:
    """Get a file of the page."""
    content, kind = page_files().get(name), name.rpartition(".")[2]
    if content is None or kind not in TYPES or kind == "html" or version != digest():
        raise Refusal(404, "there is no such file in this version of the page. Reload the page.", "not_found")
    return _answer(call, kind, content, FOR_GOOD)


def _answer(call: Call, kind: str, content: bytes, keep: str) -> Response:
    headers = {"etag": f'W/"{digest()}"', "cache-control": keep}
    if headers["etag"] in (each.strip() for each in call.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    return packed_answer(call, content, TYPES[kind], headers)


def _read(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _read(each, f"{prefix}{each.name}/")
        else:
            yield prefix + each.name, each.read_bytes()
