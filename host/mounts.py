"""On what kind of file system a folder lies, as Linux tells it (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import re

_MOUNTS = "/proc/self/mountinfo"
_ESCAPE = re.compile(r"\\([0-7]{3})")


def file_system_of(path: str) -> str:
    """The type of the file system that ``path`` is on; empty where the system does not say."""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            return find_type(file.read(), os.path.realpath(path))
    except OSError:
        return ""


def find_type(mounts: str, path: str) -> str:
    """The type of the last mount whose point is ``path`` or the nearest folder above it."""
    best, found = -1, ""
    for line in mounts.splitlines():
        fields, dash, rest = line.partition(" - ")
        words = fields.split(" ")
        if not dash or len(words) < 5:
            continue
        point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), words[4])
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= best:
            best, found = len(point), rest.split(" ")[0]
    return found
