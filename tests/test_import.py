from __future__ import annotations

import subprocess
import sys

import pytest

CHILD = """
import sys, time
began = time.perf_counter()
import minisora
seconds = time.perf_counter() - began
names = ("torch", "numpy", "av", "PIL", "transformers", "typer", "rich", "jinja2", "pydantic")
heavy = [name for name in names if name in sys.modules]
print(seconds, *heavy)
print(*sorted(dir(minisora)))
"""


def test_importing_costs_nothing():
    runs = [
        subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout.splitlines()
        for _ in range(3)
    ]
    seconds = [float(lines[0].split()[0]) for lines in runs]
    assert all(len(lines[0].split()) == 1 for lines in runs), runs[0][0]
    assert min(seconds) < 0.2


def test_names_come_when_asked_for():
    import minisora

    for name in minisora.__all__:
        assert getattr(minisora, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = minisora.nothing_such
