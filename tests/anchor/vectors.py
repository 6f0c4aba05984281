"""Where the ledger's public vectors lie (tests/vectors/ledger/README.md says whose they are)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "ledger"
TESSERA = VECTORS / "tessera-log"
TESSERA_ORIGIN = "example.com/log/testdata"
TESSERA_VKEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
TESSERA_ENTRIES = tuple(b"one two three four five six seven eit nain ten ileven twelf threeten fourten fivten".split())


def tessera_key() -> Ed25519PrivateKey:
    """The published test key: its text form carries the signature type before the seed."""
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode("AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg")[1:])


def load_json(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def reader(folder: Path) -> Any:
    """A ``tiles.ReadFile`` over a folder."""

    def read(path: str) -> bytes | None:
        file = folder / path
        return file.read_bytes() if file.is_file() else None

    return read
