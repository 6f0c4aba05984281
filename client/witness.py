"""A witness of another organisation, asked over HTTP (c2sp.org/tlog-witness@v1.0.0)."""

from __future__ import annotations

from hashlib import sha256

from anchor.checkpoint import parse_decimal
from anchor.note import NOTE_MAX_BYTES
from anchor.witness import AddCheckpoint, format_add_checkpoint
from client.web import WebClient
from core.errors import MalformedError, PeerUnavailableError, WitnessRefusedError
from core.limits import KIB
from core.ports import Net
from wire.web import TLOG_SIZE, WebAnswer, parse_url

# What it takes an honest witness: an fsync, and our line's round trip.
ADD_DEADLINE_S = 5.0
LATEST_DEADLINE_S = 3.0
# Signature lines of a witness with two keys are 3.4 KB.
_LINES_MAX_BYTES = 64 * KIB
_REFUSALS = frozenset({400, 403, 404, 409, 422})
_TEXT_MAX_CHARACTERS = 200


class WebWitness:
    """Keeps one connection alive. Raises MalformedError for a URL that is none."""

    def __init__(self, net: Net, url: str) -> None:
        self.url = url
        self._web = WebClient(net, parse_url(url))

    async def add_checkpoint(self, request: AddCheckpoint) -> str:
        """Signature lines for the request's checkpoint.

        Raises:
            WitnessRefusedError: with the protocol's status; 409 tells the size that it has seen.
            PeerUnavailableError, PeerRefusedError: it cannot be asked now.
        """
        body = format_add_checkpoint(request)
        answer = await self._web.post("/add-checkpoint", body, max_bytes=_LINES_MAX_BYTES, deadline_s=ADD_DEADLINE_S)
        if answer.status == 200:
            return answer.body.decode("utf-8", "replace")
        text = f"{self.url}: status {answer.status}: {_words(answer)}"
        if answer.status not in _REFUSALS:
            raise PeerUnavailableError(text)
        size = _seen_size(answer)
        if answer.status == 409 and size is None:
            raise PeerUnavailableError(f"{text}, which is no size")
        raise WitnessRefusedError(text, status=answer.status, witness_size=size)

    async def latest(self, origin: str) -> bytes | None:
        """The newest checkpoint of a log that it has cosigned, unverified; None when it says that there is none."""
        path = f"/{sha256(origin.encode()).hexdigest()}/checkpoint"
        answer = await self._web.get(path, max_bytes=NOTE_MAX_BYTES, deadline_s=LATEST_DEADLINE_S)
        return checkpoint_of(self.url, answer)

    async def aclose(self) -> None:
        await self._web.aclose()


def checkpoint_of(where: str, answer: WebAnswer) -> bytes | None:
    """What was found at the URL of a checkpoint. Raises PeerUnavailableError for anything but yes or no."""
    if answer.status in (200, 404):
        return answer.body if answer.status == 200 else None
    raise PeerUnavailableError(f"{where}: status {answer.status}: {_words(answer)}")


def _words(answer: WebAnswer) -> str:
    return answer.body[:_TEXT_MAX_CHARACTERS].decode("utf-8", "replace").strip()


def _seen_size(answer: WebAnswer) -> int | None:
    if answer.status != 409 or answer.headers.get("content-type", "") != TLOG_SIZE:
        return None
    try:
        return parse_decimal(answer.body.decode("ascii", "replace").removesuffix("\n"))
    except MalformedError:
        return None
