"""POST /v1/expand: proposals for the page."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minisora.text.expand import expand
from minisora.text.playroom.complete import Gaps
from tests.helpers.studio import Client, studio
from tests.helpers.studios import tiny_bundle


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("expanding")
    model = tiny_bundle(folder / "tiny", trained={"captioner": "playroom", "world": 2})
    with studio(folder / "studio", model=model) as found:
        yield found


def test_a_proposal_is_what_the_library_makes(client: Client):
    found = client.post("/v1/expand", data={"prompt": "red ball rolls left", "seed": 3}).json()
    made = expand("red ball rolls left", seed=3)
    assert found["prompt"] == made.prompt and found["typed"] == "red ball rolls left"
    assert found["source"] == "grammar" and found["added"] == list(made.added)


@pytest.mark.parametrize("given", [{"verb": "animate"}, {"verb": "loop", "given": True}])
def test_where_a_scene_is_given_nothing_is_added(client: Client, given: dict[str, object]):
    found = client.post("/v1/expand", data={"prompt": "red ball rolls left", **given}).json()
    assert found["prompt"] == expand("red ball rolls left", gaps=Gaps(fill=False)).prompt


def test_parts_are_expanded_each(client: Client):
    found = client.post("/v1/expand", data={"prompt": "0-2s: red ball rolls left | 2s-: it bounces"}).json()
    first, second = found["prompt"].split(" | ")
    assert first.startswith("0-2: ") and second.startswith("2-: ") and "red ball" in second


def test_a_prompt_that_stays_says_why(client: Client):
    found = client.post("/v1/expand", data={"prompt": "a fox"}).json()
    assert found["prompt"] == "a fox" and found["source"] == "" and "fox" in found["reason"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"prompt": ""}, "empty"),
        ({"prompt": "x" * 4001}, "prompt"),
        ({"prompt": "a ball", "verb": "fly"}, "verb"),
        ({"prompt": "a ball", "seed": -1}, "seed"),
        ({"prompt": "a ball", "how": "http://x"}, "how"),
        ({}, "prompt"),
    ],
)
def test_bad_input(client: Client, data: dict[str, object], said: str):
    answer = client.post("/v1/expand", data=data)
    assert answer.status == 400 and said in answer.error["message"]


def test_another_world_is_refused(tmp_path: Path):
    with studio(tmp_path / "studio") as plain:
        answer = plain.post("/v1/expand", data={"prompt": "red ball"})
        assert answer.status == 400 and answer.error["code"] == "not_expandable"


def test_the_server_answers_meanwhile(client: Client):
    thread = threading.Thread(target=client.post, args=("/v1/expand",), kwargs={"data": {"prompt": "rde ball " * 400}})
    thread.start()
    answered = 0
    while thread.is_alive():
        assert client.get("/healthz").status == 204
        answered += 1
        time.sleep(0.001)
    assert answered


def test_the_route_does_not_import_torch():
    import subprocess

    code = "import sys, minisora.studio.api.expand; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
