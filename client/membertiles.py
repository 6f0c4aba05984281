"""A log or a witness of another member, read through the members' own door (docs/ledger/operator.md)."""

from __future__ import annotations

from client.web import WebClient
from core.errors import PeerRefusedError, PeerUnavailableError
from core.ports import Net
from wire.web import parse_url

# A bundle of 16 MiB over a thin line.
READ_DEADLINE_S = 60.0
_OK, _NOT_THERE = 200, 404


class MemberTiles:
    """A ``client.tilesource.TileSource`` at a ledger peer.

    Raises MalformedError for a URL that is none.
    """

    def __init__(self, net: Net, url: str) -> None:
        self._url = url
        self._client = WebClient(net, parse_url(url))

    @property
    def name(self) -> str:
        return self._url

    async def read(self, path: str, *, max_bytes: int) -> bytes | None:
        try:
            answer = await self._client.get(f"/{path}", max_bytes=max_bytes, deadline_s=READ_DEADLINE_S)
        except PeerRefusedError as error:
            # For a monitor that is silence: who does not let it in may hide something.
            raise PeerUnavailableError(f"{self._url}: {error}") from error
        if answer.status == _NOT_THERE:
            return None
        if answer.status != _OK:
            raise PeerUnavailableError(f"{self._url}/{path}: the ledger peer answers {answer.status}")
        return answer.body

    async def aclose(self) -> None:
        await self._client.aclose()
