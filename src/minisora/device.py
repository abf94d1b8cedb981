"""Device, threads, precision and memory of this machine."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from typing import Any

import torch

from minisora.errors import UsageError

BF16_CPU_FLAGS = {"amx_bf16", "avx512_bf16"}


def default_device() -> torch.device:
    """CUDA, else MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def use_affinity_threads() -> int:
    """Set torch's threads to the cores of this process: a container may have few of the machine's.

    returns  the number of threads; OMP_NUM_THREADS, if set, is kept
    """
    if "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(cores)
    return torch.get_num_threads()


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
MALLOC_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Keep freed memory in this process: a training step allocates the same tensors every time.

    Otherwise the system takes back every large one, and hands it out again page by page, which
    costs a tenth of a step's time.

    returns  True if set; False without glibc, or if the environment sets malloc already
    """
    if any(name in os.environ for name in MALLOC_SETTINGS):
        return False
    mallopt = _of_glibc("mallopt")
    return mallopt is not None and all(mallopt(name, 2**30) == 1 for name in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))


def give_back_freed_memory() -> None:
    """Return freed memory to the system: steps of unequal sizes leave holes that add up."""
    if malloc_trim := _of_glibc("malloc_trim"):
        malloc_trim(0)


def _of_glibc(name: str) -> Any:
    """A function of glibc; None with another C library."""
    try:
        return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    except OSError:
        return None


def has_fast_bf16(device: torch.device) -> bool:
    """True if bfloat16 matmuls are faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(flag, False) for flag in BF16_CPU_FLAGS)


def working_dtype(device: torch.device) -> torch.dtype:
    """In which models run there: bfloat16 where it is fast, else float32."""
    return torch.bfloat16 if has_fast_bf16(device) else torch.float32


def matmul_peak(device: torch.device, dtype: torch.dtype, *, sizes: tuple[int, ...] = (1024, 2048)) -> float:
    """Measure the best FLOP/s of a square matmul on this machine: the peak that MFU refers to."""
    best, many = 0.0, 1
    if device.type == "cuda":  # a small matmul takes less time than synchronizing
        sizes, many = (*sizes, 4096, 8192), 10
    for size in sizes:
        a, b = torch.randn(2, size, size, device=device).to(dtype)
        for _ in range(4):
            start = time.perf_counter()
            for _ in range(many):
                c = a @ b
            float(c[0, 0])  # waits for the device
            best = max(best, many * 2 * size**3 / (time.perf_counter() - start))
    return best


def peak_memory_bytes(device: torch.device | None = None) -> int:
    """Peak memory of this process in bytes, on the GPU if `device` is one; 0 if unknown."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


MOST_BYTES_SHARE = 0.9  # of the machine's memory that one video may need


def usable_bytes() -> int:
    """Memory that one video may use, in bytes: MOST_BYTES_SHARE of the machine's."""
    return int(MOST_BYTES_SHARE * (machine_bytes() or 64 * 2**30))  # Windows does not report it


def check_memory(needed: int, asked: str, instead: str = "Ask for fewer seconds or a smaller size.") -> None:
    """Raise UsageError if `asked`, described in words, needs more bytes than `usable_bytes`."""
    if needed > usable_bytes():
        present = usable_bytes() / MOST_BYTES_SHARE
        asks, has = (f"{size / 2**30:,.0f}" if size < 2**50 else f"{size / 2**30:.0e}" for size in (needed, present))
        raise UsageError(f"{asked} would need {asks} GiB of memory and this machine has {has}. {instead}")


def machine_bytes() -> int:
    """Memory of this machine or container in bytes; 0 if the system does not report it."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
    try:
        with open("/sys/fs/cgroup/memory.max") as file:
            limit = file.read().strip()
    except OSError:
        return whole
    return min(whole, int(limit)) if limit.isdigit() else whole
