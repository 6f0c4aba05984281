"""The state in which a machine's memory is measured: in use, as after some days, not untouched as after its start."""

from __future__ import annotations

from pathlib import Path

from benchmarks.figures import MIB

# The rest stays free, as the kernel keeps some.
FILLED = 0.95
READ_BYTES = 8 * MIB


def unused_bytes() -> int:
    """Memory that holds nothing (proc(5), /proc/meminfo); 0 where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemFree:")), 0)


def fill_page_cache(folder: Path) -> int:
    """Read an empty file as large as the unused memory, which is never written; how many bytes.

    On a virtual machine whose host backs memory when it is first touched, that costs ten times as much as to write
    there, and which system pays for it would be a matter of who comes first. Now what is needed comes from the page
    cache, for every system, as on any machine that has run for some days.
    """
    size_bytes = int(unused_bytes() * FILLED)
    path = folder / "page-cache"
    with path.open("wb") as file:
        file.truncate(size_bytes)
    room = bytearray(READ_BYTES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(room):
            pass
    return size_bytes
