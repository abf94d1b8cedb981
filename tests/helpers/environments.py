"""Environments of their own for packages that are not to be installed next to ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python_with(name: str, *requirements: str) -> Path:
    """Python of an environment with packages, made once in .cache/tests. name: of its folder"""
    folder = ROOT / ".cache" / "tests" / name
    program, ready = folder / "bin" / "python", folder / "ready"
    wanted = "\n".join(requirements)
    if not (ready.is_file() and ready.read_text() == wanted):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        quiet = ["--disable-pip-version-check", "--quiet"]
        subprocess.run([program, "-m", "pip", "install", *quiet, *requirements], check=True)
        ready.write_text(wanted)
    return program
