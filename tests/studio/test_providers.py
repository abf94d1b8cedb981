"""A studio whose provider is a second studio: every verb, crashes of both, and switching."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.helpers.providers import Server
from tests.helpers.studio import Client, File, clip, left
from tests.helpers.studios import tiny_bundle

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
SMALL: dict[str, Any] = {"seconds": "1", "steps": 2, "seed": 3}
LONG: dict[str, Any] = {**SMALL, "prompt": "a long one", "steps": 1000, "seconds": "20", "model": "cloud"}


class Pair:
    """The studio `home`, and `far`, its provider."""

    def __init__(self, folder: Path) -> None:
        self.model = model = tiny_bundle(folder / "tiny")
        self.far = Server(folder / "far", model)
        address = f'address = "http://127.0.0.1:{self.far.port}/v1"'
        cloud = f'[providers.cloud]\n{address}\nkey = "a-very-secret-key"\nmodels = ["tiny", "sora-2"]\n'
        blocked = f'[providers.blocked]\n{address}\nmodels = ["tiny"]\n'
        self.home = Server(folder / "home", model, f"{cloud}allow_private = true\n{blocked}")

        self.before = set[str]()

    def there(self) -> list[dict[str, Any]]:
        """Videos that the provider has made in this test, oldest first."""
        videos = self.far.client.get("/v1/videos?limit=100&order=asc").json()["data"]
        return [video for video in videos if video["id"] not in self.before]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    pair.far.start()
    pair.home.start()
    try:
        yield pair
    finally:
        pair.home.kill()
        pair.far.kill()


@pytest.fixture
def pair(both: Pair) -> Pair:
    both.before |= {video["id"] for video in both.there()}
    return both


def made(client: Client, path: str, **call: Any) -> dict[str, Any]:
    answer = client.post(path, **call)
    assert answer.status == 200, answer.body
    video = client.done(answer.json()["id"], 120)
    assert video["status"] == "completed", video
    return video


def content(client: Client, video: dict[str, Any], variant: str = "video") -> bytes:
    return client.get(f"/v1/videos/{video['id']}/content?variant={variant}").body


def running(client: Client, video_id: str) -> dict[str, Any]:
    """Wait until a video is being made, at the provider."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        video: dict[str, Any] = client.get(f"/v1/videos/{video_id}").json()
        if video["status"] == "in_progress" and video["minisora"]["provider"] and video["minisora"]["stage"]:
            return video
        assert video["status"] in ("queued", "in_progress"), video
        time.sleep(0.05)
    raise AssertionError(video)


def test_every_verb_and_switching_from_one_to_another(pair: Pair, tmp_path: Path):
    home = pair.home.client
    names = [model["id"] for model in home.get("/v1/models").json()["data"]]
    assert names == ["tiny", "cloud/tiny", "cloud/sora-2", "blocked/tiny"]
    assert home.get("/v1/models/cloud/tiny").json()["minisora"]["provider"] == "cloud"

    ball = made(home, "/v1/videos", data={**SMALL, "prompt": "a red ball", "model": "cloud", "guidance": 3.0})
    (far,) = pair.there()
    assert ball["minisora"]["provider"] == {"alias": "cloud", "id": far["id"]} and ball["model"] == "cloud"
    assert ball["minisora"]["made"]["model"] == "cloud/tiny" and far["model"] == "tiny"
    asked = far["minisora"]["request"]
    assert (asked["prompt"], asked["seed"], asked["steps"], asked["guidance"]) == ("a red ball", 3, 2, 3.0)
    assert content(home, ball) == content(pair.far.client, far)
    assert (ball["size"], ball["minisora"]["made"]["num_frames"]) == (
        far["size"],
        far["minisora"]["made"]["num_frames"],
    )
    for variant in ("thumbnail", "spritesheet"):
        assert Image.open(io.BytesIO(content(home, ball, variant))).size > (30, 30)

    frame = File(clip(tmp_path, 1, 64, 96, ".png"))
    made(home, "/v1/videos", form={**SMALL, "prompt": "it moves", "model": "cloud/tiny", "input_reference": frame})
    blue = made(home, f"/v1/videos/{ball['id']}/remix", data={"prompt": "a blue ball", "steps": 2, "model": "cloud"})
    longer = {"prompt": "it stops", "seconds": "1", "steps": 2, "video": {"id": blue["id"]}, "model": "cloud"}
    extended = made(home, "/v1/videos/extensions", data=longer)
    upload = {"prompt": "darker", "steps": 2, "video": File(clip(tmp_path)), "model": "cloud"}
    made(home, "/v1/videos/edits", form=upload)
    verbs = [(video["minisora"]["verb"], video["minisora"]["parent"]) for video in pair.there()]
    ids = [video["id"] for video in pair.there()]
    assert verbs == [("generate", None), ("animate", None), ("edit", ids[0]), ("extend", ids[2]), ("edit", None)]
    assert extended["minisora"]["made"]["num_frames"] > blue["minisora"]["made"]["num_frames"]
    parents = [item["id"] for item in home.get(f"/v1/library/{extended['id']}/lineage").json()["ancestors"]]
    assert parents == [blue["id"], ball["id"]]

    local = made(home, f"/v1/videos/{extended['id']}/remix", data={"prompt": "green", "steps": 2})
    assert local["minisora"]["made"]["model"] == "tiny" and local["minisora"]["provider"] is None
    again = made(home, f"/v1/videos/{local['id']}/remix", data={"prompt": "yellow", "steps": 2, "model": "cloud"})
    assert again["minisora"]["provider"]["id"] == pair.there()[-1]["id"] and len(pair.there()) == 6
    assert "a-very-secret-key" not in pair.home.log + home.get("/v1/models").body.decode()

    pair.far.client.call("DELETE", f"/v1/videos/{ids[0]}")  # it is uploaded in place of its id
    made(home, f"/v1/videos/{ball['id']}/remix", data={"prompt": "pink", "steps": 2, "model": "cloud"})
    assert pair.there()[-1]["minisora"]["parent"] is None


def test_what_it_cannot_do_is_refused_and_leaves_nothing(pair: Pair, tmp_path: Path):
    home, file = pair.home.client, File(clip(tmp_path))
    kept = home.get("/v1/library?limit=200").json()["data"], left(pair.home.folder)
    refused = [
        home.post("/v1/videos", data={"prompt": "x", "model": "cloud/nothing"}),
        home.post("/v1/videos", data={"prompt": "x", "model": "nowhere/tiny"}),
        home.post("/v1/videos", data={"prompt": "x", "model": "http://127.0.0.1/v1"}),
        home.post("/v1/videos/loop", data={"prompt": "x", "model": "cloud"}),
        home.post("/v1/videos/interpolate", form={"clip": file, "times": 2, "model": "cloud"}),
        home.post("/v1/videos", data={"prompt": "x", "model": "cloud", "format": "webm"}),
        home.post("/v1/videos/extend", form={"prompt": "x", "clip": file, "before": 1, "model": "cloud"}),
        home.post("/v1/videos/edits", form={"prompt": "x", "video": file, "start": 0.2, "model": "cloud"}),
    ]
    codes = [(answer.status, answer.error["code"], answer.error["param"]) for answer in refused]
    assert codes == [(404, "model_not_found", "model")] * 3 + [(400, "invalid_request", None)] * 5, codes
    assert "does not make loop" in refused[3].error["message"]
    assert (home.get("/v1/library?limit=200").json()["data"], left(pair.home.folder)) == kept
    assert pair.there() == []

    failed = home.done(home.post("/v1/videos", data={"prompt": "x", "model": "blocked"}).json()["id"])
    assert failed["error"]["code"] == "provider_refused" and "not public" in failed["error"]["message"]
    failed = home.done(home.post("/v1/videos", data={"prompt": "x", "model": "cloud", "size": "9000x9"}).json()["id"])
    assert failed["status"] == "failed" and failed["error"]["message"].startswith("cloud: "), failed


def test_cancelled_here_is_deleted_there(pair: Pair):
    home = pair.home.client
    first = running(home, home.post("/v1/videos", data=LONG).json()["id"])
    short = made(home, "/v1/videos", data={**SMALL, "prompt": "at once"})
    assert short["minisora"]["made"]["model"] == "tiny"  # it does not wait behind the provider's
    assert [video["id"] for video in pair.there()] == [first["minisora"]["provider"]["id"]]
    assert home.post(f"/v1/videos/{first['id']}/cancel").json()["error"]["code"] == "cancelled"
    assert pair.there() == []


def test_the_provider_is_killed_and_started_again(pair: Pair):
    home = pair.home.client
    job = running(home, home.post("/v1/videos", data={**LONG, "steps": 100, "seconds": "1"}).json()["id"])
    pair.far.kill()
    waiting = home.post("/v1/videos", data={**SMALL, "prompt": "meanwhile", "model": "cloud"}).json()["id"]
    time.sleep(2)
    assert home.get(f"/v1/videos/{job['id']}").json()["status"] == "in_progress"
    pair.far.start()
    for video_id in (job["id"], waiting):
        video = home.done(video_id, 300)
        assert (video["error"], video["minisora"]["attempts"]) == (None, 1)
    assert sorted(video["prompt"] for video in pair.there()) == ["a long one", "meanwhile"]


def test_our_server_is_killed_and_polls_the_same_video_on(pair: Pair):
    home = pair.home.client
    job = running(home, home.post("/v1/videos", data={**LONG, "steps": 100, "seconds": "1"}).json()["id"])
    pair.home.kill()
    pair.home.start()
    video = home.done(job["id"], 300)
    assert (video["error"], video["minisora"]["attempts"]) == (None, 2)
    assert [each["id"] for each in pair.there()] == [job["minisora"]["provider"]["id"]]


RULES = """
class House:
    def prompt(self, text):
        return None

    def frames(self, frames):
        return "it is too red" if frames[..., 0].mean() > 240 > frames[..., 1].mean() else self.answer

    answer = None


class Strict(House):
    answer = "nothing is shown"
"""


def test_frames_that_a_provider_gets_and_gives_are_moderated(both: Pair, tmp_path: Path):
    settings = (both.home.folder / "studio.toml").read_text()
    red = io.BytesIO()
    Image.new("RGB", (32, 32), (255, 0, 0)).save(red, "png")
    for name, asked, said in (
        ("House", {"form": {"prompt": "a ball", "input_reference": File(red.getvalue(), "red.png")}}, "red.png"),
        ("Strict", {"data": {"prompt": "a ball"}}, "the video"),
    ):
        home = Server(tmp_path / name, both.model, settings, f"rules:{name}")
        (home.folder / "rules.py").write_text(RULES)
        client = home.start()
        try:
            body = {kind: {**fields, "model": "cloud", "seconds": "1", "steps": "2"} for kind, fields in asked.items()}
            video = client.done(client.post("/v1/videos", **body).json()["id"], 300)
            assert video["error"]["code"] == "moderation_blocked" and said in video["error"]["message"], video
            assert client.get(f"/v1/videos/{video['id']}/content").status == 404
        finally:
            home.kill()
