"""The library of the page: thousands of items, one item, two side by side."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from PIL import Image

from minisora.video import read_frames
from tests.helpers.page import Open, drop, make, shown, until, write
from tests.helpers.studio import Client, File, clip, studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

MANY = 5_000
MOST_ELEMENTS = 1_500  # of the page, however many items
pytestmark = pytest.mark.long


@pytest.fixture
def empty(tmp_path: Path) -> Any:
    """A studio that makes nothing."""
    with studio(tmp_path / "studio") as found:
        yield found


def upload(client: Client, content: bytes, name: str) -> str:
    item_id: str = client.post("/v1/library", form={"file": File(content, name)}).json()["id"]
    return item_id


def made(client: Client, verb: str, **body: Any) -> str:
    video_id: str = client.post(f"/v1/videos/{verb}", data=body).json()["id"]
    assert client.done(video_id, 240)["status"] == "completed"
    return video_id


def names(page: Page) -> list[str]:
    return page.locator(".card .name").all_inner_texts()


def sha(n: int) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()


def multiply(folder: Path, item_id: str) -> None:
    """Write rows like an item's into a database, older than it, each with its own thumbnail."""
    for n in range(1, MANY):
        Image.new("RGB", (96, 64 + n % 64), (n % 256, n // 20, 128)).save(
            folder / "thumbnails" / f"{sha(n)}.jpg", "JPEG"
        )
    with sqlite3.connect(folder / "studio.db") as database:
        columns = [row[1] for row in database.execute("pragma table_info(items)")]
        row = dict(
            zip(columns, database.execute("select * from items where id = ?", (item_id,)).fetchone(), strict=True)
        )
        rows = [
            {
                **row,
                "id": f"upload_{n:032x}",
                "name": f"clip {n}",
                "created_at": row["created_at"] - n,
                "sha256": sha(n),
            }
            for n in range(1, MANY)
        ]
        marks = ", ".join(f":{name}" for name in columns)
        database.executemany(f"insert into items ({', '.join(columns)}) values ({marks})", rows)


def test_thousands_of_items_are_scrolled_through(empty: Client, opened: Open, tmp_path: Path):
    multiply(tmp_path / "studio", upload(empty, clip(tmp_path), "clip 0.mp4"))
    page = opened(empty.port)
    shown(page, empty.port, "library")
    page.locator(".card").first.wait_for()
    page.evaluate(
        """() => { window.shift = 0;
        new PerformanceObserver((list) => list.getEntries().forEach((each) => { window.shift += each.value }))
            .observe({ type: "layout-shift", buffered: true }) }"""
    )
    seen = set[str]()
    last = f"clip {MANY - 1}"
    for _ in range(2000):
        seen |= set(names(page))
        assert page.evaluate("document.getElementsByTagName('*').length") < MOST_ELEMENTS
        if last in seen:
            break
        page.mouse.wheel(0, 3000)
        page.wait_for_timeout(30)
    assert last in seen
    place = page.locator(".cell").last.get_attribute("aria-posinset")
    assert int(place or 0) > MANY - 100
    assert page.evaluate("window.shift") == 0
    page.locator(".card a").last.click()
    page.locator(".item video").wait_for()
    before = page.evaluate("scrollY")
    page.go_back()
    page.locator(".card").first.wait_for()
    assert page.evaluate("scrollY") > before + 1000  # where the list was left


def test_a_list_that_was_asked_for_before_a_change_does_not_undo_it(empty: Client, opened: Open, tmp_path: Path):
    item, held = upload(empty, clip(tmp_path), "beach.mp4"), []
    page = opened(empty.port)
    shown(page, empty.port, "library")
    until(lambda: names(page) == ["beach.mp4"])
    page.route("**/v1/library?*", lambda route: held.append((route, route.fetch())))
    page.get_by_role("searchbox").fill("beach")
    until(lambda: page.evaluate("1") and held)  # routes are heard while the page is asked
    heart = page.get_by_role("button", name="Favourite: beach.mp4")
    heart.click()
    until(lambda: empty.get(f"/v1/library/{item}").json()["favourite"])
    route, answer = held[0]
    assert not answer.json()["data"][0]["favourite"]
    with page.expect_response("**/v1/library?*"):
        route.fulfill(response=answer)
    page.wait_for_timeout(200)
    assert heart.get_attribute("aria-pressed") == "true"


def test_search_favourites_and_tags(empty: Client, opened: Open, tmp_path: Path):
    content = clip(tmp_path)
    ids = {name: upload(empty, content, name) for name in ("beach.mp4", "<b>hills.mp4", "river.mp4")}
    page = opened(empty.port)
    shown(page, empty.port, "library")
    until(lambda: len(names(page)) == 3)
    assert "<b>hills.mp4" in names(page) and page.locator(".card .name b").count() == 0
    page.get_by_role("button", name="Favourite: beach.mp4").click()
    until(lambda: empty.get(f"/v1/library/{ids['beach.mp4']}").json()["favourite"])
    page.get_by_role("button", name="Favourites", exact=True).click()
    until(lambda: names(page) == ["beach.mp4"])
    page.get_by_role("button", name="Favourites", exact=True).click()
    until(lambda: len(names(page)) == 3)
    page.get_by_role("link", name="river.mp4").click()
    page.get_by_label("Add a tag").fill("water & <i>more")
    page.get_by_label("Add a tag").press("Enter")
    page.get_by_label("Add a tag").fill("calm")
    page.get_by_label("Add a tag").press("Enter")
    page.get_by_role("button", name="Remove the tag calm").click()
    until(lambda: empty.get(f"/v1/library/{ids['river.mp4']}").json()["tags"] == ["water & <i>more"])
    page.get_by_role("link", name="‹ Library").click()
    page.get_by_role("button", name="water & <i>more").click()
    until(lambda: names(page) == ["river.mp4"])
    page.get_by_role("button", name="water & <i>more").click()
    page.get_by_role("searchbox").fill("HILLS")
    until(lambda: names(page) == ["<b>hills.mp4"])
    page.get_by_role("searchbox").fill("nothing of this kind")
    page.get_by_role("button", name="Show all").click()
    until(lambda: len(names(page)) == 3)


def test_an_item_is_deleted_and_comes_back(empty: Client, opened: Open, tmp_path: Path):
    content = clip(tmp_path)
    ids = [upload(empty, content, f"{n}.mp4") for n in range(3)]
    page = opened(empty.port)
    shown(page, empty.port, "library")
    page.get_by_role("link", name="1.mp4").click()
    page.get_by_role("button", name="Delete").click()
    until(lambda: names(page) == ["2.mp4", "0.mp4"])
    assert empty.get(f"/v1/library/{ids[1]}").status == 404
    page.locator(".toast").get_by_role("button", name="Undo").click()
    until(lambda: names(page) == ["2.mp4", "1.mp4", "0.mp4"])
    assert empty.get(f"/v1/library/{ids[1]}").status == 200


def test_one_that_is_deleted_from_its_own_address_comes_back_to_its_place(empty: Client, opened: Open, tmp_path: Path):
    content = clip(tmp_path)
    ids = [upload(empty, content, f"{n}.mp4") for n in range(3)]
    page = opened(empty.port)
    shown(page, empty.port, f"library/{ids[1]}")
    page.get_by_role("button", name="Delete").click()
    until(lambda: names(page) == ["2.mp4", "0.mp4"])
    page.locator(".toast").get_by_role("button", name="Undo").click()
    until(lambda: names(page) == ["2.mp4", "1.mp4", "0.mp4"])


def test_files_are_dropped_and_an_empty_library_says_what_next(empty: Client, opened: Open, tmp_path: Path):
    page = opened(empty.port)
    shown(page, empty.port, "library")
    page.get_by_text("Nothing here yet").wait_for()
    drop(page, "main", clip(tmp_path), "walk.mp4", "video/mp4")
    until(lambda: names(page) == ["walk.mp4"])
    drop(page, "main", b"no video " * 50, "notes.txt", "text/plain")
    page.locator(".toast.error").wait_for()
    assert names(page) == ["walk.mp4"]


def test_a_clip_that_the_browser_cannot_play_is_shown_as_webm(empty: Client, opened: Open, tmp_path: Path):
    path = tmp_path / "phone.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx265", rate=8, options={"x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for n in range(9):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 20 * n, np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    item = upload(empty, path.read_bytes(), "phone.mp4")
    page = opened(empty.port)
    page.goto(f"{page.url.split('#')[0]}#library/{item}")
    until(lambda: page.locator(".item video").evaluate("video => video.currentTime > 0 && video.videoWidth === 96"))
    assert "format=webm" in str(page.locator(".item video").get_attribute("src"))


def test_a_video_with_its_settings_and_lineage(client: Client, opened: Open, tmp_path: Path):
    first = made(client, "generate", prompt="a red ball <b>rolls</b>", seconds=1, steps=2, seed=1)
    longer = made(client, "extend", prompt="it stops", clip={"id": first}, after=1, steps=3, seed=1)
    back = made(client, "reverse", clip={"id": longer})
    page = opened(client.port)
    shown(page, client.port, f"library/{longer}")
    tree = page.locator(".tree")
    tree.wait_for()
    assert {each.get_attribute("href") for each in tree.locator("a").all()} == {
        f"#library/{i}" for i in (first, longer, back)
    }
    places = {each.get_attribute("href"): (each.bounding_box() or {})["x"] for each in tree.locator("a").all()}
    assert places[f"#library/{first}"] < places[f"#library/{longer}"] < places[f"#library/{back}"]
    until(
        lambda: page.evaluate(
            "(() => { const v = document.querySelector('.item video'); return v.loop && v.currentTime > 0 })()"
        )
    )
    text = page.locator(".about").inner_text()
    assert "Extend a clip" in text and "it stops" in text and "a red ball <b>rolls</b>" in text
    rows = dict(each.inner_text().split("\n", 1) for each in page.locator(".about .settings > div").all())
    assert (rows["Seed"], rows["Model"], rows["Frame size"]) == ("1", "tiny", "32 × 32")
    assert rows["Steps"] == "3 (default 2)" and rows["Added after, in s"] == "1"
    assert "Other than the defaults" in text
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    with av.open(download.value.path()) as container:
        assert sum(1 for _ in container.decode(video=0)) == client.get(f"/v1/library/{longer}").json()["num_frames"]
    own, _ = read_frames(download.value.path())
    page.evaluate("(() => { const v = document.querySelector('.item video'); v.pause(); v.currentTime = 5.5 / 8 })()")
    with page.expect_download() as download:
        page.get_by_role("button", name="This frame as PNG").click()
    with Image.open(download.value.path()) as picture:
        assert (np.asarray(picture) == own[5].numpy()).all()
    jobs = client.get("/v1/videos").json()["data"]
    for form in ("GIF", "WebM"):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"As {form}").click()
        moving, fps = read_frames(download.value.path())
        assert moving.shape == own.shape and fps == 8.0
        assert download.value.suggested_filename == f"it stops.{form.lower()}"
    assert client.get("/v1/videos").json()["data"] == jobs
    page.get_by_role("button", name="Contact sheet").click()
    until(lambda: page.evaluate("document.querySelector('.sheet')?.naturalWidth > 0"))
    page.get_by_role("link", name="Compare with the original").click()
    until(lambda: page.url.endswith(f"#library/compare/{first}/{longer}"))
    captions = page.locator(".pair figcaption")
    until(lambda: captions.count() == 2)
    one, other = captions.all_inner_texts()
    assert "A" in one.split("\n") and "original · 1.1 s" in one and "B" in other.split("\n") and "extended" in other
    page.go_back()
    page.get_by_role("button", name="Close it to a loop").click()
    page.locator(".slot.filled").wait_for()
    write(page, "the ball comes back")
    sent = make(page)
    assert sent["path"] == "/v1/videos/loop" and sent["clip"] == {"id": longer}


def test_titles_are_read_without_times_and_cards_are_equally_high(client: Client, opened: Open):
    short = made(client, "generate", prompt="0-0.5: a red ball rolls | 0.5-: it stops", seconds=1, steps=1)
    own = made(client, "generate", prompt="a blue cube", seconds=1, steps=1)
    client.call("PATCH", f"/v1/library/{own}", data={"name": "0-2: what somebody wrote, and stays"})
    back = made(client, "reverse", clip={"id": short})
    page = opened(client.port)
    shown(page, client.port, "library")
    titles = [
        "Play backwards",
        "0-2: what somebody wrote, and stays",
        "a red ball rolls, then it stops",
    ]
    until(lambda: names(page) == titles)
    facts = page.locator(".card .facts p").all_inner_texts()
    assert [each.split("\n")[0] for each in facts] == ["reversed · 1.1 s", "made · 1.1 s", "made · 1.1 s"]
    boxes = [each.bounding_box() or {} for each in page.locator(".card").all()]
    assert len({box["height"] for box in boxes}) == 1
    shown(page, client.port, f"library/{back}")
    field = page.get_by_label("Name", exact=True)
    assert field.input_value() == "Play backwards"
    field.fill("a name " * 25)
    page.evaluate("document.querySelector('.title .icon').click()")  # the page is drawn again while one types
    page.locator(".title .icon[aria-pressed=true]").wait_for()
    field.press("Enter")
    until(lambda: client.get(f"/v1/library/{back}").json()["name"] == ("a name " * 25).strip())
    assert field.evaluate("each => each.scrollWidth <= each.clientWidth && each.scrollHeight <= each.clientHeight + 1")
    assert page.get_by_text("Seed", exact=True).count() == 0  # it needs no model


def test_what_one_came_from_stays_chosen(empty: Client, opened: Open, tmp_path: Path):
    ids = {name: upload(empty, clip(tmp_path), name) for name in ("one.mp4", "two.mp4", "three.mp4")}
    page = opened(empty.port)
    shown(page, empty.port, "library")
    page.get_by_role("button", name="Choose to compare: one.mp4").click()
    for _ in range(2):
        page.get_by_role("link", name="one.mp4").click()
        page.get_by_role("button", name="Compare with another").click()
        page.get_by_text("Choose one more to compare.").wait_for()
        assert page.locator(".card.chosen").get_attribute("data-id") == ids["one.mp4"]
    for other in ("two.mp4", "three.mp4"):
        page.get_by_role("button", name=f"Choose to compare: {other}").click()
        compare = page.get_by_role("link", name="Compare", exact=True)
        until(lambda link=compare, id=ids[other]: link.get_attribute("href").endswith(f"{ids['one.mp4']}/{id}"))


def position(page: Page) -> list[float]:
    found: list[float] = page.evaluate("[...document.querySelectorAll('.pair video')].map((each) => each.currentTime)")
    return found


def test_two_are_compared_frame_by_frame(empty: Client, opened: Open, tmp_path: Path):
    one = upload(empty, clip(tmp_path, num_frames=9), "one.mp4")
    other = upload(empty, clip(tmp_path, num_frames=17), "other.mp4")
    page = opened(empty.port)
    shown(page, empty.port, "library")
    page.get_by_role("button", name="Choose to compare: one.mp4").click()
    page.get_by_role("button", name="Choose to compare: other.mp4").click()
    page.get_by_role("link", name="Compare", exact=True).click()
    slider = page.get_by_label("Frame of both")
    slider.wait_for()
    until(lambda: page.evaluate("[...document.querySelectorAll('.pair video')].every((each) => each.readyState >= 2)"))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    until(lambda: position(page) == [2.5 / 8, 2.5 / 8])
    assert "Frame 3 of 17" in page.locator(".moment").inner_text()
    page.keyboard.press("ArrowLeft")
    until(lambda: position(page) == [1.5 / 8, 1.5 / 8])
    slider.fill("7")
    until(lambda: position(page) == [7.5 / 8, 7.5 / 8])
    assert page.locator(".past").count() == 0
    page.get_by_text("A is shorter: after 1.1 s its last frame stays.").wait_for()
    until(lambda: brightness(page, 0) == pytest.approx(brightness(page, 1), abs=3))
    slider.fill("14")
    until(lambda: position(page)[1] == 14.5 / 8 and position(page)[0] < 9 / 8)  # the shorter one stays at its end
    assert page.locator("figure .past").inner_text() == "It ended at 1.1 s: this is its last frame"
    page.get_by_role("link", name="Swap").click()
    until(lambda: page.locator(".pair figcaption a").all_inner_texts() == ["other.mp4", "one.mp4"])
    assert page.url.endswith(f"{other}/{one}")
    page.get_by_role("button", name="Play both").click()
    until(lambda: min(position(page)) > 0.2)
    page.get_by_role("button", name="Pause").click()


def brightness(page: Page, n: int) -> float:
    pixels = page.evaluate(
        """(n) => { const video = document.querySelectorAll(".pair video")[n];
        const canvas = document.createElement("canvas");
        canvas.width = canvas.height = 16;
        const context = canvas.getContext("2d");
        context.drawImage(video, 0, 0, 16, 16);
        return [...context.getImageData(0, 0, 16, 16).data] }""",
        n,
    )
    return float(np.mean(pixels))
