"""What the other side's first message must be."""

from __future__ import annotations

from core.errors import PeerRefusedError, ProtocolError
from core.ports import Identity
from wire.messages import PROTOCOL_VERSION, Failure, Hello, Message


def check_greeting(message: Message, ours: Hello, remote: Identity) -> int:
    """The epoch of the other side's roster. Raises MoorageError when there is nothing to say to each other."""
    match message:
        case Failure():
            raise message.error()
        case Hello() if message.pool != ours.pool:
            raise PeerRefusedError(f"{remote.name} belongs to another pool ({message.pool.short})")
        case Hello() if message.version != PROTOCOL_VERSION:
            raise PeerRefusedError(
                f"{remote.name} speaks protocol {message.version}, this release {PROTOCOL_VERSION}: "
                "upgrade the older one"
            )
        case Hello():
            return message.epoch
        case _:
            raise ProtocolError(f"{remote.name} did not greet")
