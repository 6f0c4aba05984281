"""What a peer does for the pool's directory while nobody asks: a few messages in every ten minutes."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import trio

from core.errors import MoorageError
from core.ids import DIGEST_BYTES
from dht.records import PeerRecord, key_for, peer_key
from dht.routing import NODE_ID_BYTES, Contact

if TYPE_CHECKING:
    from dht.node import Dht

JITTER = 0.25

Keep: TypeAlias = Callable[[tuple[bytes, ...]], Awaitable[None]]
"""Saves the store's records (``store.write_store`` in a disk job); may raise OSError."""


class Upkeep:
    """Rounds of upkeep of one peer. All timers are jittered, so that peers started together drift apart."""

    def __init__(self, dht: Dht, make_record: Callable[[], bytes], keep: Keep | None) -> None:
        self._dht = dht
        self._config = dht.config
        self._make_record = make_record
        self._keep = keep
        self._announce_at_s = -math.inf
        self._knock_at_s = -math.inf
        self._save_at_s = trio.current_time() + self._jittered(dht.config.save_every_s)
        self._saved_changes = dht.store.changes
        self._published: dict[bytes, float] = {}

    def _jittered(self, seconds: float) -> float:
        return seconds * self._dht.random.uniform(1 - JITTER, 1 + JITTER)

    async def run(self) -> None:
        rounds = 0
        while True:
            if self._dht.wake.is_set():
                self._dht.wake = trio.Event()
                self._announce_at_s = -math.inf
            try:
                await self.round(early=rounds < len(self._config.first_rounds_s))
            except MoorageError as error:
                # Our own record was refused (a certificate ran out, a roster changed): it may be better next time.
                self._dht.asker.count(f"upkeep/{error.code}")
            first = self._config.first_rounds_s[rounds : rounds + 1]
            rounds += 1
            with trio.move_on_after(self._jittered(first[0] if first else self._config.round_s)):
                await self._dht.wake.wait()

    async def round(self, *, early: bool) -> None:
        """Whatever is due now."""
        await self._announce(early)
        await self._introduce()
        await self._repair()
        await self._ping()
        await self._search(early)
        await self._republish()
        self._dht.store.expire()
        self._drop_expired_contacts()
        await self._save(early)

    # --- this peer's own record -----------------------------------------------------------------

    async def _announce(self, early: bool) -> None:
        now_s = trio.current_time()
        if now_s >= self._announce_at_s:
            self._dht.adopt(self._make_record())
        await self._knock(early)
        if now_s >= self._announce_at_s and self._dht.own is not None:
            if self._dht.own.sequence < self._dht.asker.own_sequence:
                # Others hold a newer record of ours: the clock went back while we were away.
                self._dht.adopt(self._make_record())
            await self._dht.announce(self._dht.own.raw)
            self._announce_at_s = now_s + self._jittered(self._config.announce_every_s)

    async def _knock(self, early: bool) -> None:
        """Where nobody answered yet: often at first and while alone, else every hour, so that islands meet."""
        known = {contact.record.address for contact in self._dht.table.contacts()}
        doors = [door for door in self._dht.doors if door not in known]
        now_s = trio.current_time()
        if doors and (early or not known or now_s >= self._knock_at_s):
            self._knock_at_s = now_s + self._jittered(self._config.search_every_s)
            await self._dht.knock(doors)

    async def _introduce(self) -> None:
        """Tell contacts that were met since the last announcement where we are."""
        own = self._dht.own
        strangers = [item for item in self._contacts() if own is not None and item.told != own.address]
        if own is None or not strangers:
            return
        chosen = strangers[: self._config.work_per_round]
        told = await self._dht.asker.store_all([item.record for item in chosen], own.raw)
        for contact in chosen:
            if contact.peer in told:
                contact.told = own.address

    # --- others -----------------------------------------------------------------------------------

    def _contacts(self) -> list[Contact]:
        return [contact for contact in self._dht.table.contacts() if not contact.fails]

    async def _repair(self) -> None:
        for _ in range(self._config.work_per_round):
            if not self._dht.repairs:
                return
            holder, raw = self._dht.repairs.popleft()
            await self._dht.asker.store(holder, raw)

    async def _ping(self) -> None:
        """Ask suspects and the longest unheard for their own record: it is fresh then, or they go."""
        edge_s = trio.current_time() - self._config.ping_after_s
        due = [item for item in self._dht.table.contacts() if item.fails or item.heard_s < edge_s]
        due.sort(key=lambda item: (not item.fails, item.heard_s))
        records = [item.record for item in due[: self._config.work_per_round]]

        async def ping(record: PeerRecord) -> None:
            await self._dht.asker.find(record, record.peer.raw)

        async with trio.open_nursery() as nursery:
            for record in records:
                nursery.start_soon(ping, record)

    async def _search(self, early: bool) -> None:
        """Look for a random id in one range that nobody searched for long (Kademlia paper, section 2.3).

        At first for this peer's own neighbours: others may have joined in the same second.
        """
        if early and self._dht.me is not None:
            await self._dht.nearest(peer_key(self._dht.me))
            return
        ranges = self._dht.table.unsearched(trio.current_time() - self._jittered(self._config.search_every_s))
        if ranges and self._dht.table.contacts():
            low, high = self._dht.random.choice(ranges)
            wanted = self._dht.random.randrange(low, high + 1).to_bytes(NODE_ID_BYTES)
            await self._dht.nearest(wanted + self._dht.random.randbytes(DIGEST_BYTES - NODE_ID_BYTES))

    async def _republish(self) -> None:
        now_s = trio.current_time()
        own = {key_for(record): record for record in self._dht.own_providers()}
        # What upkeep has not published yet falls due at some time in the first period: no burst after a restart.
        self._published = {
            key: self._published.get(key, now_s - self._config.republish_every_s * self._dht.random.random())
            for key in own
        }
        due = [key for key, at_s in self._published.items() if now_s - at_s >= self._config.republish_every_s]
        for key in due[: self._config.work_per_round]:
            await self._dht.spread(own[key])
            self._published[key] = (
                trio.current_time() - self._config.republish_every_s * JITTER * self._dht.random.random()
            )

    # --- housekeeping -----------------------------------------------------------------------------

    def _drop_expired_contacts(self) -> None:
        now = self._dht.clock.now()
        for contact in self._dht.table.contacts():
            if now >= contact.record.expires_s:
                self._dht.table.forget(contact.peer)

    async def _save(self, early: bool) -> None:
        # Early as well: a peer that is killed soon after its first start knows others when it comes back.
        now_s, changes = trio.current_time(), self._dht.store.changes
        if self._keep is None or (now_s < self._save_at_s and not early) or changes == self._saved_changes:
            return
        self._save_at_s = now_s + self._jittered(self._config.save_every_s)
        try:
            await self._keep(self._dht.store.raws())
        except OSError:
            # The directory works from memory; the next try comes in ten minutes.
            self._dht.asker.count("save-failed")
        else:
            self._saved_changes = changes
