"""The library and the queue, as a page uses them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minisora.studio.api.settings import Settings
from minisora.video import write_video
from tests.helpers.studio import Client, File, clip, studio
from tests.helpers.studios import tiny_bundle

JOB = {"prompt": "a red ball", "seconds": 1, "steps": 2}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    model = tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")
    with studio(tmp_path_factory.mktemp("studio"), Settings(needs_token=False), model=model) as client:
        yield client


def upload(client: Client, content: bytes, name: str) -> dict[str, Any]:
    answer = client.post("/v1/library", form={"file": File(content, name)})
    assert answer.status == 200, answer.body
    item: dict[str, Any] = answer.json()
    return item


def listed(client: Client, query: str) -> list[str]:
    return [item["name"] for item in client.get(f"/v1/library?{query}").json()["data"]]


def test_an_upload_with_a_key_is_kept_once(client: Client, tmp_path: Path):
    """Its answer may have been lost; meanwhile it may even have been deleted."""
    content, key = clip(tmp_path, num_frames=5), {"Idempotency-Key": "walk 1"}

    def send(content: bytes) -> Any:
        return client.call("POST", "/v1/library", form={"file": File(content, "once.mp4")}, headers=key)

    first = send(content).json()
    assert send(content).json() == first and listed(client, "search=once") == ["once.mp4"]
    client.call("DELETE", f"/v1/library/{first['id']}")
    assert send(content).json() == first and listed(client, "search=once") == ["once.mp4"]
    other = send(clip(tmp_path, num_frames=9))
    assert other.status == 400 and other.json()["error"]["code"] == "idempotency_key_reused"
    assert upload(client, content, "once.mp4")["id"] != first["id"]  # without a key, each is its own


def test_an_upload_is_found_changed_deleted_and_restored(client: Client, tmp_path: Path):
    content = clip(tmp_path)
    item = upload(client, content, "..\\..\\A walk\x00 <b>in the park.mp4")
    assert item["name"] == "A walk <b>in the park.mp4" and item["request"] is None
    assert (item["width"], item["height"], item["fps"], item["num_frames"]) == (96, 64, 8.0, 9)
    assert (item["type"], item["seconds"], item["size_bytes"]) == ("video/mp4", 1.125, len(content))
    path = f"/v1/library/{item['id']}"
    changed = client.call("PATCH", path, data={"favourite": True, "tags": ["Park", "walks"], "name": "my walk"}).json()
    assert (changed["favourite"], changed["tags"], changed["name"]) == (True, ["Park", "walks"], "my walk")
    assert client.get(path).json() == changed
    assert listed(client, "favourite=true") == listed(client, "tag=Park") == listed(client, "search=WALK+park")
    assert listed(client, "search=walk+swim") == listed(client, "tag=park") == []
    assert client.get(f"{path}/content").body == content
    named = client.get(f"{path}/content?download=true").headers["content-disposition"]
    assert named.startswith('attachment; filename="my walk.mp4"')
    thumbnail = client.get(f"{path}/content?variant=thumbnail")
    assert thumbnail.headers["content-type"] == "image/jpeg" and thumbnail.body[:2] == b"\xff\xd8"
    assert client.call("DELETE", path).json()["deleted"] is True
    assert client.get(path).status == 404 and listed(client, "search=walk") == []
    assert listed(client, "deleted=true") == ["my walk"]
    assert client.post(f"{path}/restore").json() == changed
    assert client.post(f"{path}/restore").status == 404


def test_bad_changes(client: Client, tmp_path: Path):
    item = upload(client, clip(tmp_path, 1, suffix=".png"), "a.png")
    for changes in (
        {"name": ""},
        {"tags": "x"},
        {"tags": [""]},
        {"tags": ["x" * 51]},
        {"owner": "me"},
        {"favourite": "maybe"},
    ):
        answer = client.call("PATCH", f"/v1/library/{item['id']}", data=changes)
        assert answer.status == 400 and answer.error["param"], changes
    assert client.get(f"/v1/library/{item['id']}").json()["name"] == "a.png"
    for query in ("limit=0", "limit=201", "favourite=x", "after=x", "order=up", "search=%00", f"search={'x' * 201}"):
        assert client.get(f"/v1/library?{query}").status == 400, query


def test_pages_of_a_search(client: Client, tmp_path: Path):
    content = clip(tmp_path, 1, suffix=".png")
    names = [f"paged {n}" for n in range(5)]
    for name in names:
        upload(client, content, name)
        upload(client, content, "between")
    seen, after = list[str](), ""
    while True:
        page = client.get(f"/v1/library?search=paged&limit=2&order=asc{after}").json()
        seen += [item["name"] for item in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert seen == names


def test_a_file_of_ours_brings_its_request(client: Client, tmp_path: Path):
    import torch

    saved = {"format": 1, "minisora": "0.1.0", "model": None, "verb": "generate", "request": {"prompt": "<b>hi</b>"}}
    for suffix in (".mp4", ".png", ".webm"):
        path = tmp_path / f"ours{suffix}"
        frames = torch.zeros((1 if suffix == ".png" else 5, 32, 32, 3), dtype=torch.uint8)
        write_video(path, frames=frames, fps=8.0, comment=json.dumps(saved))
        assert upload(client, path.read_bytes(), "ours")["request"] == saved


def test_lineage(client: Client, tmp_path: Path):
    root = upload(client, clip(tmp_path), "root.mp4")
    child = client.post("/v1/videos/edits", data={"prompt": "child", "video": {"id": root["id"]}, "steps": 2}).json()
    client.done(child["id"])
    grandchild = client.post(f"/v1/videos/{child['id']}/remix", data={"prompt": "grandchild", "steps": 2}).json()
    client.done(grandchild["id"])
    found = client.get(f"/v1/library/{child['id']}/lineage").json()
    assert [item["id"] for item in found["ancestors"]] == [root["id"]]
    assert [item["id"] for item in found["descendants"]] == [grandchild["id"]]
    assert found["item"]["parents"] == [root["id"]]
    of_root = client.get(f"/v1/library/{root['id']}/lineage").json()
    assert [item["id"] for item in of_root["descendants"]] == [child["id"], grandchild["id"]]
    thumbnail = client.get(f"/v1/library/{child['id']}/content?variant=thumbnail")
    assert thumbnail.status == 200 and thumbnail.headers["content-type"].startswith("image/")
    assert client.get(f"/v1/library/{child['id']}/content").body == client.get(f"/v1/videos/{child['id']}/content").body


def test_a_waiting_job_is_paused_edited_moved_and_copied(client: Client, tmp_path: Path):
    running = client.busy()
    first, second = (
        client.post("/v1/videos", data={"prompt": name, "seconds": 60, "steps": 1000}).json()
        for name in ("first", "second")
    )
    path = f"/v1/videos/{second['id']}"
    paused = client.post(f"{path}/pause").json()
    assert (paused["status"], paused["minisora"]["state"]) == ("queued", "paused")
    assert client.post(f"{path}/pause").error["code"] == "wrong_state"
    edited = client.call("PATCH", path, data={"prompt": "edited", "seconds": 1, "steps": 2, "seed": 9}).json()
    assert edited["prompt"] == "edited" and edited["minisora"]["request"]["seed"] == 9
    assert edited["minisora"]["request"] | {"prompt": 0, "seconds": 0, "steps": 0, "seed": 0} == second["minisora"][
        "request"
    ] | {"prompt": 0, "seconds": 0, "steps": 0, "seed": 0}
    for given in ({"num_inference_steps": 3}, {"num_frames": 17}, {"width": 64, "height": 64}):  # as others say it
        assert client.call("PATCH", path, data=given).status == 200
    assert client.call("PATCH", path, data={"seconds": -1}).error["param"] == "seconds"
    assert client.call("PATCH", path, data={"verb": "image"}).status == 400
    assert client.post(f"{path}/move", data={"before": first["id"]}).status == 200
    for wrong in ({"before": 5}, {"after": first["id"]}):
        assert client.post(f"{path}/move", data=wrong).status == 400
    assert client.post(f"{path}/resume").json()["minisora"]["state"] == "waiting"
    for each in (first["id"], running):
        assert client.post(f"/v1/videos/{each}/cancel").status == 200
        assert client.done(each)["error"]["code"] == "cancelled"
    assert client.done(second["id"])["status"] == "completed"
    answer = client.call("PATCH", path, data={"prompt": "late"})
    assert (answer.status, answer.error["code"], answer.headers["x-should-retry"]) == (409, "wrong_state", "false")
    copy = client.post(f"{path}/retry", data={"seed": 10}).json()
    assert copy["id"] != second["id"] and copy["prompt"] == "edited" and copy["minisora"]["request"]["seed"] == 10
    assert client.done(copy["id"])["status"] == "completed"


def test_a_job_with_media_is_retried_with_the_same(client: Client, tmp_path: Path):
    form = {"prompt": "it goes on", "seconds": "1", "video": File(clip(tmp_path), "a.mp4"), "steps": "2"}
    video = client.done(client.post("/v1/videos/extensions", form=form).json()["id"])
    again = client.post(f"/v1/videos/{video['id']}/retry").json()
    assert again["minisora"]["request"] == video["minisora"]["request"]
    assert client.done(again["id"])["status"] == "completed"


def test_a_waiting_job_that_gets_another_clip_names_it(client: Client, tmp_path: Path):
    running = client.busy()
    uploads = [upload(client, clip(tmp_path, num_frames=num_frames), "a.mp4")["id"] for num_frames in (9, 17)]
    form = {"prompt": "it goes on", "steps": 2, "after": 1, "clip": {"id": uploads[0]}}
    job = client.post("/v1/videos/extend", data=form).json()
    path = f"/v1/videos/{job['id']}"
    changed = client.call("PATCH", path, data={"clip": {"id": uploads[1]}}).json()
    assert changed["minisora"]["request"]["clip"]["id"] == uploads[1]
    assert float(changed["seconds"]) == float(job["seconds"]) + 1
    assert client.call("PATCH", path, data={"prompt": "it ends"}).json()["prompt"] == "it ends"
    again = client.post(f"{path}/retry").json()
    assert again["minisora"]["request"]["clip"]["id"] == uploads[1]
    for each in (running, job["id"], again["id"]):
        client.post(f"/v1/videos/{each}/cancel")


def test_a_waiting_job_that_gets_another_video_is_of_that_one(client: Client):
    first, second = (client.done(client.post("/v1/videos", data=JOB).json()["id"])["id"] for _ in range(2))
    running = client.busy()
    job = client.post("/v1/videos/extend", data={"prompt": "on", "after": 1, "clip": {"id": first}}).json()
    changed = client.call("PATCH", f"/v1/videos/{job['id']}", data={"clip": {"id": second}}).json()
    assert (job["minisora"]["parent"], changed["minisora"]["parent"]) == (first, second)
    for each in (running, job["id"]):
        client.post(f"/v1/videos/{each}/cancel")


def test_states_are_filtered(client: Client):
    running = client.busy()
    assert [one["id"] for one in client.get("/v1/videos?state=waiting&state=running").json()["data"]] == [running]
    client.post(f"/v1/videos/{running}/cancel")
    client.done(running)
    assert running in [one["id"] for one in client.get("/v1/videos?state=cancelled").json()["data"]]
    assert client.get("/v1/videos?state=lost").status == 400
