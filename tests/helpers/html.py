"""Reading a page strictly: what a browser would quietly repair is refused."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

EMPTY = {"img", "input", "meta", "br"}


class Page(HTMLParser):
    """Refuses tags that do not close in order; keeps tags, addresses and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str | None] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, (tag, self.open)

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(path: Path) -> Page:
    """A page that is whole, runs no script but its own, and needs nothing from elsewhere."""
    page = Page()
    text = path.read_text(encoding="utf-8")
    page.feed(text)
    assert not page.open and "http" not in text and "<script" not in text
    assert all(address is not None and address.startswith("data:") for address in page.addresses)
    return page
