"""The studio's page in a real browser: its first load, the first preview, thousands of items.

Run: python benchmarks/page.py [--runs 7] [--items 5000]        (pip install '.[dev]', chromium)

The server is `minisora studio` with the embedded model, in a process of its own on this machine;
the browser is headless, without a GPU.

first load       bytes that come, from an empty cache, until the page can be used, and the time to
                 then: the prompt is there and was drawn
first preview    from "Make it" on the warm model until the first picture of the job is decoded
scrolling        all items from top to bottom, some pixels in each frame: intervals of
                 requestAnimationFrame, tasks of more than 50 ms, elements of the page, and layout
                 shifts, while every card gets a thumbnail of its own
"""

from __future__ import annotations

import argparse
import asyncio
import colorsys
import hashlib
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from minisora.studio.api.auth import EVERYONE
from minisora.studio.jobs import Item, new_id
from minisora.studio.store import Store

SIZE = {"width": 1440, "height": 900}
PROMPT = "a large red ball rolls to the left on grass"
FIRST_VIEW = """
addEventListener("DOMContentLoaded", () => {
    const look = () => {
        if (document.querySelector("#prompt")) requestAnimationFrame(() => { window.usable = performance.now(); });
        else requestAnimationFrame(look);
    };
    look();
});
"""
FIRST_PREVIEW = """
const { set, get } = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "src");
Object.defineProperty(HTMLImageElement.prototype, "src", { get, set(value) {
    const come = () => { window.preview ??= performance.now(); };
    if (value.startsWith("data:image/jpeg")) this.addEventListener("load", come);
    set.call(this, value);
} });
"""
SCROLL = """(step) => new Promise((resolve) => {
    const times = [], long = [], counts = [];
    let shift = 0;
    const watch = (type, heard) => {
        new PerformanceObserver((list) => list.getEntries().forEach(heard)).observe({ type });
    };
    watch("longtask", ({ duration }) => long.push(duration));
    watch("layout-shift", ({ value }) => { shift += value; });
    const all = document.getElementsByTagName("*");
    const frame = (now) => {
        times.push(now);
        if (times.length % 10 === 0) counts.push(all.length);
        const end = document.documentElement.scrollHeight - innerHeight;
        if (scrollY >= end - 1) {
            const frames = times.slice(1).map((each, n) => each - times[n]);
            setTimeout(() => resolve({ frames, long, shift, most: Math.max(...counts) }), 200);
            return;
        }
        scrollTo(0, scrollY + step);
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
})"""


@contextmanager
def studio(folder: Path) -> Iterator[int]:
    """Run the server; gives its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "minisora", "studio", "--folder", str(folder), "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while not answers(port):
            if process.poll() is not None:
                raise SystemExit((folder / "log").read_text())
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def until(page: Page, expression: str, seconds: float = 240.0) -> None:
    """Wait for a value; the page's CSP refuses what `wait_for_function` does."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise SystemExit(f"{expression} is not there after {seconds:g} s")
        time.sleep(0.02)


def first_load(browser: Browser, port: int) -> dict[str, float]:
    """Milliseconds until the page can be used, and the kilobytes and calls until it rests."""
    context = browser.new_context(viewport=SIZE)
    page = context.new_page()
    page.add_init_script(FIRST_VIEW)
    wire, sizes = list[float](), list[int]()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: wire.append(event["encodedDataLength"]))
    session.on("Network.dataReceived", lambda event: sizes.append(event["dataLength"]))
    page.goto(f"http://127.0.0.1:{port}/")
    until(page, "window.usable")
    page.wait_for_load_state("networkidle")
    found = {
        "ms": page.evaluate("window.usable"),
        "wire": sum(wire) / 1e3,
        "whole": sum(sizes) / 1e3,
        "calls": len(wire),
    }
    context.close()
    return found


def first_preview(page: Page) -> float:
    """Seconds from the button to the first picture of the job; the job is waited for."""
    count = page.locator("[data-state=done]").count()
    page.evaluate("window.preview = undefined")
    before = page.evaluate("document.querySelector('.send button.main').click(), performance.now()")
    until(page, "window.preview")
    seconds = (page.evaluate("window.preview") - before) / 1e3
    until(page, f"document.querySelectorAll('[data-state=done]').length > {count}")
    return seconds


async def fill(folder: Path, count: int) -> None:
    """Add items with a thumbnail each, of a colour of its own."""
    store = Store(f"sqlite:///{folder / 'studio.db'}")
    try:
        for n in range(count):
            sha256 = hashlib.sha256(str(n).encode()).hexdigest()
            colour = tuple(round(255 * each) for each in colorsys.hsv_to_rgb(n / count, 0.5, 0.9))
            jpeg = io.BytesIO()
            Image.new("RGB", (96, 64), colour).save(jpeg, "JPEG")
            (folder / "thumbnails" / f"{sha256}.jpg").write_bytes(jpeg.getvalue())
            about = {"width": 96, "height": 64, "fps": 8.0, "num_frames": 17, "size_bytes": 10_000, "created_at": 0.0}
            item = Item(id=new_id("upload"), owner=EVERYONE, name=f"clip {n}", sha256=sha256, type="video/mp4", **about)
            await store.library.add_upload(item)
    finally:
        await store.close()


def scrolled(page: Page, port: int, step: int) -> dict[str, Any]:
    page.goto(f"http://127.0.0.1:{port}/#library")
    page.reload()
    page.locator(".card").first.wait_for()
    page.wait_for_timeout(1000)
    found: dict[str, Any] = page.evaluate(SCROLL, step)
    found["last"] = page.locator(".cell").last.get_attribute("aria-posinset")
    return found


def report(loads: Sequence[dict[str, float]], previews: Sequence[float], scrolls: Sequence[dict[str, Any]]) -> None:
    frames = [each for one in scrolls for each in one["frames"]]
    shares = quantiles(frames, n=20)
    long = [each for one in scrolls for each in one["long"]]
    spread = "{:.2f} ({:.2f} to {:.2f})"
    seconds = [each["ms"] / 1e3 for each in loads]
    rows = [
        ("first load, kB on the wire", f"{loads[0]['wire']:.1f} in {loads[0]['calls']} calls", "< 300"),
        ("first load, kB uncompressed", f"{loads[0]['whole']:.1f}", "< 300"),
        ("first usable view, s", spread.format(median(seconds), min(seconds), max(seconds)), "< 1"),
        ("first preview, s", spread.format(median(previews), min(previews), max(previews)), "< 2"),
        ("scrolling, ms of a frame", f"{median(frames):.1f}, p95 {shares[-1]:.1f}, worst {max(frames):.1f}", ""),
        (
            "scrolling, tasks of 50 ms or more",
            f"{len(long)} in {len(frames)} frames, longest {max(long, default=0):.0f} ms",
            "",
        ),
        ("elements of the page at most", f"{max(each['most'] for each in scrolls)}, of {scrolls[0]['last']} items", ""),
        ("layout shift", f"{max(each['shift'] for each in scrolls):g}", "0"),
    ]
    print("| figure | median (least to most) | bar |\n| --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--step", type=int, default=120, help="pixels that are scrolled in each frame")
    asked = parser.parse_args()
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        with studio(folder) as port:
            print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Chromium {browser.version}\n")
            loads = [first_load(browser, port) for _ in range(asked.runs)]
            page = browser.new_page(viewport=SIZE)
            page.add_init_script(FIRST_PREVIEW)
            page.goto(f"http://127.0.0.1:{port}/")
            page.locator("#prompt").fill(PROMPT)
            first_preview(page)  # loads the model
            previews = [first_preview(page) for _ in range(asked.runs)]
            with ThreadPoolExecutor(1) as another:  # Playwright's loop runs in this one
                another.submit(asyncio.run, fill(folder, asked.items)).result()
            scrolls = [scrolled(page, port, asked.step) for _ in range(max(1, asked.runs // 2))]
        browser.close()
    report(loads, previews, scrolls)


if __name__ == "__main__":
    main()
