"""Downloads in other formats: the frames of the file, converted once, for their owner alone."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from minisora.studio.api import app
from minisora.studio.api.downloads import Downloads
from minisora.studio.api.settings import DownloadBounds, Settings
from minisora.studio.blobs import Blobs
from minisora.studio.names import disposition
from minisora.video import Video, read_frames
from minisora.video.read import read_comment
from minisora.video.sound import Sound, has_sound
from tests.helpers.studio import Client, File, add_tokens, clip, studio
from tests.helpers.studios import tiny_bundle

SIZE, FPS = (31, 45), 8.0  # odd: an mp4 is padded, and what is made of it is not


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def secrets(folder: Path) -> dict[str, str]:
    return add_tokens(folder, ann={}, ben={})


@pytest.fixture(scope="module")
def client(folder: Path, secrets: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    model = tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")
    with studio(folder, Settings(), model=model) as found:
        yield found.with_token(secrets["ann"])


def made(client: Client, verb: str = "", **fields: Any) -> str:
    form = {"prompt": "a red ball", "steps": "1", "size": f"{SIZE[1]}x{SIZE[0]}", **fields}
    video = client.done(client.post(f"/v1/videos{verb}", form=form).json()["id"])
    assert video["status"] == "completed", video["error"]
    return str(video["id"])


@pytest.fixture(scope="module")
def video(client: Client) -> str:
    return made(client, seconds="1")


@pytest.fixture(scope="module")
def frames(client: Client, video: str, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """Of the file as it is, but for its padding."""
    path = tmp_path_factory.mktemp("own") / "own.mp4"
    path.write_bytes(client.get(f"/v1/videos/{video}/content").body)
    return read_frames(path)[0][:, : SIZE[0], : SIZE[1]]


@pytest.mark.parametrize(("form", "kind"), [("webm", "video/webm"), ("gif", "image/gif"), ("mkv", "video/x-matroska")])
def test_another_format_has_the_same_frames(client, video, frames, tmp_path, form, kind):
    answer = client.get(f"/v1/videos/{video}/content?format={form}&download=true")
    assert answer.status == 200 and answer.headers["content-type"] == kind
    assert answer.headers["content-disposition"] == disposition(f"a red ball.{form}", download=True)
    path = tmp_path / f"got.{form}"
    path.write_bytes(answer.body)
    found, fps = read_frames(path)
    assert fps == FPS and found.shape == frames.shape == (9, *SIZE, 3)
    apart = torch.cdist(found.flatten(1).float(), frames.flatten(1).float())
    assert apart.argmin(1).tolist() == list(range(9))  # each is nearest to the one that it was
    assert form != "mkv" or torch.equal(found, frames)
    own = client.get(f"/v1/videos/{video}/content").body
    (tmp_path / "own.mp4").write_bytes(own)
    assert read_comment(path) == read_comment(tmp_path / "own.mp4") != ""
    assert client.get(f"/v1/videos/{video}/content?format=mp4").body == own


@pytest.mark.parametrize("at", [None, 0.0, 0.124, 0.125, 0.6, 1.12])
def test_a_png_is_of_the_frame_that_is_shown_then(client, video, frames, at):
    answer = client.get(f"/v1/videos/{video}/content?format=png" + ("" if at is None else f"&at={at}"))
    assert answer.status == 200 and answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.body)) as picture:
        assert (np.asarray(picture) == frames[int((at or 0.0) * FPS)].numpy()).all()


def test_ranges_and_tags_are_answered(client, video):
    path = f"/v1/videos/{video}/content?format=webm"
    whole = client.get(path)
    part = client.get(path, headers={"Range": "bytes=4-9", "If-Range": whole.headers["etag"]})
    assert (part.status, part.body) == (206, whole.body[4:10])
    assert client.get(path, headers={"If-None-Match": whole.headers["etag"]}).status == 304
    assert client.call("HEAD", path).headers["content-length"] == str(len(whole.body))
    assert whole.headers["etag"] != client.get(f"/v1/videos/{video}/content?format=gif").headers["etag"]


def test_what_cannot_be_is_refused(client, video):
    picture = made(client, "/image", format="png")
    for video_id, query, param, says in (
        (picture, "format=gif", "format", "is a picture: no gif moves it. Ask for png."),
        (picture, "format=png&at=1", "at", "lasts 0.125 s"),
        (video, "format=avi", "format", "'mp4', 'webm', 'gif', 'mkv' or 'png'"),
        (video, "format=png&at=1.125", "at", "lasts 1.125 s"),
        (video, "format=png&at=-1", "at", "greater than or equal to 0"),
        (video, "format=png&at=nan", "at", "finite number"),
        (video, "format=gif&at=0.5", "at", "at is of one frame: give format=png too."),
        (video, "at=0.5", "at", "give format=png too."),
        (video, "format=gif&variant=thumbnail", "format", "leave out variant"),
    ):
        answer = client.get(f"/v1/videos/{video_id}/content?{query}")
        assert (answer.status, answer.error["param"], answer.error["type"]) == (400, param, "invalid_request_error")
        assert says in answer.error["message"], query
    own = client.get(f"/v1/videos/{picture}/content")
    assert client.get(f"/v1/videos/{picture}/content?format=png").body == own.body


def test_another_tokens_video_is_unknown(client, video, secrets):
    ben = client.with_token(secrets["ben"])
    client.get(f"/v1/videos/{video}/content?format=gif")
    for path in (f"/v1/videos/{video}/content?format=gif", f"/v1/library/{video}/content?format=gif"):
        assert ben.get(path).status == 404
        assert client.with_token("none").get(path).status == 401


def test_all_who_ask_at_once_get_one_file(client, folder):
    """Converted twice, it would have been made at two times."""
    video = made(client, seconds="2")
    before = set((folder / "downloads").iterdir())
    with ThreadPoolExecutor(8) as threads:
        path = f"/v1/videos/{video}/content?format=gif"
        answers = list(threads.map(lambda _: client.get(path), range(8)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == len({answer.headers["etag"] for answer in answers}) == 1
    (kept,) = set((folder / "downloads").iterdir()) - before
    assert kept.read_bytes() == answers[0].body
    made_at = kept.stat().st_mtime_ns
    assert client.get(path).headers["etag"] == answers[0].headers["etag"] and kept.stat().st_mtime_ns == made_at


def test_uploads_are_converted_too_with_their_sound(client, tmp_path):
    tone = tmp_path / "tone.wav"
    with av.open(str(tone), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        wave = (8000 * np.sin(np.arange(8000) / 3)).astype(np.int16)
        heard = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
        heard.sample_rate = 8000
        container.mux(stream.encode(heard))
    given = Video(torch.arange(8, dtype=torch.uint8).view(-1, 1, 1, 1).expand(8, 32, 48, 3) * 30, 8.0, (Sound(tone),))
    given.save(tmp_path / "a.mkv")
    item = client.post("/v1/library", form={"file": File((tmp_path / "a.mkv").read_bytes(), "a.mkv")}).json()
    path = f"/v1/library/{item['id']}/content"
    (tmp_path / "b.mp4").write_bytes(client.get(f"{path}?format=mp4").body)
    found, fps = read_frames(tmp_path / "b.mp4")
    assert fps == 8.0 and found.shape == given.frames.shape and has_sound(tmp_path / "b.mp4")
    with Image.open(io.BytesIO(client.get(f"{path}?format=png&at=0.5").body)) as picture:
        assert (np.asarray(picture) == 120).all()
    assert client.get(f"{path}?format=mkv").body == (tmp_path / "a.mkv").read_bytes()
    jpeg = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(jpeg, "jpeg")
    still = client.post("/v1/library", form={"file": File(jpeg.getvalue(), "a.jpg")}).json()
    with Image.open(io.BytesIO(client.get(f"/v1/library/{still['id']}/content?format=png").body)) as picture:
        assert picture.format == "PNG" and picture.size == (20, 10)


def kept_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (folder / "downloads").iterdir()}


def uploaded(client: Client, tmp_path: Path) -> str:
    item = client.post("/v1/library", form={"file": File(clip(tmp_path), "a.mp4")}).json()
    return f"/v1/library/{item['id']}/content"


@pytest.mark.long
def test_what_was_used_longest_ago_makes_room(tmp_path):
    (tmp_path / "downloads" / "left.part").mkdir(parents=True)  # of a server that was killed
    settings = Settings(needs_token=False, download=DownloadBounds(kept_bytes=600))
    with studio(tmp_path, settings) as client:
        path = uploaded(client, tmp_path)
        pictures = {at: client.get(f"{path}?format=png&at={at}").body for at in (0.0, 0.25, 0.5, 0.75)}
        kept = kept_in(tmp_path)
        assert 1 <= len(kept) < 4 and sum(kept.values()) <= 600
        assert max(kept, key=lambda name: int(name.removesuffix(".png")[65:])).endswith("-750.png")
        again = {at: client.get(f"{path}?format=png&at={at}").body for at in pictures}
        assert again == pictures and len(set(pictures.values())) == 4
    with studio(tmp_path, settings) as client:  # what nothing names goes at the start
        (tmp_path / "downloads" / f"{'0' * 64}.gif").write_bytes(b"x")
    with studio(tmp_path, settings) as client:
        until = time.monotonic() + 30
        while f"{'0' * 64}.gif" in kept_in(tmp_path) and time.monotonic() < until:
            time.sleep(0.05)
        assert sum(kept_in(tmp_path).values()) <= 600 and f"{'0' * 64}.gif" not in kept_in(tmp_path)
        assert client.get(f"{path}?format=png&at=0.5").body == pictures[0.5]


@pytest.mark.parametrize("bounds", [{"file_bytes": 1000}, {"decode_seconds": 0.05}, {"decode_bytes": 100 << 20}])
def test_what_takes_too_much_is_refused_and_leaves_nothing(tmp_path, bounds):
    with studio(tmp_path, Settings(needs_token=False, download=DownloadBounds(**bounds))) as client:
        answer = client.get(f"{uploaded(client, tmp_path)}?format=gif")
        assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "not_converted", "format")
        assert str(tmp_path) not in answer.error["message"] and "gif" in answer.error["message"]
        assert kept_in(tmp_path) == {}


def test_the_hourly_sweep_goes_on_after_an_error(monkeypatch):
    swept = list[str]()

    def broken() -> None:
        swept.append("thumbnails")
        raise PermissionError("not yours")

    async def go() -> None:
        parts: Any = SimpleNamespace(
            uploads=SimpleNamespace(sweep=broken), downloads=SimpleNamespace(sweep=lambda: swept.append("downloads"))
        )
        task = asyncio.create_task(app._sweep(parts))
        async with asyncio.timeout(30):
            while len(swept) < 4:
                await asyncio.sleep(0.01)
        task.cancel()

    monkeypatch.setattr(app, "SWEEP_SECONDS", 0.01)
    asyncio.run(go())
    assert swept[:4] == 2 * ["thumbnails", "downloads"]


def test_sweeps_take_turns(tmp_path):
    """One that has listed the files would miss those that another removes."""
    inside, together = set[int](), list[int]()

    class Watched(Blobs):
        def find(self, sha256: str) -> Path | None:
            inside.add(threading.get_ident())
            together.append(len(inside))
            time.sleep(0.02)
            return super().find(sha256)

    downloads = Downloads(tmp_path / "downloads", Watched(tmp_path / "files"), DownloadBounds())
    for number in range(10):  # of items that are gone
        (tmp_path / "downloads" / f"{number:064x}.gif").write_bytes(b"x")

    def sweep() -> None:
        downloads.sweep()
        inside.discard(threading.get_ident())

    with ThreadPoolExecutor(2) as threads:
        for each in [threads.submit(sweep) for _ in range(2)]:
            each.result()
    assert set(together) == {1} and kept_in(tmp_path) == {}
