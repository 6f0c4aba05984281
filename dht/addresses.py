"""Which addresses may be published: those that somebody else could connect to."""

from __future__ import annotations

import ipaddress
import re

from core.errors import MalformedError
from core.ports import Address

# RFC 1035, section 2.3.4.
HOST_MAX_CHARACTERS = 253

_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def check_address(address: Address) -> None:
    """Raises MalformedError unless this is a unicast IP address or a DNS name, and a port from 1 to 65535.

    Loopback passes: whole pools run on one machine. An IPv6 zone (``%eth0``) means something to one host only.
    """
    if not 0 < address.port < 65536:
        raise MalformedError(f"port {address.port} is not from 1 to 65535")
    try:
        ip = ipaddress.ip_address(address.host)
    except ValueError:
        _check_name(address.host)
        return
    if ip.is_unspecified or ip.is_multicast or "%" in address.host:
        raise MalformedError(f"nobody else can connect to {address.host}; name the address that others reach")


def _check_name(host: str) -> None:
    labels = host.split(".")
    named = len(host) <= HOST_MAX_CHARACTERS and all(_LABEL.fullmatch(label) for label in labels)
    # A last label of digits would be read as an odd spelling of an IPv4 address (RFC 3696, section 2).
    if not named or labels[-1].isdigit():
        raise MalformedError(f"{host[:80]!r} is neither an IP address nor a host name")
