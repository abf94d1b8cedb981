"""A program that calls a studio with the openai package, in whatever environment it is run.

    python openai_client.py ADDRESS TOKEN FOLDER

FOLDER has frame.png and clip.mp4. Prints, as JSON, the plain fields of every object that came.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import openai
from openai import OpenAI

address, token, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
client = OpenAI(base_url=address, api_key=token, max_retries=0)
videos = client.videos
has_edits = hasattr(videos, "edit")  # from 2.54 on, or a little before
SMALL: dict[str, Any] = {"model": "sora-2", "seconds": "1", "size": "96x64", "extra_body": {"steps": 2}}
LONG: dict[str, Any] = {**SMALL, "seconds": "60", "extra_body": {"steps": 1000}}
found: dict[str, Any] = {"version": openai.__version__, "has_edits": has_edits, "videos": []}


def kept(video: Any) -> Any:
    found["videos"].append(video.model_dump())
    return video


def error_of(call: Any) -> dict[str, Any]:
    try:
        call()
    except openai.APIStatusError as error:
        about = {"class": type(error).__name__, "status": error.status_code, "code": error.code, "param": error.param}
        return {**about, "type": error.type, "message": error.message, "request_id": error.request_id}
    raise AssertionError("it was not refused")


def pages() -> None:
    made = [kept(videos.create(prompt=f"page {n}", **SMALL)).id for n in range(5)]
    for video_id in made:
        assert videos.poll(video_id).status == "completed"
    listed = [video.id for video in videos.list(limit=2)]
    found["pages"] = {"made": made[::-1], "listed": listed[:5], "all": len(listed), "distinct": len(set(listed))}
    first = videos.list(limit=2, order="asc")
    found["ascending"] = [first.data[0].id, first.has_more, first.get_next_page().data[0].id]


def finished() -> str:
    created = kept(videos.create(prompt="a red ball", **SMALL))
    assert created.status in ("queued", "in_progress"), created
    done = kept(videos.create_and_poll(prompt="a red ball rolls", **SMALL))
    assert done.status == "completed" and done.progress == 100, done
    found["variants"] = {}
    for variant in ("video", "thumbnail", "spritesheet"):
        content = videos.download_content(done.id, variant=variant)
        content.write_to_file(folder / variant)
        found["variants"][variant] = (folder / variant).read_bytes()[:12].hex()
    with videos.with_streaming_response.download_content(done.id) as streamed:
        assert b"".join(streamed.iter_bytes()) == (folder / "video").read_bytes()
    return str(done.id)


def changed(source: str) -> None:
    remixed = kept(videos.remix(source, prompt="a blue ball"))
    assert videos.poll(remixed.id).status == "completed"
    animated = kept(videos.create(prompt="it moves", input_reference=(folder / "frame.png").open("rb"), **SMALL))
    raw = kept(videos.create(prompt="it moves", input_reference=(folder / "frame.png").read_bytes(), **SMALL))
    assert videos.poll(animated.id).status == videos.poll(raw.id).status == "completed"
    if has_edits:
        extra = {"extra_body": {"steps": 2}}
        with (folder / "clip.mp4").open("rb") as clip:
            kept(videos.edit(prompt="of a file", video=clip, **extra))
        with (folder / "clip.mp4").open("rb") as clip:
            extended = kept(videos.extend(prompt="of a file", seconds="1", video=clip, **extra))
        assert videos.poll(extended.id).status == "completed"
    for route, more in (("edits", {}), ("extensions", {"seconds": "1"})):  # what its users do for ids
        body = {"prompt": "of an id", "video": {"id": source}, "steps": 2, **more}
        video = client.post(f"/videos/{route}", body=body, cast_to=type(remixed))
        assert videos.poll(kept(video).id).status == "completed"


def ended() -> None:
    long = videos.create(prompt="long", **LONG)
    client.post(f"/videos/{long.id}/cancel", cast_to=object)
    found["cancelled"] = kept(videos.poll(long.id)).model_dump()
    deleted = videos.delete(long.id)
    found["deleted"] = deleted.model_dump()


def errors(source: str) -> None:
    wrong = OpenAI(base_url=address, api_key="sk-wrong-wrong", max_retries=0)
    found["errors"] = {
        "value": error_of(lambda: videos.create(prompt="x", seconds="-4")),
        "field": error_of(lambda: videos.create(prompt="x", extra_body={"sed": 4})),
        "file": error_of(lambda: videos.create(prompt="x", input_reference=b"no picture")),
        "missing": error_of(lambda: videos.retrieve("video_" + "0" * 32)),
        "traversal": error_of(lambda: videos.retrieve("../x")),
        "token": error_of(lambda: wrong.videos.list()),
        "not allowed": error_of(lambda: client.get("/tokens", cast_to=object)),
    }
    busy = videos.create(prompt="long", **LONG)
    while videos.retrieve(busy.id).status != "in_progress":
        time.sleep(0.1)
    paused = videos.create(prompt="x", **SMALL)
    client.post(f"/videos/{paused.id}/pause", cast_to=object)
    found["errors"]["content"] = error_of(lambda: videos.download_content(busy.id))
    found["errors"]["state"] = error_of(lambda: client.post(f"/videos/{paused.id}/pause", cast_to=object))
    found["errors"]["quota"] = error_of(lambda: [videos.create(prompt="x", **SMALL) for _ in range(20)])
    videos.delete(busy.id)
    if has_edits:
        found["errors"]["characters"] = error_of(lambda: videos.get_character("c"))


source_id = finished()
pages()
changed(source_id)
ended()
errors(source_id)
print(json.dumps(found))
