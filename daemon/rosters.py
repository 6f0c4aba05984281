"""The roster as it goes round: peers tell each other of later ones, and collect what members sign for the next.

A later roster is noticed by a greeting, brought by a peer that has just accepted it, or found by asking somebody now
and then. Each peer verifies it against its own, makes it durable, goes by it at once, and passes it on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from math import inf

import trio

from client.asker import Asker
from client.home import Home
from client.proposals import parse_listed
from client.rosters import accept_roster
from client.tasks import open_crew
from core.encoding import Value, encode
from core.errors import BusyError, MoorageError, PeerUnavailableError, ProtocolError, RosterError
from core.ids import PeerId
from core.ports import Identity, Ports
from daemon.eventlog import EventLog
from daemon.motions import Motions
from dht.records import PeerRecord
from wire.messages import (
    Apply,
    Blob,
    Done,
    GetProposals,
    GetRoster,
    Message,
    RosterFile,
    StoreProposal,
    StoreRoster,
)

# News comes by itself; this finds what was missed.
ASK_EVERY_S = 600.0
# To whom news is passed on at once, by each that hears of it: it reaches everybody in a few steps.
TOLD_MAX = 64
AT_ONCE = 8
TOLD_DEADLINE_S = 10.0
# Once more to those that did not answer; by then whoever is being started listens.
TOLD_AGAIN_AFTER_S = (5.0, 25.0)
# How often what clients say may have this peer ask others.
RUMOUR_EVERY_S = 2.0
# An invited organisation asks once a second how its proposal stands.
GUEST_REQUESTS_PER_MINUTE = 240
GUESTS_REMEMBERED = 64
EXPIRY_WARNING_S = 30 * 86400.0


class RosterDesk:
    """Answers what others ask about rosters, and keeps up with them. ``start``, then ``run`` in a nursery.

    ``changed`` is called with the names of the organisations that are gone, or whose issuer is another one.
    """

    def __init__(
        self,
        ports: Ports,
        home: Home,
        *,
        peers: Asker,
        known_peers: Callable[[], list[PeerRecord]],
        log: EventLog,
        changed: Callable[[Collection[str]], None],
    ) -> None:
        self._ports = ports
        self._home = home
        self._peers = peers
        self._known_peers = known_peers
        self._log = log
        self._changed = changed
        self._random = ports.chance.stream("rosters")
        self._motions = Motions(ports.disk, home, ports.clock.now, lambda: ports.chance.token(4).hex())
        self._lock = trio.Lock()
        self._hints: dict[PeerId, int] = {}
        self._news: list[Message] = []
        self._wake = trio.Event()
        self._guests: dict[PeerId, tuple[float, int]] = {}
        self._is_rumour = False
        """Whether a client knows a later roster."""
        self._rumour_after = -inf

    async def start(self) -> None:
        """Read what was proposed before. Raises OSError."""
        if self._home.roster.is_consortium:
            await self._ports.threads.disk(self._motions.start)
            left_s = self._home.roster.expires_s - self._ports.clock.now()
            if left_s < EXPIRY_WARNING_S:
                words = "has expired" if left_s <= 0 else f"expires in {left_s / 86400:.0f} days"
                self._log.log("warning", "roster-expires", f"the roster {words}: `moorage consortium renew`")

    def heard(self, remote: Identity, epoch: int) -> None:
        """Somebody greeted; perhaps it knows a later roster. A client has one to itself: others are asked then."""
        if epoch <= self._home.roster.epoch or not self._home.roster.is_consortium or remote.role == "guest":
            return
        if remote.role == "peer":
            self._hints[remote.peer] = epoch
        elif trio.current_time() < self._rumour_after:
            return
        else:
            self._is_rumour, self._rumour_after = True, trio.current_time() + RUMOUR_EVERY_S
        self._wake.set()

    # --- answers ------------------------------------------------------------------------------

    async def answer(self, remote: Identity, message: Message) -> Message:
        """Raises MoorageError for what is refused."""
        if remote.role == "guest":
            self._check_pace(remote.peer)
        match message:
            case GetRoster():
                roster, file = self._home.held.both
                return RosterFile(file if roster.is_consortium and roster.epoch > message.epoch else b"")
            case StoreRoster():
                await self._accept(bytes(message.body), remote.name)
                return Done()
            case GetProposals():
                motions: list[Value] = list(await self._ports.threads.disk(self._motions.motions))
                return Blob(encode(motions))
            case StoreProposal():
                await self._collect(bytes(message.body), from_guest=remote.role == "guest")
                return Done()
            case Apply():
                self._check_consortium()
                async with self._lock:
                    data = bytes(message.body)
                    motion = await self._ports.threads.disk(self._motions.apply, remote.peer, data)
                self._log.log("info", "applied", f"{remote.name} asks to be taken in")
                return Blob(motion)
            case _:
                raise ProtocolError(f"{message.KIND} is not about rosters")

    def _check_consortium(self) -> None:
        if not self._home.roster.is_consortium:
            raise RosterError("this pool is no consortium: its roster is signed by one key")

    def _check_pace(self, guest: PeerId) -> None:
        """A guest is a stranger with a token: it may ask, not press."""
        now = trio.current_time()
        since, count = self._guests.pop(guest, (now, 0))
        if now - since > 60.0:
            since, count = now, 0
        self._guests[guest] = since, count + 1
        if len(self._guests) > GUESTS_REMEMBERED:
            self._guests.pop(next(iter(self._guests)))
        if count >= GUEST_REQUESTS_PER_MINUTE:
            raise BusyError("a guest may ask four times a second: wait a minute")

    async def _collect(self, data: bytes, *, from_guest: bool) -> None:
        self._check_consortium()
        async with self._lock:
            offered = await self._ports.threads.disk(lambda: self._motions.offer(data, from_guest=from_guest))
        if offered.roster_file is not None:
            await self._accept(offered.roster_file, "its members' ballots")
        elif offered.is_news:
            self._tell(StoreProposal(offered.motion))

    async def _accept(self, data: bytes, source: str) -> None:
        before = self._home.roster
        now_s, token = self._ports.clock.now(), self._ports.chance.token(4).hex()
        async with self._lock:
            is_news = await self._ports.threads.disk(
                lambda: accept_roster(self._ports.disk, self._home, data, now_s=now_s, token=token)
            )
        if not is_news:
            return
        after = self._home.roster
        gone = [name for name, issuer in before.issuers.items() if after.issuers.get(name) != issuer]
        self._log.log("info", "roster", f"roster {after.epoch} from {source}", epoch=after.epoch, gone=len(gone))
        self._changed(gone)
        self._tell(StoreRoster(self._home.roster_file))

    def _tell(self, message: Message) -> None:
        self._news.append(message)
        self._wake.set()

    # --- keeping up ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled: pass on news, follow hints, and ask somebody now and then."""
        async with trio.open_nursery() as nursery:
            await self._keep_up(nursery)

    async def _keep_up(self, nursery: trio.Nursery) -> None:
        while True:
            with trio.move_on_after(ASK_EVERY_S * self._random.uniform(0.8, 1.2)) as pause:
                await self._wake.wait()
            self._wake = trio.Event()
            if not self._home.roster.is_consortium:
                continue
            if pause.cancelled_caught or self._is_rumour:
                self._is_rumour = False
                await self._ask_somebody()
            while self._hints:
                peer, epoch = self._hints.popitem()
                if epoch > self._home.roster.epoch:
                    await self._fetch(peer)
            while self._news:
                news = self._news.pop(0)
                missed = await self._spread(news, self._others())
                if missed:
                    nursery.start_soon(self._spread_again, news, missed)

    async def _fetch(self, peer: PeerId) -> None:
        try:
            answer = await self._peers.request(peer, GetRoster(self._home.roster.epoch))
            if isinstance(answer, RosterFile) and len(answer.body):
                await self._accept(bytes(answer.body), peer.short)
        except RosterError as error:
            self._log.log("error", "roster-refused", f"{peer.short}: {error}")
        except MoorageError as error:
            self._log.log("debug", "roster-not-fetched", f"{peer.short}: {error}")
        except OSError as error:
            self._log.log("warning", "state-not-written", f"the roster that {peer.short} sent: {error.strerror}")

    def _others(self) -> list[PeerId]:
        return [record.peer for record in self._known_peers() if record.peer != self._home.identity.peer]

    async def _ask_somebody(self) -> None:
        others = self._others()
        if not others:
            return
        peer = self._random.choice(others)
        await self._fetch(peer)
        with suppress(MoorageError):
            await self._learn_motions(await self._peers.request(peer, GetProposals()))

    async def _learn_motions(self, answer: Message) -> None:
        for motion in parse_listed(answer):
            with suppress(MoorageError):
                await self._collect(motion, from_guest=False)

    async def _spread(self, message: Message, others: Sequence[PeerId]) -> list[PeerId]:
        """Who of those that were to be told did not answer."""
        chosen = others if len(others) <= TOLD_MAX else self._random.sample(others, TOLD_MAX)
        told = iter(chosen)
        missed: list[PeerId] = []

        async def tell_some() -> None:
            for peer in told:
                try:
                    await self._peers.request(peer, message, deadline_s=TOLD_DEADLINE_S)
                except (PeerUnavailableError, BusyError):
                    missed.append(peer)
                except MoorageError:
                    # It does not want it, or has left.
                    continue

        async with open_crew() as crew:
            for _ in range(min(AT_ONCE, len(chosen))):
                crew.start_soon(tell_some)
        return missed

    async def _spread_again(self, message: Message, missed: Sequence[PeerId]) -> None:
        """Whoever was just being started anew; who is away for longer finds out by asking."""
        epoch = self._home.roster.epoch
        for pause_s in TOLD_AGAIN_AFTER_S:
            await trio.sleep(pause_s)
            if self._home.roster.epoch != epoch:
                return
            missed = await self._spread(message, missed)
            if not missed:
                return
