"""What a placement survives, computed from where the good shares are and said in words.

The words are true of the holders given, not of the scheme: fewer good shares, two shares on one peer or a holder
whose site is unknown all weaken them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.ids import PeerId
from erasure.placement import Candidate
from erasure.scheme import Scheme

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True, slots=True)
class Spread:
    """``ok``: every share is there and the placement rule is kept.

    ``worst_site_shares``: the most shares that go with one site. ``survives_site``, ``survives_organisation``: the
    chunk stays readable whichever one is lost. ``more_peers``: how many peers may be lost, whichever they are, beside
    any one site where ``survives_site``, on their own otherwise; -1 when too few shares are left already.
    """

    ok: bool
    worst_site_shares: int
    survives_site: bool
    survives_organisation: bool
    more_peers: int
    words: str


def _peers_to_lose(shares: Mapping[PeerId, int], to_lose: int) -> int:
    """How many peers may go, whichever they are, with at most ``to_lose`` shares; -1 when that is negative."""
    if to_lose < 0:
        return -1
    peers = 0
    for held in sorted(shares.values(), reverse=True):
        to_lose -= held
        if to_lose < 0:
            break
        peers += 1
    return peers


def _count(number: int, noun: str) -> str:
    word = _NUMBERS[number] if number < len(_NUMBERS) else str(number)
    return f"{word} {noun}{'' if number == 1 else 's'}"


def _worst(domain_shares: Counter[str]) -> tuple[str, int]:
    """The domain that has most shares, and how many. Of equals, the first by name."""
    return min(domain_shares.items(), key=lambda item: (-item[1], item[0]), default=("", 0))


def _words(peers: int, too_much: Sequence[str], *, survives_site: bool) -> str:
    """``too_much``: what must not be lost."""
    if survives_site:
        text = "readable after losing any one site" + (f" and any {_count(peers, 'more peer')}" if peers else "")
    else:
        text = f"readable after losing any {_count(peers, 'peer')}" if peers else "readable now"
    return f"{text}, but not after losing {' or '.join(too_much)}" if too_much else text


def spread_of(scheme: Scheme, holders: Mapping[int, PeerId], candidates: Sequence[Candidate]) -> Spread:
    """What the good shares (index to peer) survive. A holder that is no candidate is taken to stand at every site."""
    known = {candidate.peer: candidate for candidate in candidates}
    shares = Counter(holders.values())
    sites: Counter[str] = Counter()
    organisations: Counter[str] = Counter()
    unknown = 0
    for peer, held in shares.items():
        if peer in known:
            sites[known[peer].site] += held
            organisations[known[peer].organisation] += held
        else:
            unknown += held
    to_lose = len(holders) - scheme.needed
    site, site_shares = _worst(sites)
    organisation, organisation_shares = _worst(organisations)
    site_shares += unknown
    organisation_shares += unknown
    ok = (
        len(holders) == scheme.total == len(shares)
        and not unknown
        and max(site_shares, organisation_shares) <= scheme.spare
    )
    survives_site, survives_organisation = site_shares <= to_lose, organisation_shares <= to_lose
    if to_lose < 0:
        words = f"not readable: {len(holders)} of the {scheme.needed} shares that are needed are there"
        return Spread(ok, site_shares, survives_site, survives_organisation, -1, words)
    if survives_site:
        elsewhere = [
            ({peer: held for peer, held in shares.items() if peer in known and known[peer].site != name}, gone)
            for name, gone in sorted(sites.items())
        ]
        more = min((_peers_to_lose(rest, to_lose - gone - unknown) for rest, gone in elsewhere), default=0)
    else:
        more = _peers_to_lose(shares, to_lose)
    too_much = [] if survives_site else [f"site {site}" if site else "the wrong site"]
    too_much += (
        [] if survives_organisation else [f"organisation {organisation}" if organisation else "its organisation"]
    )
    words = _words(more, too_much, survives_site=survives_site)
    return Spread(ok, site_shares, survives_site, survives_organisation, more, words)
