"""What a benchmark ran on: figures of different machines or versions are not to be compared."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from erasure.codec import kernel_name

HERE = Path(__file__).resolve().parent
LIBRARIES = ("blake3", "cryptography", "trio", "zfec")


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def describe_machine() -> dict[str, object]:
    """``load_before`` tells of others who were at work."""
    processors = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in processors if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def describe_software(others: Mapping[str, str]) -> dict[str, str]:
    """moorage, what it is built on, and ``others``: what it is compared with, by name."""
    git = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    libraries = {name: version(name) for name in LIBRARIES}
    return {"moorage": version("moorage"), "commit": commit, "kernel": kernel_name(), **libraries, **others}
