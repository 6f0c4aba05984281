"""The answer to ``GetProposals``."""

from __future__ import annotations

from core.encoding import decode
from core.errors import ProtocolError
from core.limits import FRAME_BODY_MAX_BYTES
from core.schema import Fields
from wire.messages import Blob, Message

LISTED_MAX = 64


def parse_listed(answer: Message) -> tuple[bytes, ...]:
    """The motions in it, unchecked. Raises ProtocolError, MalformedError."""
    if not isinstance(answer, Blob):
        raise ProtocolError(f"get-proposals was answered with {answer.KIND}")
    value = decode(bytes(answer.body), max_bytes=FRAME_BODY_MAX_BYTES)
    return Fields({"motions": value}, what="proposals").byte_strings("motions", max_items=LISTED_MAX)
