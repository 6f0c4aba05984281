"""HTTP/1.1 as peers speak it for the ledger: what a request and an answer are, and their bounds (RFC 9112)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from core.errors import MalformedError
from core.limits import KIB, NAME_MAX_BYTES
from core.ports import Address, Identity

# A request line, and the few headers that anybody sends us.
WEB_HEAD_MAX_BYTES = 16 * KIB
# An add-checkpoint request: a proof of 63 hashes and a note of 512 KiB.
WEB_BODY_MAX_BYTES = 520 * KIB
URL_MAX_CHARACTERS = 500
TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
# The largest size of a log, as its own content type says that it is one (c2sp.org/tlog-witness).
TLOG_SIZE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class WebRequest:
    """``target`` begins with a slash. ``asker``: whoever asks, as its certificate says."""

    method: str
    target: str
    body: bytes = field(repr=False)
    asker: Identity


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """Header names are in lower case."""

    status: int
    body: bytes = field(repr=False, default=b"")
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class WebPlace:
    """A URL, taken apart. ``path`` does not end in a slash."""

    address: Address
    path: str

    @property
    def host(self) -> str:
        return str(self.address)


def parse_url(url: str) -> WebPlace:
    """``https://HOST[:PORT]/PATH``. Raises MalformedError for all else."""
    try:
        if len(url) > URL_MAX_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("too long, or with strange characters")
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("neither plain https nor a plain path")
        host, port = parts.hostname or "", 443 if parts.port is None else parts.port
        if not 0 < len(host) <= NAME_MAX_BYTES or not port:
            raise ValueError("no host or no port")
    except ValueError as error:
        raise MalformedError(f"{url[:80]!r} is not the URL of a ledger: {error}") from error
    return WebPlace(Address(host, port), parts.path.rstrip("/"))
