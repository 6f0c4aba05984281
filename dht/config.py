"""How patient, how parallel and how busy the discovery layer is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from core.ids import PeerId
from core.ports import Address, Identity
from wire.messages import RECORDS_MAX, Message


class Messenger(Protocol):
    """One question to one peer over an authenticated connection."""

    async def ask(self, address: Address, expect: PeerId | None, message: Message) -> tuple[Identity, Message]:
        """Who answered, and what.

        Raises:
            PeerUnavailableError: nobody answers there in time.
            PeerRefusedError: whoever answers is not of this pool, or not ``expect``.
        """
        ...


@dataclass(frozen=True, slots=True)
class DhtConfig:
    """Defaults suit pools of 2 to thousands of peers. All times are seconds."""

    k: int = 20
    """Contacts per bucket, holders per record (Kademlia paper, section 2.2)."""
    alpha: int = 3
    """Questions on the way in one lookup."""
    slow_s: float = 0.5
    """After this long without an answer a lookup asks somebody else meanwhile."""
    late_s: float = 0.4
    """How long a finished lookup waits for slow peers; with ``slow_s`` what one hung peer costs."""
    ask_deadline_s: float = 4.0
    """A question without an answer for so long has failed."""
    search_deadline_s: float = 20.0
    publish_deadline_s: float = 5.0
    searches_max: int = 8
    """Searches at the same time; bounds connections and memory."""
    stores_parallel: int = 16
    crawl_parallel: int = 4
    crawl_quiet: int = 3
    """In a pool smaller than k, so many answers in a row without news end a roll call."""
    peers_max: int = 10_000
    """A crawl stops here."""
    trusted_min: int = 3
    """Suspects are left out of answers while so many others remain."""
    resolve_quorum: int = 3
    """Holders of a peer's record that are asked before the newest is believed."""

    round_s: float = 60.0
    """Pause between rounds of upkeep; a quarter of jitter either way."""
    first_rounds_s: tuple[float, ...] = (1.0, 3.0, 8.0, 20.0)
    """The first pauses: peers that start together find each other within seconds."""
    announce_every_s: float = 600.0
    ping_after_s: float = 1800.0
    """A contact that was silent for so long is asked for its record."""
    search_every_s: float = 3600.0
    """Each bucket's range is searched this often."""
    republish_every_s: float = 8 * 3600.0
    save_every_s: float = 600.0
    work_per_round: int = 16
    """Pings, introductions, repairs, republications: at most so many each in one round."""

    def __post_init__(self) -> None:
        assert 0 < self.alpha <= self.k <= RECORDS_MAX, self


class DhtStatistics(NamedTuple):
    """Figures since the start, for ``status`` and metrics."""

    contacts: int
    suspects: int
    peers: int
    """Peer records held."""
    providers: int
    """Provider records held."""
    asked: int
    served: int
    signatures_checked: int
    counts: tuple[tuple[str, int], ...]
    """Failures and refusals by reason, by ascending reason."""
    offenders: tuple[tuple[PeerId, int], ...]
    """Peers whose answers held records that no honest peer passes on, and how often. Evidence for the roster."""
