"""Where to knock first: addresses that an operator gave, the roster's seeds, and those that worked before."""

from __future__ import annotations

from collections.abc import Sequence

from client.home import Home
from core.durable import read_file, write_file
from core.errors import HomeError
from core.ports import Address, Disk

# One address a line, `#` begins a comment: an operator's own list.
BOOTSTRAP_FILE = "bootstrap"
# Where this home's own daemon listens, when it is a peer's: commands in its home ask it first.
OWN_FILE = "state/address"
# Those that answered, written by us after each successful look round.
KNOWN_FILE = "state/addresses"
FILE_MAX_BYTES = 256 * 1024
ADDRESSES_MAX = 1000


def parse_address(text: str) -> Address:
    """``host:port`` or ``[v6]:port``. Raises HomeError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise HomeError(f"{text!r} is not an address: write HOST:PORT")
    return Address(host, int(port))


def parse_addresses(data: bytes) -> list[Address]:
    """Raises HomeError for a line that is no address."""
    lines = (line.partition("#")[0].strip() for line in data.decode("utf-8", "replace").splitlines())
    return [parse_address(line) for line in lines if line]


def first_addresses(disk: Disk, home: Home) -> list[Address]:
    """Operator's, then our own daemon's, then remembered, then the roster's; each once. Blocks."""
    found: list[Address] = []
    for name in (BOOTSTRAP_FILE, OWN_FILE, KNOWN_FILE):
        data = read_file(disk, home.path(name), max_bytes=FILE_MAX_BYTES)
        if data is not None:
            found += parse_addresses(data)
    found += home.roster.seeds
    return list(dict.fromkeys(found))[:ADDRESSES_MAX]


def remember_addresses(disk: Disk, home: Home, addresses: Sequence[Address], token: str) -> None:
    """Keep ``addresses`` for the next start. Blocks; raises OSError."""
    text = "".join(f"{address}\n" for address in addresses[:ADDRESSES_MAX])
    path = home.path(KNOWN_FILE)
    if read_file(disk, path, max_bytes=FILE_MAX_BYTES) != text.encode():
        write_file(disk, path, text.encode(), token=token)
