"""The version of this software, which ``--version`` and the greeting between peers tell."""

from __future__ import annotations

VERSION = "0.1.0"
