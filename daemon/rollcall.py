"""Ask the other peers now and then whether they are there, so that a silence is known when it begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from client.asker import Asker, Directory
from core.ids import PeerId
from core.ports import Chance, Clock
from daemon.hands import who_answers
from daemon.silence import Silence

# Grace is counted in hours; a quarter of it is soon enough, and an hour costs nothing.
EVERY_MAX_S = 3600.0
EVERY_MIN_S = 60.0
# In larger pools everybody asks others; who is dead is dead for all.
ASKED_MAX = 256
AT_ONCE = 8


class RollCall:
    """``remember`` is called after every round, ``given_up`` when some peer's grace has ended since the last one."""

    def __init__(
        self,
        me: PeerId,
        *,
        asker: Asker,
        directory: Directory,
        silence: Silence,
        clock: Clock,
        chance: Chance,
        grace_s: float,
        given_up: Callable[[], None],
        remember: Callable[[], Awaitable[None]],
    ) -> None:
        self._me = me
        self._asker = asker
        self._directory = directory
        self._silence = silence
        self._clock = clock
        self._random = chance.stream("roll call")
        self._grace_s = grace_s
        self._given_up = given_up
        self._remember = remember

    async def run(self) -> None:
        """Until cancelled."""
        every_s = min(EVERY_MAX_S, max(EVERY_MIN_S, self._grace_s / 4))
        gone = self._silence.given_up(self._grace_s)
        while True:
            await trio.sleep(every_s * self._random.uniform(0.8, 1.2))
            await self.call()
            await self._remember()
            now_gone = self._silence.given_up(self._grace_s)
            if now_gone - gone:
                self._given_up()
            gone = now_gone

    def _some(self, peers: list[PeerId], at_most: int) -> list[PeerId]:
        return peers if len(peers) <= at_most else self._random.sample(peers, at_most)

    async def call(self) -> None:
        """One round: who answers is not silent, who does not is."""
        known = {record.peer for record in self._directory.known_peers()} - {self._me}
        gone = self._silence.given_up(self._grace_s)
        # Who is silent is asked every time, or its grace would not end for weeks in a pool of thousands; also when its
        # record has expired, which may be sooner than the grace ends. Afterwards it says itself that it is back.
        silent = [peer for peer in self._silence.silent() if peer in known or peer not in gone]
        # Nor may mere names in manifests crowd out those that were there once.
        self._silence.meet(known)
        met = [peer for peer in silent if self._silence.met(peer)]
        peers = self._some(met, ASKED_MAX // 2)
        others = [peer for peer in silent if not self._silence.met(peer)]
        peers += self._some(others, ASKED_MAX // 2 - len(peers))
        peers += self._some(sorted(known - set(peers), key=lambda peer: peer.raw), ASKED_MAX - len(peers))
        answered = await who_answers(self._asker, peers, at_once=AT_ONCE)
        self._silence.note(answered, set(peers) - answered, self._clock.now())
        self._silence.meet(known)
