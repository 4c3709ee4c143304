"""What it was measured on."""

import os
import re
from pathlib import Path

import torch

from vae_lab.storage.provenance import commit, versions


def machine() -> str:
    """Processor, cores, memory, GPU if any, versions and commit, in one line."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    told = [
        model[1] if model else "processor unknown",
        f"{len(os.sched_getaffinity(0))} cores",
        f"{pages / 2**30:.0f} GiB",
        *([torch.cuda.get_device_name()] if torch.cuda.is_available() else []),
        *(f"{name} {version}" for name, version in versions().items()),
        f"commit {commit()}",
    ]
    return ", ".join(told)
