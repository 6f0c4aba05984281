"""The peers as a client or daemon sees them: one session each, dialled on need, found through the DHT."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from client.lines import Greetings, Line, Search
from client.patience import Patience
from client.session import OnBug, Session
from core.errors import MoorageError, PeerRefusedError, PeerUnavailableError
from core.ids import PeerId
from core.limits import REQUEST_DEADLINE_S
from core.ports import Address, Identity, Net
from wire.messages import Hello, Message

if TYPE_CHECKING:
    from dht.node import Dht
    from dht.records import PeerRecord

# A peer that just failed is not tried again for this long: one command pays for a dead peer once.
AVOID_S = 10.0
# Peers dialled at the same time when a whole pool is wanted.
DIALS_AT_ONCE = 32
RECORD_AGE_MAX_S = 600.0
# Peers that are starting again are knocked at this often; one that does not answer a knock in time hangs.
RETURN_POLL_S = 0.25
KNOCK_S = 1.0


class Peers:
    """Sessions by address and by peer. Lives inside the nursery that is given; closes with it.

    ``on_bug``: see ``Session``. ``heard`` is told the roster's epoch of everybody who greets.
    """

    def __init__(
        self,
        net: Net,
        nursery: trio.Nursery,
        hello: Callable[[], Hello],
        *,
        on_bug: OnBug | None = None,
        heard: Callable[[Identity, int], None] | None = None,
    ) -> None:
        self._net = net
        self._nursery = nursery
        self._hello = hello
        self._on_bug = on_bug
        self._heard = heard
        self._lines: dict[Address, Line] = {}
        self._addresses: dict[PeerId, Address] = {}
        self._searches: dict[PeerId, Search] = {}
        self._greeters = trio.CapacityLimiter(DIALS_AT_ONCE)
        self._open_dht: Callable[[], Dht] | None = None

    def use_dht(self, open_dht: Callable[[], Dht]) -> None:
        """Find addresses through that DHT, which itself asks through these sessions."""
        self._open_dht = open_dht

    def expect(self, addresses: Mapping[PeerId, Address]) -> None:
        """Dial these peers there, where nothing better is known: whoever answers still has to be the peer."""
        self._addresses = {**addresses, **self._addresses}

    def greet(self, peers: Iterable[PeerId]) -> Greetings:
        """Begin to dial those of them whose address is known, all at once, and wait for none.

        Whoever needs one of them later finds the session there, or on its way.
        """
        known = [(self._addresses[peer], peer) for peer in peers if peer in self._addresses]
        greetings = Greetings(len(known))
        for address, peer in known:
            self._nursery.start_soon(self._greet_one, address, peer, greetings)
        return greetings

    async def _greet_one(self, address: Address, peer: PeerId, greetings: Greetings) -> None:
        with suppress(MoorageError):
            async with self._greeters:
                await self._session_at(address, peer)
        greetings.left -= 1
        greetings.news.set()

    async def meet(self, peers: Iterable[PeerId], enough: Callable[[], bool]) -> None:
        """``greet``, and wait until it is ``enough``, or until each of them has answered or failed."""
        greetings = self.greet(peers)
        while greetings.left and not enough():
            greetings.news = trio.Event()
            await greetings.news.wait()

    def greeting_s(self, peer: PeerId) -> float | None:
        """How long the peer took to greet us; None while there is no session to it."""
        return None if self._open_session(peer) is None else self._lines[self._addresses[peer]].greeting_s

    # --- for the DHT --------------------------------------------------------------------------

    async def ask(self, address: Address, expect: PeerId | None, message: Message) -> tuple[Identity, Message]:
        """One question to whoever listens at ``address`` (``expect``: and to nobody else).

        Raises PeerUnavailableError, PeerRefusedError, or what the peer answered instead.
        """
        session = await self._session_at(address, expect)
        return session.remote, await session.request(message)

    # --- for everyone else --------------------------------------------------------------------

    async def request(self, peer: PeerId, message: Message, *, deadline_s: float = REQUEST_DEADLINE_S) -> Message:
        """The peer's answer; an idempotent request that met a stale connection is asked once more.

        Raises PeerUnavailableError, or what the peer answered instead.
        """
        session, fresh = await self._session_to(peer)
        try:
            return await session.request(message, deadline_s=deadline_s)
        except PeerUnavailableError:
            if fresh or session.usable or session.hung:
                raise
        session, _ = await self._session_to(peer)
        return await session.request(message, deadline_s=deadline_s)

    async def session(self, peer: PeerId) -> Session:
        """A session to ``peer``, for a conversation that must stay on one connection (an upload)."""
        return (await self._session_to(peer))[0]

    async def connect_all(
        self, peers: Sequence[PeerRecord], *, enough: Callable[[Sequence[PeerRecord]], bool] | None = None
    ) -> list[PeerRecord]:
        """Those that answer now, in the given order. A hung peer costs one handshake deadline, all at once.

        Where those that answered are ``enough``, each of the others has LATE_PATIENCE_S since it was dialled.
        """
        answered: dict[PeerId, PeerRecord] = {}
        limiter = trio.CapacityLimiter(DIALS_AT_ONCE)
        waiting = Patience()
        # Whether they are enough takes time that grows with them: it is asked anew when a quarter more have answered.
        ask_at = 1

        def those() -> list[PeerRecord]:
            return [record for record in peers if record.identity.peer in answered]

        async def dial(record: PeerRecord) -> None:
            nonlocal ask_at
            async with limiter:
                with waiting.since(self._lines.setdefault(record.address, Line()).dialled_at), suppress(MoorageError):
                    await self._session_at(record.address, record.identity.peer)
                    self._addresses[record.identity.peer] = record.address
                    answered[record.identity.peer] = record
            if enough is not None and not waiting.limited and len(answered) >= ask_at:
                ask_at = len(answered) + 1 + len(answered) // 4
                if enough(those()):
                    waiting.limit()

        async with trio.open_nursery() as nursery:
            for record in peers:
                nursery.start_soon(dial, record)
        return those()

    async def returning(self, peers: Sequence[PeerRecord], *, patience_s: float) -> list[PeerRecord]:
        """Those of ``peers`` that answer again, as soon as any does; none after ``patience_s``.

        Only a peer that is plainly not there is waited for: its daemon may just be starting again. One that hangs
        costs one knock.
        """
        away = list(peers)
        with trio.move_on_after(patience_s):
            while away:
                there = await self._knock_at(away)
                back = [record for record in away if there.get(record.identity.peer)]
                if back:
                    return back
                away = [record for record in away if record.identity.peer in there]
                await trio.sleep(RETURN_POLL_S)
        return []

    async def _knock_at(self, peers: Sequence[PeerRecord]) -> dict[PeerId, bool]:
        """Who answers and who is not there; those that hang, or refuse us, are left out."""
        there: dict[PeerId, bool] = {}

        async def knock(record: PeerRecord) -> None:
            self._lines.setdefault(record.address, Line()).failed_at = float("-inf")
            with trio.move_on_after(KNOCK_S):
                try:
                    await self._session_at(record.address, record.identity.peer)
                except PeerUnavailableError:
                    there[record.identity.peer] = False
                except MoorageError:
                    return
                else:
                    there[record.identity.peer] = True

        async with trio.open_nursery() as nursery:
            for record in peers:
                nursery.start_soon(knock, record)
        return there

    def avoid(self, peer: PeerId, failure: MoorageError) -> None:
        """Remember that ``peer`` just failed, so that the next caller does not wait for it too."""
        address = self._addresses.get(peer)
        if address is not None:
            line = self._lines.setdefault(address, Line())
            line.failed_at, line.failure = trio.current_time(), failure

    def forgive(self) -> None:
        """Try everybody again, also those that failed a moment ago: somebody asks how things are now."""
        for line in self._lines.values():
            line.failed_at = float("-inf")
        for search in self._searches.values():
            search.ended_at = float("-inf")

    def refusal(self) -> PeerRefusedError | None:
        """Why somebody who was reached was refused, or refused us; None when nobody was."""
        failures = (line.failure for line in self._lines.values())
        return next((failure for failure in failures if isinstance(failure, PeerRefusedError)), None)

    def _open_session(self, peer: PeerId) -> Session | None:
        address = self._addresses.get(peer)
        line = self._lines.get(address) if address is not None else None
        session = line.session if line is not None else None
        # Another peer may have taken the address since.
        return session if session is not None and session.usable and session.remote.peer == peer else None

    async def _session_to(self, peer: PeerId) -> tuple[Session, bool]:
        session = self._open_session(peer)
        if session is not None:
            return session, False
        address = self._addresses.get(peer)
        if address is not None:
            try:
                return await self._session_at(address, peer), True
            except (PeerUnavailableError, PeerRefusedError):
                # It may have moved: ask around before giving up.
                moved = await self._moved(peer, address)
                if moved is None:
                    raise
                address = moved
        else:
            address = await self._resolve(peer, max_age_s=RECORD_AGE_MAX_S)
            if address is None:
                raise PeerUnavailableError(f"peer {peer.short} is not known to anyone who answers")
        self._addresses[peer] = address
        return await self._session_at(address, peer), True

    async def _moved(self, peer: PeerId, old: Address) -> Address | None:
        """Where else the peer is now; None when nowhere, or when that was found out a moment ago."""
        search = self._searches.setdefault(peer, Search())
        async with search.lock:
            known = self._addresses.get(peer, old)
            if known != old:
                return known
            if trio.current_time() - search.ended_at < AVOID_S:
                return None
            found = await self._resolve(peer, max_age_s=0.0)
            search.ended_at = trio.current_time()
            if found is None or found == old:
                return None
            self._addresses[peer] = found
            return found

    async def _resolve(self, peer: PeerId, *, max_age_s: float) -> Address | None:
        if self._open_dht is None:
            return None
        record = await self._open_dht().resolve(peer, max_age_s=max_age_s)
        return None if record is None else record.address

    async def _session_at(self, address: Address, expect: PeerId | None) -> Session:
        line = self._lines.setdefault(address, Line())
        async with line.lock:
            if line.session is None or not line.session.usable:
                # Whoever knocks without expecting anyone is looking for peers that may just have come up.
                recent = trio.current_time() - line.failed_at < AVOID_S
                if line.failure is not None and recent and expect is not None:
                    raise type(line.failure)(str(line.failure))
                line.dialled_at = trio.current_time()
                try:
                    line.session, line.greeting_s = await self._dial(address)
                except MoorageError as error:
                    line.failed_at, line.failure = trio.current_time(), error
                    raise
                finally:
                    line.dialled_at = None
                line.failure = None
            session = line.session
        if expect is not None and session.remote.peer != expect:
            raise PeerUnavailableError(f"at {address} now listens {session.remote.name}, not peer {expect.short}")
        self._addresses[session.remote.peer] = address
        return session

    async def _dial(self, address: Address) -> tuple[Session, float]:
        """A session, and how long the greeting took."""
        connection = await self._net.connect(address)
        session = Session(connection, self._hello(), on_bug=self._on_bug)
        began_s = trio.current_time()
        await self._nursery.start(session.serve)
        if session.failure is not None:
            raise session.failure
        if self._heard is not None:
            self._heard(session.remote, session.remote_epoch)
        return session, trio.current_time() - began_s

    def dismiss(self, organisations: Collection[str], peers: Collection[PeerId]) -> None:
        """End the sessions to members of these organisations, and forget where ``peers`` are."""
        for peer in peers:
            self._addresses.pop(peer, None)
        for line in self._lines.values():
            if line.session is not None and line.session.remote.organisation in organisations:
                name = line.session.remote.organisation
                line.session.end(PeerRefusedError(f"{name} is not on the roster any more, or has another issuer"))
