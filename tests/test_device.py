from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from minisora.device import (
    has_fast_bf16,
    machine_bytes,
    matmul_peak,
    peak_memory_bytes,
    use_affinity_threads,
    working_dtype,
)

CPU = torch.device("cpu")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_threads_follow_the_affinity():
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from minisora.device import use_affinity_threads
print(use_affinity_threads())
"""
    free = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=free)
    assert ran.stdout.strip() == "1"


def test_threads_that_were_asked_for_stay(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", str(before))
    assert use_affinity_threads() == before == torch.get_num_threads()


def test_bf16_is_told_by_the_cpu(monkeypatch):
    for flag, fast in (("amx_bf16", True), ("avx512_bf16", True), ("avx2", False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flag=flag: {flag: True})
        assert has_fast_bf16(CPU) is fast and working_dtype(CPU) == (torch.bfloat16 if fast else torch.float32)
    assert not has_fast_bf16(torch.device("mps"))


def test_the_peak_is_a_rate():
    """One core of any machine does between 0.1 GFLOP/s and 100 TFLOP/s."""
    assert 1e8 < matmul_peak(CPU, torch.float32, sizes=(128,)) < 1e14


def test_memory_is_counted_in_bytes():
    before = peak_memory_bytes()
    torch.ones(64 * 2**20, dtype=torch.uint8).sum()
    assert 10 * 2**20 < before <= peak_memory_bytes() <= machine_bytes()


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_kept():
    """Steps that each make six tensors of 16 MiB soon ask the system for no new pages."""
    code = """
import resource, torch
from minisora.device import keep_freed_memory
assert keep_freed_memory()
for step in range(16):
    before, x = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, torch.ones(4 * 2**20)
    for _ in range(6):
        x = torch.relu(x * 1.01 + 0.1)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    del x
print(faults)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 100
    told = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
    asked = "from minisora.device import keep_freed_memory; print(keep_freed_memory())"
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, env=told)
    assert ran.stdout == "False\n", "theirs is overruled"


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_given_back_when_asked():
    """Every other one of 256 tensors of 1 MiB is freed: holes, returned as whole pages."""
    code = """
import torch
from minisora.device import give_back_freed_memory, keep_freed_memory
keep_freed_memory()
held = lambda: int(open("/proc/self/statm").read().split()[1]) // 256
tensors = [torch.ones(2**18) for _ in range(256)]
tensors = tensors[::2]
before = held()
give_back_freed_memory()
print(before - held())
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) > 100
