"""A command in a test: by a tiny model of random weights, in a folder of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from typer.testing import CliRunner

import minisora
from minisora.bundle import Bundle
from minisora.cli import app
from minisora.errors import UsageError
from minisora.generate.model import Model
from minisora.generate.plan import Work
from minisora.generate.request import Request


class Listening:
    """A model as small as it gets, and what it was asked for."""

    def __init__(self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        how = replace(bundle.sampling, size=(32, 32), steps=2, window=5)
        self.model = Model(replace(bundle, sampling=how, digest="abcd"))
        self.asked: list[Request] = []
        plan = Work.of

        def of(bundle, request, *others):
            self.asked.append(request)
            return plan(bundle, request, *others)

        monkeypatch.setattr(Work, "of", of)

    def last(self) -> Request:
        return self.asked[-1]


@pytest.fixture
def model(bundle, monkeypatch) -> Listening:
    listening = Listening(bundle, monkeypatch)

    def load(name="toybox", device=None, upscale=None):
        if name not in ("toybox", "tiny"):
            raise UsageError(f"there is no model {name!r}. There are: toybox.")
        return listening.model

    monkeypatch.setattr(minisora, "load", load, raising=False)
    return listening


@pytest.fixture
def no_model(monkeypatch) -> None:
    def load(name="toybox", device=None, upscale=None):
        raise AssertionError("the model was loaded for nothing")

    monkeypatch.setattr(minisora, "load", load, raising=False)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str):
    return CliRunner().invoke(app, list(words))


def refused(*words: str) -> str:
    """The one line that the command gave."""
    result = run(*words)
    assert result.exit_code == 2, (result.output, result.exception)
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    assert result.stdout == ""
    return lines[0]
