"""Devices for training: memory, FLOP/s and links of each, from its vendor's data sheet.

FLOP/s are for dense bf16 products with float32 sums; NVIDIA prints twice as much, for sparse ones.
Bandwidths are of one direction, half of the printed figure for links.

Here: the table, and measuring this machine. Not here: estimates from it (layouts.py).
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, replace

import torch

from minisora.device import default_device, has_fast_bf16, keep_freed_memory, machine_bytes, matmul_peak
from minisora.errors import UsageError

GB, TERA = 1e9, 1e12


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device of a node, in bytes, FLOP/s and bytes/s."""

    name: str
    memory: float
    flops: float
    bandwidth: float  # of its memory
    link: float  # to the others of its node
    network: float  # its share of what leads out of the node
    per_node: int = 8


# NVIDIA data sheets of the H100, H200, A100 (SXM), L40S and B200 (DGX); Ada architecture white
# paper, appendix A, for the RTX 4090; AMD data sheet of the MI300X. Networks: one adapter a device,
# as in the vendors' own machines of eight (DGX A100, H100, B200; MI300X platform); the two without
# an own link have PCIe 4.0 x16 and share 100 Gbit/s.
DEVICES = {
    device.name: device
    for device in (
        Device(name="A100-40", memory=40 * GB, flops=312 * TERA, bandwidth=1555 * GB, link=300 * GB, network=25 * GB),
        Device(name="A100-80", memory=80 * GB, flops=312 * TERA, bandwidth=2039 * GB, link=300 * GB, network=25 * GB),
        Device(name="H100", memory=80 * GB, flops=989 * TERA, bandwidth=3350 * GB, link=450 * GB, network=50 * GB),
        Device(name="H200", memory=141 * GB, flops=989 * TERA, bandwidth=4800 * GB, link=450 * GB, network=50 * GB),
        Device(name="B200", memory=180 * GB, flops=2250 * TERA, bandwidth=8000 * GB, link=900 * GB, network=50 * GB),
        Device(name="MI300X", memory=192 * GB, flops=1307 * TERA, bandwidth=5300 * GB, link=448 * GB, network=50 * GB),
        Device(name="L40S", memory=48 * GB, flops=362 * TERA, bandwidth=864 * GB, link=32 * GB, network=1.6 * GB),
        Device(name="RTX4090", memory=24 * GB, flops=165 * TERA, bandwidth=1008 * GB, link=32 * GB, network=1.6 * GB),
    )
}
HERE = "cpu"


def devices_named(text: str) -> tuple[int, Device]:
    """Parse "8xH100" into a count and a device.

    "cpu" is this machine, measured now; "4xcpu" are processes on it.
    """
    match = re.fullmatch(r"(?:(\d{1,6})\s*[xX×]\s*)?(.+)", text.strip())
    count, name = (int(match[1] or 1), match[2]) if match else (0, text)
    found = {_plain(known): device for known, device in DEVICES.items()}.get(_plain(name))
    if found is None and _plain(name) == HERE:
        found = this_machine()
        if found.name == HERE and count > 1:
            rates = {name: getattr(found, name) / count for name in ("memory", "flops", "bandwidth", "link")}
            found = replace(found, **rates, per_node=count)
    if found is None or count < 1:
        raise UsageError(
            f"--gpus {text}: give a number and a device, such as 8xH100. There are: {', '.join(DEVICES)}, and {HERE} "
            f"for this machine, which is measured."
        )
    return count, found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def this_machine() -> Device:
    """Measure the device that training would use on this machine."""
    keep_freed_memory()
    device = default_device()
    bf16 = has_fast_bf16(device)
    block = torch.zeros(2**24, device=device)
    rates = []
    for _ in range(4):
        began = time.perf_counter()
        float(block.clone()[0])  # waits for the device
        rates.append(2 * block.numel() * block.element_size() / (time.perf_counter() - began))
    memory = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else machine_bytes()
    return Device(
        name=HERE if device.type == "cpu" else torch.cuda.get_device_name(device) if device.type == "cuda" else "mps",
        memory=float(memory),
        flops=matmul_peak(device, torch.bfloat16 if bf16 else torch.float32),
        bandwidth=max(rates),
        link=max(rates) / 2,
        network=1.25 * GB,  # ten gigabit a second
        per_node=max(1, torch.cuda.device_count()) if device.type == "cuda" else os.cpu_count() or 1,
    )
