"""How durable one object is: what was seen of it now, what its holders say of their last looks, and what follows.

Pure: ``client.durability`` asks, ``cli.durability`` words it.

No figure is made of what was not verified: the sweep interval that enters the model is the longest time for which a
holder has not found the object whole, if that is more than its settings promise. A holder that does not tell has not
found it whole since it was stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from client.health import Examination, ShardState, Status
from client.lastlook import LastLook
from core.ids import PeerId
from erasure.durability_now import Forecast, Layout, forecast
from erasure.durability_plan import (
    DAY,
    GRACE_HOURS_MAX,
    HOUR,
    REPAIR_HOURS_MAX,
    SWEEP_DAYS_MAX,
    YEAR_DAYS,
    Hazards,
)

YEAR_S = YEAR_DAYS * 86_400
# What repair mends. It leaves what a later release wrote alone.
_DAMAGE = (Status.MISSING, Status.CORRUPT)
# A bound itself, taken through years and back, is not more than the bound.
_ROUNDING = 1e-9


class Place(NamedTuple):
    """Who a peer is and where it stands. ``answers``: it did just now."""

    name: str
    organisation: str
    site: str
    capacity_bytes: int
    answers: bool


@dataclass(frozen=True, slots=True)
class Holder:
    """A peer that has shards of the object, or should have. ``place`` is None when nobody knows it any more.

    ``shares``: the indices of its shares, ``shards``: how many shards by what was seen of them now. ``look`` is None,
    and ``failure`` says why, when it did not tell.
    """

    peer: PeerId
    place: Place | None
    shares: tuple[int, ...]
    shards: Mapping[Status, int]
    look: LastLook | None
    failure: str

    @property
    def name(self) -> str:
        return self.place.name if self.place else self.peer.short

    @property
    def holds(self) -> bool:
        """Whether anything good of the object is there."""
        return self.shards.get(Status.OK, 0) > 0


@dataclass(frozen=True, slots=True)
class Durability:
    """The statement.

    ``forecast`` is None, and ``no_forecast`` says why, where the model has nothing to say. ``hazards``: what it was
    computed with; ``told``: how many holders said by which settings they work. ``peers``: how many the pool has at each
    site. ``sites``, ``organisations``: by name, whether the object is readable now without any of its shares there.
    """

    examination: Examination
    holders: tuple[Holder, ...]
    forecast: Forecast | None
    no_forecast: str
    hazards: Hazards
    told: int
    peers: tuple[int, ...]
    layouts: tuple[Layout, ...]
    sites: Mapping[str, bool]
    organisations: Mapping[str, bool]
    now_s: float

    @property
    def never_verified(self) -> tuple[Holder, ...]:
        """Holders of good shards that have never found the whole object in order."""
        return tuple(
            holder for holder in self.holders if holder.holds and holder.look is not None and not holder.look.verified_s
        )

    @property
    def untold(self) -> tuple[Holder, ...]:
        """Holders of good shards that do not say when they looked."""
        return tuple(holder for holder in self.holders if holder.holds and holder.look is None)

    @property
    def oldest(self) -> Holder | None:
        """Of those that verified it, the one whose last time is longest ago."""
        known = [holder for holder in self.holders if holder.holds and holder.look and holder.look.verified_s]
        return min(known, key=lambda holder: holder.look.verified_s if holder.look else 0, default=None)

    @property
    def overdue(self) -> tuple[Holder, ...]:
        """Holders whose last verification is longer ago than their sweep interval."""
        return tuple(
            holder
            for holder in self.holders
            if holder.holds
            and holder.look is not None
            and 0 < holder.look.verified_s < self.now_s - holder.look.sweep_s
        )


def statement_of(
    examination: Examination,
    places: Mapping[PeerId, Place],
    looks: Mapping[PeerId, LastLook | str],
    *,
    created_s: int,
    now_s: float,
) -> Durability:
    """``places``: every peer that is known; ``looks``: what each holder said, or why it did not."""
    holders = _holders(examination.states, places, looks)
    hazards = hazards_of(holders, created_s=created_s, now_s=now_s)
    layouts, odd = _layouts(examination, places)
    why = _why_none(examination, odd) or too_long(hazards)
    peers = _by_site(places.values())
    live = _by_site(place for place in places.values() if place.answers)
    return Durability(
        examination=examination,
        holders=tuple(holders),
        forecast=None if why else forecast(examination.scheme, layouts, peers, live, hazards),
        no_forecast=why,
        hazards=hazards,
        told=sum(holder.look is not None for holder in holders),
        peers=peers,
        layouts=tuple(layouts),
        sites=_readable_without(examination, places, lambda place: place.site),
        organisations=_readable_without(examination, places, lambda place: place.organisation),
        now_s=now_s,
    )


def hazards_of(holders: Sequence[Holder], *, created_s: int, now_s: float) -> Hazards:
    """The model's default rates with the slowest of the holders' own settings; what they do not tell is a default."""
    hazards = Hazards()
    looks = [holder.look for holder in holders if holder.look is not None]
    settings = [(look.sweep_s / YEAR_S, look.grace_s / YEAR_S) for look in looks]
    # Whoever keeps its settings to itself is not taken to look more often than the others.
    settings += [(hazards.sweep, hazards.grace)] if len(looks) < len(holders) else []
    verified = [holder.look.verified_s if holder.look else 0 for holder in holders if holder.holds]
    unseen = max((now_s - (time_s or created_s) for time_s in verified), default=0.0) / YEAR_S
    paces = [look.repair_bytes_per_s for look in looks if look.repair_bytes_per_s]
    room = max((holder.place.capacity_bytes for holder in holders if holder.place), default=0)
    return replace(
        hazards,
        sweep=max(unseen, *(sweep for sweep, _ in settings)),
        grace=max(grace for _, grace in settings),
        # As if the fullest of them were full: what is left of it when it has to be rebuilt, nobody knows today.
        repair=room / min(paces) / YEAR_S if paces and room else hazards.repair,
    )


def too_long(hazards: Hazards) -> str:
    """Which waits are longer than those that ``moorage plan`` takes, if any: no figure is worth much with such."""
    waits = (
        ("time without a look", hazards.sweep / DAY, SWEEP_DAYS_MAX, "days"),
        ("grace", hazards.grace / HOUR, GRACE_HOURS_MAX, "hours"),
        ("time to rebuild a full peer", hazards.repair / HOUR, REPAIR_HOURS_MAX, "hours"),
    )
    return "; ".join(
        f"a {what} of {wait:,.1f} {unit} is more than the {most:,} that the model takes"
        for what, wait, most, unit in waits
        if wait > most * (1 + _ROUNDING)
    )


def _holders(
    states: Sequence[ShardState], places: Mapping[PeerId, Place], looks: Mapping[PeerId, LastLook | str]
) -> list[Holder]:
    shares: dict[PeerId, set[int]] = {}
    shards: dict[PeerId, Counter[Status]] = {}
    for state in states:
        shares.setdefault(state.holder, set()).add(state.share)
        shards.setdefault(state.holder, Counter())[state.status] += 1
    found: list[Holder] = []
    for peer, indices in shares.items():
        said = looks.get(peer, "was not asked")
        look, failure = (None, said) if isinstance(said, str) else (said, "")
        found.append(Holder(peer, places.get(peer), tuple(sorted(indices)), shards[peer], look, failure))
    return sorted(found, key=lambda holder: (_site(holder), len(holder.name), holder.name, holder.peer))


def _site(holder: Holder) -> tuple[str, str]:
    return (holder.place.site, holder.place.organisation) if holder.place else ("", "")


def _by_site(places: Iterable[Place]) -> tuple[int, ...]:
    return tuple(sorted(Counter(place.site for place in places).values(), reverse=True))


def _readable_without(
    examination: Examination, places: Mapping[PeerId, Place], domain: Callable[[Place], str]
) -> dict[str, bool]:
    """By the name of a site or organisation: whether enough is left without it. Who is nowhere known goes with each."""

    def is_left(state: ShardState, name: str) -> bool:
        return state.ok and state.holder in places and domain(places[state.holder]) != name

    names = sorted({domain(places[state.holder]) for state in examination.states if state.holder in places})
    groups = examination.extents().values()
    return {
        name: all(sum(is_left(state, name) for state in states) >= examination.scheme.needed for states in groups)
        for name in names
    }


def _layouts(examination: Examination, places: Mapping[PeerId, Place]) -> tuple[list[Layout], bool]:
    """The layouts that the object's extents have, and whether some peer has two shares of one."""
    found: dict[tuple[tuple[PeerId, Status], ...], Layout] = {}
    odd = False
    for states in examination.extents().values():
        key = tuple((state.holder, state.status) for state in states)
        odd |= len({state.holder for state in states}) < len(states)
        if key not in found:
            found[key] = _layout(states, places)
    return list(found.values()), odd


def _layout(states: Sequence[ShardState], places: Mapping[PeerId, Place]) -> Layout:
    meant = Counter(places[state.holder].site for state in states if state.holder in places)
    good = Counter(places[state.holder].site for state in states if state.holder in places and state.ok)
    # Nobody knows where it stands: where it does most harm.
    worst = max(sorted(meant), key=lambda site: meant[site], default="")
    for state in states:
        if state.holder not in places:
            meant[worst] += 1
            good[worst] += state.ok
    sites = sorted(meant, key=lambda site: (-meant[site], site))
    return Layout(
        holders=tuple(state.holder for state in states),
        good=tuple(good[site] for site in sites),
        meant=tuple(meant[site] for site in sites),
        silent=any(state.status is Status.SILENT for state in states),
        damaged=any(state.status in _DAMAGE for state in states),
    )


def _why_none(examination: Examination, odd: bool) -> str:
    if examination.spare < 0:
        return "too few whole shares answer to read it now: what becomes of it depends on the silent and damaged ones"
    if odd:
        return "one peer has several shares of the same chunks, and the model takes shares to fail apart"
    if any(state.status is Status.NEWER for state in examination.states):
        return (
            "a later release wrote some of its shards: this one can neither read nor mend them, "
            "so that nobody here knows when it is whole again"
        )
    return ""
