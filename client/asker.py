"""What flows need of the peers: questions with answers, conversations, and where to look.

``client.peers.Peers`` and ``dht.node.Dht`` are the real ones; a daemon puts itself among the peers
(``daemon.loopback``); tests drive stores without sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from core.errors import MoorageError
from core.ids import ObjectId, PeerId
from core.limits import REQUEST_DEADLINE_S
from wire.messages import Message

if TYPE_CHECKING:
    from dht.records import PeerRecord, ProviderRecord


class Reply(Protocol):
    """An answer on its way (``client.session.Pending``)."""

    @property
    def arrived(self) -> trio.Event:
        """The answer is there, or will not come: nobody who takes it waits."""
        ...

    async def answer(self, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message: ...

    def abandon(self) -> None: ...


class Conversation(Protocol):
    """Requests that must reach one peer in order (``client.session.Session``)."""

    @property
    def usable(self) -> bool: ...

    def next_upload(self) -> int: ...

    async def post(self, message: Message, /) -> Reply: ...

    async def request(self, message: Message, /, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message: ...


class Asker(Protocol):
    """Peers that can be asked. Methods raise what the peer answered instead, or PeerUnavailableError."""

    async def request(
        self, peer: PeerId, message: Message, /, *, deadline_s: float = REQUEST_DEADLINE_S
    ) -> Message: ...

    async def session(self, peer: PeerId, /) -> Conversation: ...

    def avoid(self, peer: PeerId, failure: MoorageError, /) -> None: ...


class Directory(Protocol):
    """Who is there, and who took shards over (``dht.node.Dht``)."""

    def known_peers(self) -> list[PeerRecord]: ...

    async def resolve(self, peer: PeerId, /, *, max_age_s: float) -> PeerRecord | None: ...

    async def providers(self, object_id: ObjectId, /) -> list[ProviderRecord]: ...
