"""A real browser, and a real studio with a small model, for tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.studio import Client, studio
from tests.helpers.studios import tiny_bundle

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of this machine. While it is open, the main thread can run no asyncio loop."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium is installed: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install '.[dev]'")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says it knows the playroom."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return tiny_bundle(folder, trained={"captioner": "playroom", "world": 2})


@pytest.fixture
def client(tmp_path: Path, model: Path) -> Iterator[Client]:
    with studio(tmp_path / "studio", model=model) as found:
        yield found


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Open the page of a studio; an error of its scripts, or of the CSP, fails the test."""
    contexts: list[Any] = []
    mistakes: list[str] = []

    def open_page(port: int, **options: Any) -> Page:
        context = browser.new_context(**{"locale": "en-US", "viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(240_000)  # of a busy machine
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.on("console", lambda said: mistakes.append(said.text) if "Content Security Policy" in said.text else None)
        page.goto(f"http://127.0.0.1:{port}/")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert mistakes == []
