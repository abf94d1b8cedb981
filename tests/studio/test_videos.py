"""The OpenAI shape, by plain calls: types of fields, forms and JSON, content, pages, repeats."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from minisora.generate.verbs import VERBS
from minisora.video import read_video, write_video
from tests.helpers.studio import Client, File, clip, studio
from tests.helpers.studios import tiny_bundle

FIELDS: dict[str, Any] = {
    "id": str,
    "object": str,
    "model": str,
    "status": str,
    "progress": int,
    "created_at": int,
    "completed_at": int | None,
    "expires_at": int | None,
    "prompt": str | None,
    "seconds": str,
    "size": str,
    "remixed_from_video_id": str | None,
    "error": dict | None,
    "minisora": dict,
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    model = tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")
    with studio(tmp_path_factory.mktemp("studio"), model=model) as client:
        yield client


def video_of(answer: Any) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    video: dict[str, Any] = answer.json()
    assert list(video) == list(FIELDS)
    assert all(isinstance(video[name], kind) for name, kind in FIELDS.items()), video
    assert video["status"] in ("queued", "in_progress", "completed", "failed") and 0 <= video["progress"] <= 100
    return video


def create(client: Client, **fields: Any) -> dict[str, Any]:
    return video_of(client.post("/v1/videos", form={"prompt": "a red ball", "steps": "2", "seconds": "1", **fields}))


@pytest.fixture(scope="module")
def finished(client: Client) -> dict[str, Any]:
    return client.done(create(client)["id"])


def test_a_form_and_json_make_the_same(client: Client):
    given = {"prompt": "a red ball", "seconds": "4", "size": "64x48", "seed": "3", "model": "sora-2", "steps": "2"}
    by_form, by_json = client.post("/v1/videos", form=given), client.post("/v1/videos", data={**given, "seed": 3})
    one, other = video_of(by_form), video_of(by_json)
    assert one["minisora"]["request"] == other["minisora"]["request"]
    assert one["id"] != other["id"]
    assert (one["model"], one["seconds"], one["size"], one["prompt"]) == ("sora-2", "4", "64x48", "a red ball")
    assert one["minisora"]["request"]["seconds"] == 4.0 and one["minisora"]["request"]["seed"] == 3
    assert any("sora-2" in note for note in one["minisora"]["notes"])
    assert any("64x48" in note for note in one["minisora"]["notes"])
    assert int(by_form.headers["openai-poll-after-ms"]) >= 100
    assert client.done(one["id"])["size"] == "64x48"


def test_a_finished_video_says_what_was_made(client: Client, finished: dict[str, Any]):
    assert finished["status"] == "completed" and finished["progress"] == 100 and finished["error"] is None
    assert finished["completed_at"] >= finished["created_at"] > 1.6e9
    made = finished["minisora"]["made"]
    assert finished["size"] == f"{made['width']}x{made['height']}" and made["num_frames"] == 9
    assert "openai-poll-after-ms" not in client.get(f"/v1/videos/{finished['id']}").headers


def test_the_clients_own_sizes_and_lengths_are_taken(client: Client):
    video = create(client, size="1280x720", seconds="4", model="sora-2-pro")
    assert (video["size"], video["seconds"], video["model"]) == ("1280x720", "4", "sora-2-pro")
    client.post(f"/v1/videos/{video['id']}/cancel")


def test_names_that_other_servers_use(client: Client):
    video = create(
        client,
        steps="2",
        guidance_scale="3",
        num_frames="9",
        fps="8",
        width="96",
        height="64",
        negative_prompt="blue",
        seconds=[],
    )
    request = video["minisora"]["request"]
    assert (request["steps"], request["guidance"], request["seconds"], request["size"]) == (2, 3.0, 1.0, "96x64")
    assert any("negative_prompt" in note for note in video["minisora"]["notes"])
    again = client.post(
        "/v1/videos", form={"prompt": "a ball", "num_inference_steps": "2", "extra_body": '{"seed": 5, "seconds": 1}'}
    )
    assert video_of(again)["minisora"]["request"]["seed"] == 5


def test_a_seed_is_drawn_and_said(client: Client):
    seeds = {create(client)["minisora"]["request"]["seed"] for _ in range(3)}
    assert len(seeds) == 3


@pytest.mark.parametrize("how", ["file", "data", "plain data", "id", "file_id"])
def test_an_input_reference_is_the_first_frame(client: Client, tmp_path: Path, how: str):
    picture = clip(tmp_path, 1, 32, 48, ".png")
    data = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    if how in ("id", "file_id"):
        kept = client.post("/v1/library", form={"file": File(picture, "frame.png")}).json()["id"]
        answer = client.post("/v1/videos", data={"prompt": "it moves", "input_reference": {how: kept}, "seconds": 1})
    elif how == "data":
        answer = client.post(
            "/v1/videos", form={"prompt": "it moves", "input_reference[image_url]": data, "seconds": 1}
        )
    elif how == "plain data":
        answer = client.post("/v1/videos", data={"prompt": "it moves", "input_reference": data, "seconds": 1})
    else:
        file = File(picture, "../../etc/frame.png", "text/html")
        answer = client.post("/v1/videos", form={"prompt": "it moves", "input_reference": file, "seconds": "1"})
    video = video_of(answer)
    assert video["minisora"]["verb"] == "animate"
    shown = video["minisora"]["request"]["picture"]
    assert shown["id"].startswith("upload_") and "sha256" not in shown and "/" not in shown["name"]
    item = client.get(f"/v1/library/{shown['id']}").json()
    assert (item["type"], item["width"], item["height"], item["is_upload"]) == ("image/png", 48, 32, True)
    assert client.get(f"/v1/library/{shown['id']}/content").body == picture


@pytest.mark.parametrize("how", ["file", "form id", "json id", "text id"])
def test_an_extension_and_an_edit_take_a_file_or_an_id(
    client: Client, finished: dict[str, Any], tmp_path: Path, how: str
):
    for route, seconds in (("extensions", {"seconds": "1"}), ("edits", {})):
        fields = {"prompt": "it goes on", **seconds}
        if how == "file":
            answer = client.post(f"/v1/videos/{route}", form={**fields, "video": File(clip(tmp_path), "a.mp4")})
        elif how == "form id":
            answer = client.post(f"/v1/videos/{route}", form={**fields, "video[id]": finished["id"]})
        else:
            value = {"id": finished["id"]} if how == "json id" else finished["id"]
            answer = client.post(f"/v1/videos/{route}", data={**fields, "video": value})
        video = video_of(answer)
        assert video["minisora"]["verb"] == ("extend" if seconds else "edit")
        assert float(video["seconds"]) == (2.125 if seconds else 1.125)  # of the whole
        assert video["remixed_from_video_id"] is None
        if how != "file":
            assert video["minisora"]["parent"] == finished["id"] and video["size"] == finished["size"]


def test_a_remix_names_what_it_was_made_from(client: Client, finished: dict[str, Any]):
    video = video_of(client.post(f"/v1/videos/{finished['id']}/remix", data={"prompt": "a blue ball"}))
    assert video["remixed_from_video_id"] == finished["id"] and video["prompt"] == "a blue ball"
    assert video["minisora"]["request"]["clip"]["id"] == finished["id"] and video["size"] == finished["size"]


def test_content_with_variants_ranges_and_head(client: Client, finished: dict[str, Any]):
    path = f"/v1/videos/{finished['id']}/content"
    whole = client.get(path)
    assert whole.status == 200 and whole.headers["content-type"] == "video/mp4" and whole.body[4:8] == b"ftyp"
    assert whole.headers["content-disposition"].startswith('inline; filename="a red ball.mp4"')
    part = client.get(path, headers={"Range": "bytes=4-7"})
    assert (part.status, part.body) == (206, b"ftyp")
    assert part.headers["content-range"] == f"bytes 4-7/{len(whole.body)}"
    head = client.call("HEAD", path)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(whole.body)))
    etag = whole.headers["etag"]
    assert client.get(path, headers={"If-None-Match": etag}).status == 304
    assert client.get(path, headers={"Range": "bytes=4-7", "If-Range": '"another"'}).status == 200
    beyond = client.get(path, headers={"Range": "bytes=99999999-"})
    assert beyond.status == 416 and beyond.error["type"] == "invalid_request_error"
    assert beyond.headers["content-range"] == f"bytes */{len(whole.body)}"
    for variant in ("thumbnail", "spritesheet"):
        picture = client.get(f"{path}?variant={variant}")
        assert picture.status == 200 and picture.headers["content-type"].startswith("image/"), variant
    assert client.get(f"{path}?variant=sound").error["param"] == "variant"


def test_unfinished_content_is_not_there_yet(client: Client):
    running = client.busy()
    answer = client.get(f"/v1/videos/{running}/content")
    assert (answer.status, answer.error["code"]) == (404, "video_not_ready")
    source = client.post("/v1/videos/edits", data={"prompt": "it", "video": {"id": running}})
    assert (source.status, source.error["code"]) == (400, "video_not_ready")
    client.post(f"/v1/videos/{running}/cancel")
    client.done(running)
    source = client.post("/v1/videos/edits", data={"prompt": "it", "video": {"id": running}})
    assert (source.status, source.error["code"]) == (400, "video_failed")


def test_pages_follow_each_other_without_gap(client: Client):
    made = [create(client, seed=str(n))["id"] for n in range(5)]
    seen: list[str] = []
    after = ""
    while True:
        page = client.get(f"/v1/videos?limit=2{after}").json()
        assert list(page) == ["object", "data", "has_more", "first_id", "last_id"] and page["object"] == "list"
        seen += [video["id"] for video in page["data"]]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    assert len(seen) == len(set(seen)) and seen[:5] == made[::-1]
    assert client.get("/v1/videos?order=asc&limit=100").json()["data"][-1]["id"] == made[-1]
    empty = client.get(f"/v1/videos?after={seen[-1]}").json()
    assert empty == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}
    for query in ("limit=0", "limit=101", "limit=x", "order=up", "after=video_0", f"after=video_{'0' * 32}"):
        answer = client.get(f"/v1/videos?{query}")
        assert answer.status == 400 and answer.error["param"] == query.partition("=")[0], query


def test_delete_answers_in_its_own_form_and_can_be_undone(client: Client):
    video = client.done(create(client)["id"])
    path = f"/v1/videos/{video['id']}"
    answer = client.call("DELETE", path, headers={"Content-Type": "application/json"})
    assert answer.json() == {"id": video["id"], "deleted": True, "object": "video.deleted"}
    assert client.get(path).status == client.get(f"{path}/content").status == 404
    assert client.call("DELETE", path).status == 404
    assert client.post(f"/v1/library/{video['id']}/restore").status == 200
    assert client.get(path).status == 200


def test_a_cancelled_video_reads_as_failed(client: Client):
    running = client.busy()
    client.post(f"/v1/videos/{running}/cancel")
    client.done(running)
    ended = video_of(client.get(f"/v1/videos/{running}"))
    assert ended["status"] == "failed" and ended["error"]["code"] == "cancelled"
    assert ended["minisora"]["state"] == "cancelled" and ended["completed_at"] is None


def test_a_call_that_is_repeated_makes_one_job(client: Client, tmp_path: Path):
    picture = File(clip(tmp_path, 1, 32, 48, ".png"), "a.png")
    form = {"prompt": "once", "seconds": "1", "input_reference": picture}
    first = create(client, **form)
    for count in ("1", "2"):
        assert create(client, **form) != first  # a new call, although it is equal
        again = client.post(
            "/v1/videos",
            form={"prompt": "once", "steps": "2", "seconds": "1", "input_reference": picture},
            headers={"x-stainless-retry-count": count},
        )
        assert video_of(again)["prompt"] == "once"
    ids = [video["id"] for video in client.get("/v1/videos?limit=100").json()["data"] if video["prompt"] == "once"]
    assert len(ids) == 3 and again.json()["id"] in ids
    other = client.post("/v1/videos", form={**form, "prompt": "twice"}, headers={"x-stainless-retry-count": "1"})
    assert video_of(other)["id"] not in ids


def test_an_idempotency_key_makes_one_job(client: Client):
    keyed = {"headers": {"Idempotency-Key": "key 1"}}
    one, other = (video_of(client.post("/v1/videos", form={"prompt": "keyed"}, **keyed)) for _ in range(2))
    assert one["id"] == other["id"]
    reused = client.post("/v1/videos", form={"prompt": "another"}, **keyed)
    assert (reused.status, reused.error["code"]) == (400, "idempotency_key_reused")
    twins = [{"Idempotency-Key": f"twin {n}", "x-stainless-retry-count": "1"} for n in range(2)]
    ids = [client.post("/v1/videos", form={"prompt": "twins", "seed": 1}, headers=each).json()["id"] for each in twins]
    assert ids[0] != ids[1]  # two jobs of the same fields, each tried again
    for key in ("x" * 256, "é"):
        answer = client.post("/v1/videos", form={"prompt": "x"}, headers={"Idempotency-Key": key})
        assert answer.error["code"] == "invalid_idempotency_key"


def test_characters_are_not_supported(client: Client):
    for answer in (client.post("/v1/videos/characters", form={"name": "x"}), client.get("/v1/videos/characters/c")):
        assert answer.status == 501 and answer.error["code"] == "not_supported"
        assert answer.headers["x-should-retry"] == "false"


def test_models(client: Client):
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list" and listed["data"]
    for model in listed["data"]:
        one = client.get(f"/v1/models/{model['id']}").json()
        assert isinstance(one["minisora"].pop("card"), str) and one == model  # the list has no cards
        assert model["object"] == "model" and isinstance(model["created"], int) and model["owned_by"] == "minisora"
    assert client.get("/v1/models/sora-2").error["code"] == "model_not_found"


def test_every_verb_has_a_route_and_a_description(client: Client):
    paths = client.get("/openapi.json").json()["paths"]
    described = {one["name"]: one for one in client.get("/v1/verbs").json()["data"]}
    assert set(described) == set(VERBS)
    for name in VERBS:
        body = paths[f"/v1/videos/{name}"]["post"]["requestBody"]["content"]
        assert set(described[name]["schema"]["properties"]) <= set(body["application/json"]["schema"]["properties"])


def test_a_mask_over_time_is_a_clip(client: Client, tmp_path: Path):
    """By file and by id; of a stretch of the clip, the same stretch of the mask."""
    masks = torch.zeros(9, 64, 96, 3, dtype=torch.uint8)
    masks[4:, 20:40, 30:60] = 255
    write_video(tmp_path / "mask.mkv", masks, fps=8.0)
    mask = File((tmp_path / "mask.mkv").read_bytes(), "mask.mkv")
    fields = {"clip": File(clip(tmp_path, suffix=".mkv"), "a.mkv"), "prompt": "a ball", "format": "mkv"}
    fields |= {"size": "96x64", "steps": "1"}
    whole = client.done(video_of(client.post("/v1/videos/inpaint", form={**fields, "mask": mask}))["id"])
    used = whole["minisora"]["request"]["mask"]
    assert whole["seconds"] == "1.125" and used["name"] == "mask.mkv"
    part = {**fields, "start": "0.25", "stop": "0.75", "mask[id]": used["id"], "mask[start]": "0.25"}
    cut = client.done(video_of(client.post("/v1/videos/inpaint", form={**part, "mask[stop]": "0.75"}))["id"])
    assert cut["seconds"] == "0.5"
    for video, first, stop in ((whole, 0, 9), (cut, 2, 6)):
        assert video["status"] == "completed", video["error"]
        (tmp_path / "made.mkv").write_bytes(client.get(f"/v1/videos/{video['id']}/content").body)
        made = read_video(tmp_path / "made.mkv").frames
        given, outside = torch.arange(first, stop) * 20, masks[first:stop, :, :, 0] == 0
        assert (made == given.view(-1, 1, 1, 1))[outside].all() and not (made == given.view(-1, 1, 1, 1))[
            ~outside
        ].all()
    unequal = client.done(video_of(client.post("/v1/videos/inpaint", form=part))["id"])
    assert unequal["status"] == "failed"
    assert "mask.mkv lasts 0.875 s, the clip 0.5 s. Give a mask as long as" in unequal["error"]["message"]


def test_verbs_take_files_ids_and_stretches(client: Client, finished: dict[str, Any], tmp_path: Path):
    movie, still = File(clip(tmp_path), "a.mp4"), File(clip(tmp_path, 1, 32, 48, ".png"), "b.png")
    calls: dict[str, dict[str, Any]] = {
        "generate": {"prompt": "a ball", "seconds": "1", "candidates": "1"},
        "image": {"prompt": "a ball", "format": "png"},
        "animate": {
            "picture": still,
            "prompt": "a ball",
            "at[0.5]": still,
            "at[1][id]": finished["id"],
            "seconds": "1",
        },
        "extend": {"clip": movie, "prompt": "a ball", "before": "0.5", "start": "0.25", "stop": "0.75"},
        "connect": {"one[id]": finished["id"], "one[stop]": "0.5", "other": movie, "prompt": "a ball", "seconds": "1"},
        "loop": {"prompt": "a ball", "seconds": "1"},
        "edit": {"clip[file]": movie, "clip[start]": "0.5", "prompt": "a ball", "strength": "0.5"},
        "inpaint": {"clip": movie, "prompt": "a ball", "mask": still},
        "outpaint": {"clip": movie, "prompt": "a ball", "to": "128x96"},
        "interpolate": {"clip": movie, "prompt": "a ball"},
        "storyboard": {"board": '{"shots": [{"prompt": "a ball", "seconds": 1, "same_scene": false}]}'},
        "reverse": {"clip": movie, "format": "webm"},
    }
    assert set(calls) == set(VERBS)
    for verb, fields in calls.items():
        video = video_of(client.post(f"/v1/videos/{verb}", form=fields))
        assert video["minisora"]["verb"] == verb
    extended = video_of(client.post("/v1/videos/extend", form=calls["extend"]))
    assert extended["minisora"]["request"]["clip"] | {"id": "", "name": ""} == {
        "id": "",
        "name": "",
        "start": 0.25,
        "stop": 0.75,
    }
    assert extended["seconds"] == "1"
    board = {"shots": [{"prompt": "a ball", "seconds": 1, "keyframes": {"0": {"id": finished["id"]}}}]}
    film = video_of(client.post("/v1/videos/storyboard", data={"board": board}))
    assert film["prompt"] == "a ball"
    kept = film["minisora"]["request"]
    again = client.post("/v1/videos/storyboard", data={k: v for k, v in kept.items() if v is not None})
    assert video_of(again)["minisora"]["request"] == kept
