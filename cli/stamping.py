"""Asking a time stamping authority (RFC 3161) over HTTP, for ``ledger stamp`` and ``receipt --bundle``."""

from __future__ import annotations

import trio

from anchor.timestamp import QUERY_TYPE, REPLY_MAX_BYTES, Stamp, check_stamp, stamp_request
from cli.ledger_words import time_text
from core.errors import PeerUnavailableError
from host.httptiles import HttpClient

_HTTP_OK = 200


def stamp(url: str, data: bytes, certificates: bytes) -> tuple[bytes, Stamp]:
    """The authority's reply for ``data``, checked against its certificates (PEM) where there are any.

    Raises UsageError (the library is missing, no such URL), PeerUnavailableError, BadSignatureError, MalformedError.
    """
    query = stamp_request(data)

    async def ask() -> bytes:
        client = HttpClient(url)
        try:
            status, reply = await client.request("POST", "", body=query, kind=QUERY_TYPE, max_bytes=REPLY_MAX_BYTES)
        finally:
            await client.aclose()
        if status != _HTTP_OK:
            raise PeerUnavailableError(f"{url}: the time stamping authority answers {status}")
        return reply

    reply = trio.run(ask)
    return reply, check_stamp(reply, data, certificates)


def stamp_words(found: Stamp) -> str:
    """What a stamp says, and whether anybody vouches for its authority."""
    words = f"time stamp (RFC 3161) of {time_text(found.time_s)} by {found.authority or 'an authority without a name'}"
    return words if found.believed else f"{words}; whether to believe it was not checked: --tsa-certificates FILE"
