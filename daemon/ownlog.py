"""This peer's own log: where it anchors the shards that it moved, and what its sweeps did."""

from __future__ import annotations

from collections.abc import Sequence

from anchor.leaf import RelocateLeaf, SweepLeaf, peer_key_name, sign_leaf
from client.home import Home
from client.ledger import open_log
from core.ports import Clock, Disk, Threads
from daemon.subject import Subject

# Leaves of one commit of the log: an object of 16 GiB that loses a peer moves so many shards.
LEAVES_AT_ONCE = 256


class OwnLog:
    """``daemon.repair.Relocations``."""

    def __init__(self, disk: Disk, home: Home, threads: Threads, clock: Clock) -> None:
        self._disk = disk
        self._home = home
        self._threads = threads
        self._clock = clock

    async def moved(self, subject: Subject, leaves: Sequence[RelocateLeaf]) -> None:
        """Anchor the leaves, durably. Raises LedgerError, StoreFullError, StoreReadOnlyError."""
        del subject
        for at in range(0, len(leaves), LEAVES_AT_ONCE):
            await self._threads.disk(self._append, leaves[at : at + LEAVES_AT_ONCE])

    async def swept(self, leaf: SweepLeaf) -> None:
        """Anchor the leaf, durably. Raises as ``moved``."""
        await self._threads.disk(self._append, [leaf])

    def _append(self, leaves: Sequence[RelocateLeaf | SweepLeaf]) -> None:
        name = peer_key_name(self._home.identity.peer)
        signed = [sign_leaf(self._home.tls_key, name, leaf) for leaf in leaves]
        open_log(self._disk, self._home).append(signed, int(self._clock.now()))
