"""The files of the page: how they are served, and that no words are outside of strings/."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator

import pytest

from minisora.studio.api.packed import LEAST_BYTES
from minisora.studio.api.page import digest
from tests.helpers.page import PAGE, Open, strings
from tests.helpers.studio import Client, studio

MODULES = [path for path in sorted(PAGE.rglob("*.js")) if "vendor" not in path.parts and "strings" not in path.parts]
LONGEST_FILE = 420
FIRST_LOAD_BYTES = 300_000


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with studio(tmp_path_factory.mktemp("studio")) as found:
        yield found


def test_the_page_is_served(client: Client):
    answer = client.get("/")
    assert answer.status == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    addresses = re.findall(r'(?:src|href)="([^"]+)"', answer.body.decode())
    assert len(addresses) == 3
    for address in addresses:
        assert client.get(address).status == 200, address
    assert b"@" not in answer.body
    again = client.get("/", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status == 304 and again.body == b""


@pytest.mark.parametrize(
    ("name", "kind"), [("main.js", "text/javascript"), ("style.css", "text/css"), ("favicon.svg", "image/svg+xml")]
)
def test_files_are_kept_for_good(client: Client, name: str, kind: str):
    path = f"/page/{digest()}/{name}"
    answer, head = client.get(path), client.call("HEAD", path)
    assert answer.body == (PAGE / name).read_bytes()
    assert answer.headers["content-type"].startswith(kind)
    assert "immutable" in answer.headers["cache-control"]
    assert head.status == 200 and head.body == b"" and head.headers["content-length"] == str(len(answer.body))


@pytest.mark.parametrize(
    "path",
    [
        "/page",
        "/page/",
        f"/page/{digest()}",
        f"/page/{digest()}/",
        f"/page/{digest()}/index.html",
        f"/page/{digest()}/vendor/README.md",
        f"/page/{digest()}/../app.py",
        f"/page/{digest()}/%2e%2e/api/app.py",
        f"/page/{digest()}//etc/passwd",
        f"/page/{digest()}/main.js%00",
        "/page/0000000000000000/main.js",
    ],
)
def test_nothing_else_can_be_reached(client: Client, path: str):
    answer = client.get(path)
    assert answer.status == 404 and answer.error["message"]


@pytest.mark.long
def test_first_load_is_small(client: Client, opened: Open):
    """Of the page, its answers from the server, and one language; packed, and as they are."""
    page = opened(client.port)
    page.locator("#prompt").wait_for()
    page.wait_for_load_state("networkidle")
    loaded = page.evaluate(
        """["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind))
        .map(({ name, transferSize, decodedBodySize }) => [name, transferSize, decodedBodySize])"""
    )
    names = [name for name, _, _ in loaded]
    assert len(names) == len(set(names)) > 40 and not any(name.endswith("zh.js") for name in names)
    assert sum(whole for _, _, whole in loaded) < FIRST_LOAD_BYTES
    assert sum(sent for _, sent, _ in loaded) < FIRST_LOAD_BYTES / 2


def test_texts_are_packed_for_those_who_take_it(client: Client):
    for path in ("/", f"/page/{digest()}/main.js", "/v1/verbs"):
        plain = client.get(path)
        for wish, packed in {"gzip, br": True, "br;q=1, gzip;q=0.5": True, "gzip;q=0": False, "x-gzip": False}.items():
            answer = client.get(path, headers={"Accept-Encoding": wish})
            assert answer.headers["vary"] == "accept-encoding"
            assert ("content-encoding" in answer.headers) is (packed and len(plain.body) >= LEAST_BYTES), (path, wish)
            assert (gzip.decompress(answer.body) if "content-encoding" in answer.headers else answer.body) == plain.body


def test_files_stay_short():
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in [*MODULES, PAGE / "style.css"]}
    assert {name: count for name, count in lines.items() if count > LONGEST_FILE} == {}


def test_languages_have_the_same_keys_and_values():
    en, zh = strings("en"), strings("zh")
    assert en.keys() == zh.keys()
    names = {key: [sorted(re.findall(r"\{\w+\}", text[key])) for text in (en, zh)] for key in en}
    assert {key: both for key, both in names.items() if both[0] != both[1]} == {}


def test_keys_that_modules_name_are_there():
    text = "".join(path.read_text(encoding="utf-8") for path in MODULES)
    named = set(re.findall(r'\bt\("([\w./]+)"', text))
    assert len(named) > 50 and named <= strings("en").keys()


def templates(text: str) -> Iterator[str]:
    """Templates html`...` of a module, the values in them replaced by a space."""
    for begin in re.finditer(r"html`", text):
        at, depth, found = begin.end(), 0, ""
        while text[at] != "`" or depth:
            if text.startswith("${", at):
                depth, at = depth + 1, at + 2
                found += " "
                continue
            if depth and text[at] in "{}":
                depth += 1 if text[at] == "{" else -1
            elif not depth:
                found += text[at]
            at += 1
        yield found


def words(template: str) -> list[str]:
    """Words of a template that a person sees or hears."""
    heard = re.findall(r'(?:aria-label|title|placeholder|alt)="([^"]*)"', template)
    seen = re.sub(r"<[^>]*>", " ", template)
    return [word for each in [*heard, seen] for word in re.findall(r"[^\W\d_]{2,}", each)]


def test_no_words_are_hard_coded():
    found = {
        path.name: [word for each in templates(path.read_text("utf-8")) for word in words(each)] for path in MODULES
    }
    assert {name: each for name, each in found.items() if each and name != "shell.js"} == {}
    assert found["shell.js"] == ["minisora"]


def test_the_reader_of_words_sees_them():
    assert words(next(templates('html`<p title="Go on" class="x">${t("a", { n: 1 })} now</p>`'))) == ["Go", "on", "now"]


def test_vendored_files_say_where_they_come_from():
    told = (PAGE / "vendor" / "README.md").read_text(encoding="utf-8")
    assert all(f"`{path.name}`" in told for path in (PAGE / "vendor").iterdir() if path.name != "README.md")
