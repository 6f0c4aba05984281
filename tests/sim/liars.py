"""Peers that break their promises, each in a way of its own, above TLS and with valid certificates.

- ``wrong-bytes``: shares of the right length with another byte in them.
- ``other-shard``: bytes of another shard under the name that was asked for.
- ``forget``: every shard is accepted, and thrown away.
- ``small-only``: a few shares are shown, a full proof never.
- ``refuse``: every request about shards is refused.
- ``dribble``: every answer takes a quarter of a minute.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from core.errors import MoorageError, RefusedError
from core.ids import ShardRoot
from core.ports import Identity
from daemon.desk import Desk
from daemon.node import Node
from wire.messages import Have, Leaves, Message, Prove, Read, Shares

DRIBBLE_S = 15.0


class LyingDesk:
    """``daemon.desk.Desk`` while ``lie()`` is empty; else it answers requests about shards as that word says."""

    def __init__(self, honest: Desk, node: Node, lie: Callable[[], str]) -> None:
        self._honest = honest
        self._node = node
        self._lie = lie

    async def answer(self, remote: Identity, message: Message) -> Message:
        lie = self._lie()
        if lie and isinstance(message, Have | Read | Prove):
            return await self._lied(lie, remote, message)
        return await self._honest.answer(remote, message)

    async def _lied(self, lie: str, remote: Identity, message: Have | Read | Prove) -> Message:
        if lie == "refuse" or (lie == "small-only" and isinstance(message, Prove)):
            raise RefusedError("not today")
        if lie == "dribble":
            await trio.sleep(DRIBBLE_S)
        if lie == "forget" and not isinstance(message, Have):
            await self._node.ports.threads.disk(self._throw_away, message.root)
        if lie == "other-shard" and not isinstance(message, Have):
            message = self._about_another(message)
        answer = await self._honest.answer(remote, message)
        if lie == "wrong-bytes" and isinstance(answer, Shares | Leaves):
            return _altered(answer)
        return answer

    def _throw_away(self, root: ShardRoot) -> None:
        try:
            self._node.store.remove(root)
        except MoorageError:
            # Its disk is sick besides.
            return

    def _about_another(self, message: Read | Prove) -> Read | Prove:
        other = next((root for root in self._node.store.roots() if root != message.root), message.root)
        return Read(other, message.first, message.count) if isinstance(message, Read) else Prove(other)


def _altered(answer: Shares | Leaves) -> Shares | Leaves:
    body = bytearray(answer.body)
    if body:
        body[len(body) // 2] ^= 1
    if isinstance(answer, Shares):
        return Shares(answer.lengths, answer.paths, bytes(body))
    return Leaves(answer.bad, answer.problem, bytes(body))


def make_liar(node: Node, lie: Callable[[], str]) -> None:
    """From now on the peer lies to others (not to itself) whenever ``lie()`` names how."""
    server = node.server
    # The one private name that is replaced: whatever a connection asks comes by here.
    server._desk = LyingDesk(server._desk, node, lie)  # type: ignore[assignment]
