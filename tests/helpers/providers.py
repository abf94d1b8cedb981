"""Two studios, one of which is the other's provider, as processes that can be killed.

python -m tests.helpers.providers FOLDER PORT MODEL MODERATOR   serves until it is killed
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from minisora.studio.api.settings import Settings as Interface
from minisora.studio.server import Settings, serve
from minisora.studio.settings_file import read
from tests.helpers.environments import ROOT
from tests.helpers.studio import Client


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A studio in a process.

    settings:  lines of its settings file
    moderator: in a module of its folder
    """

    def __init__(self, folder: Path, model: Path, settings: str = "", moderator: str = "") -> None:
        self.folder, self.port, self._model, self._moderator = folder, free_port(), model, moderator
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        (folder / "studio.toml").write_text(settings)
        self.client = Client(self.port)

    def start(self) -> Client:
        words = [sys.executable, "-m", "tests.helpers.providers", self.folder, str(self.port), self._model]
        paths = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*words, self._moderator], cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": paths}
            )
        while True:
            assert self._process.poll() is None, self.log
            try:
                if self.client.get("/healthz").status == 204:
                    return self.client
            except OSError:
                time.sleep(0.1)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


if __name__ == "__main__":
    folder, port, model, moderator = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    file = read(None, folder)
    settings = Settings(folder=folder, models=(model,), providers=file.providers, moderation=moderator)
    interface = Interface(needs_token=False, webhooks=file.webhooks.allow)
    serve(settings, interface, host="127.0.0.1", port=port)
