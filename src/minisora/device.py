"""Which device, how many threads, which precision: found out once, said in the log."""

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
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def use_affinity_threads() -> int:
    """As many threads as the process may run on; a container's share is often less than the machine has."""
    if "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(cores)
    return torch.get_num_threads()


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
MALLOC_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees: a training step asks for the same tensors every time.

    Else the system takes back every large one, and hands it out anew page by page: a tenth of a step's time.

    returns  whether it is so now; only glibc can be told, and who has told it by the environment keeps his settings
    """
    if any(name in os.environ for name in MALLOC_SETTINGS):
        return False
    mallopt = _of_glibc("mallopt")
    return mallopt is not None and all(mallopt(name, 2**30) == 1 for name in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))


def give_back_freed_memory() -> None:
    """Now and then: steps of unequal sizes leave holes between what they keep, and these add up."""
    if malloc_trim := _of_glibc("malloc_trim"):
        malloc_trim(0)


def _of_glibc(name: str) -> Any:
    """A function of the C library; None where that is another one."""
    try:
        return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    except OSError:
        return None


def has_fast_bf16(device: torch.device) -> bool:
    """True where bfloat16 matmuls are faster than float32 ones."""
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
    """Best FLOP/s of a square matmul on this machine now: the peak that MFU is a share of."""
    best, many = 0.0, 1
    if device.type == "cuda":  # where a small matmul takes less time than waiting for it
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
    """Most memory that this process has held so far, of a GPU if `device` is one; 0 where the system does not tell."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


MOST_BYTES_SHARE = 0.9  # of the machine's memory that one video may need


def usable_bytes() -> int:
    """Of this machine's memory, as much as one video may need."""
    return int(MOST_BYTES_SHARE * (machine_bytes() or 64 * 2**30))  # Windows does not say


def check_memory(needed: int, asked: str, instead: str = "Ask for fewer seconds or a smaller size.") -> None:
    """Raises UsageError where `asked`, in words, needs more bytes than this machine may give it."""
    if needed > usable_bytes():
        present = usable_bytes() / MOST_BYTES_SHARE
        asks, has = (f"{size / 2**30:,.0f}" if size < 2**50 else f"{size / 2**30:.0e}" for size in (needed, present))
        raise UsageError(f"{asked} would need {asks} GiB of memory and this machine has {has}. {instead}")


def machine_bytes() -> int:
    """Memory of this machine, or of the container's share; 0 where the system does not tell."""
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
