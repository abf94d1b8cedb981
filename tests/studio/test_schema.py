"""The OpenAPI document: calls that schemathesis makes from it give no 5xx, and none hangs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from minisora.studio.api.settings import BodyBounds, Settings, UploadBounds
from minisora.studio.dispatch import Limits
from tests.helpers.environments import python_with
from tests.helpers.studio import add_tokens, left, studio


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_schemathesis_finds_no_error_of_ours(tmp_path: Path):
    python = python_with("schemathesis", "schemathesis>=4,<5")
    secret = add_tokens(tmp_path, fuzz={"is_admin": True})["fuzz"]
    settings = Settings(needs_token=True, upload=UploadBounds(decode_seconds=20.0), body=BodyBounds(idle_seconds=5.0))
    with studio(tmp_path, settings, Limits(waiting=20)) as client:
        words = [
            *(python.parent / "schemathesis", "run", f"http://127.0.0.1:{client.port}/openapi.json"),
            *("-H", f"Authorization: Bearer {secret}", "--checks", "not_a_server_error", "--max-examples", "15"),
            *("--phases", "examples,coverage,fuzzing", "--request-timeout", "120", "--seed", "1", "--no-color"),
            *("--exclude-path-regex", "characters|logout", "--workers", "2", "--generation-database", "none"),
        ]
        plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(words, capture_output=True, text=True, timeout=1400, env=plain, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert client.with_token(secret).get("/v1/models").status == 200
    assert not [name for name in left(tmp_path) if name.startswith("incoming/")]


def test_every_operation_says_what_it_takes_and_gives(tmp_path: Path):
    with studio(tmp_path) as client:
        document = client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["description"], (method, path)
            assert {"200", "204", "501"} & set(operation["responses"]), (method, path)
            if method in ("post", "patch") and not path.endswith(
                ("cancel", "pause", "resume", "logout", "restore", "characters")
            ):
                assert operation["requestBody"]["content"], (method, path)
