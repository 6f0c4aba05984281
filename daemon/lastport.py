"""Where a daemon listened last time."""

from __future__ import annotations

from core.ports import Disk


def read_port(disk: Disk, path: str) -> int:
    """The port in the file; 0 when none can be read."""
    try:
        with disk.open(path, "read") as file:
            text = file.read_at(0, 16).decode("ascii", "replace").strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() and int(text) < 65536 else 0
