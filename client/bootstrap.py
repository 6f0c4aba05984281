"""Where to knock first: addresses that an operator gave, the roster's seeds, and those that worked before."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

from client.home import WORKSHOP_FOLDER, Home
from core.durable import read_file, write_file_in_workshop
from core.errors import HomeError, MalformedIdError
from core.ids import PeerId
from core.ports import Address, Disk

# One address a line, `#` begins a comment: an operator's own list.
BOOTSTRAP_FILE = "bootstrap"
# Where this home's own daemon listens, when it is a peer's: commands in its home ask it first.
OWN_FILE = "state/address"
# Those that answered, with the peer's id as a comment, written by us after each successful look round.
KNOWN_FILE = "state/addresses"
FILE_MAX_BYTES = 512 * 1024
ADDRESSES_MAX = 1000
# Colons only in brackets, as in a URL, so that the port is never a part of the host.
_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:#/@\[\]]+)):(?P<port>[0-9]{1,5})")


def parse_address(text: str) -> Address:
    """``host:port`` or ``[v6]:port``. Raises HomeError."""
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise HomeError(f"{text!r} is not an address: write HOST:PORT or [IPV6]:PORT")
    return Address(match["v6"] or match["host"], int(match["port"]))


def _lines(data: bytes) -> Iterator[str]:
    for line in data.decode("utf-8", "replace").splitlines():
        text = line.partition("#")[0].strip()
        if text:
            yield text


def parse_addresses(data: bytes) -> list[Address]:
    """Raises HomeError for a line that is no address."""
    return [parse_address(line) for line in _lines(data)]


def _readable_addresses(data: bytes) -> list[Address]:
    """Of a list that no person wrote: what was torn or damaged in it is passed over."""
    found: list[Address] = []
    for line in _lines(data):
        with suppress(HomeError):
            found.append(parse_address(line))
    return found


def first_addresses(disk: Disk, home: Home) -> list[Address]:
    """Operator's, then our own daemon's, then remembered, then the roster's; each once. Blocks.

    Raises HomeError for a line of the operator's list that is no address.
    """
    found: list[Address] = []
    for name, parse in (
        (BOOTSTRAP_FILE, parse_addresses),
        (OWN_FILE, _readable_addresses),
        (KNOWN_FILE, _readable_addresses),
    ):
        data = read_file(disk, home.path(name), max_bytes=FILE_MAX_BYTES)
        if data is not None:
            found += parse(data)
    found += home.roster.seeds
    return list(dict.fromkeys(found))[:ADDRESSES_MAX]


def remember_addresses(disk: Disk, home: Home, met: Iterable[tuple[PeerId, Address]], token: str) -> None:
    """Keep where peers were met for the next start. Blocks; raises OSError."""
    text = "".join(f"{address} # {peer}\n" for peer, address in islice(met, ADDRESSES_MAX))
    path = home.path(KNOWN_FILE)
    if read_file(disk, path, max_bytes=FILE_MAX_BYTES) != text.encode():
        write_file_in_workshop(disk, home.path(WORKSHOP_FOLDER), path, text.encode(), token=token)


def last_met(disk: Disk, home: Home) -> dict[PeerId, Address]:
    """Where peers were met last time: hints, no more. Blocks; raises OSError."""
    data = read_file(disk, home.path(KNOWN_FILE), max_bytes=FILE_MAX_BYTES) or b""
    found: dict[PeerId, Address] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        address, _, peer = line.partition("#")
        with suppress(HomeError, MalformedIdError):
            found[PeerId.parse(peer.strip())] = parse_address(address.strip())
    return found
