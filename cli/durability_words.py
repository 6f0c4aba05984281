"""The words of a statement of durability: each says only what was seen now, or what a holder said of itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from cli.care import Names, finding_line
from cli.plan import PEERS_MAX, probability_text
from client.health import Status
from client.statement import Durability, Holder, too_long
from core.errors import NotEnoughPeersError
from erasure.durability_closed import nines
from erasure.durability_plan import DAY, HOUR
from erasure.durability_stripe import shares_per_site

_SEEN = {
    Status.OK: "there",
    Status.MISSING: "missing",
    Status.CORRUPT: "damaged",
    Status.SILENT: "out of reach",
    Status.NEWER: "of a newer version",
}
# The shortest that ``plan --repair-hours`` takes; peers as small as a demonstration's are rebuilt in less.
REPAIR_HOURS_MIN = 0.01


def durability_lines(statement: Durability, names: Names) -> list[str]:
    seen = statement.examination
    scheme = seen.scheme
    lines = [
        f"object {seen.object}: {seen.health} now, {seen.spare} to spare; {seen.confidence_words}",
        f"{scheme}: any {scheme.needed} of {scheme.total} shares restore a chunk, "
        f"{scheme.total / scheme.needed:.2f} bytes are stored for each",
    ]
    lines += _holder_lines(statement)
    lines += [f"may be lost at once now: {may_lose_text(statement)}", verified_text(statement)]
    lines += _loss_lines(statement)
    return lines + [finding_line(finding, names) for finding in seen.findings]


def _holder_lines(statement: Durability) -> list[str]:
    lines: list[str] = []
    where = ""
    for holder in statement.holders:
        place = holder.place
        here = f"at {place.site}, {place.organisation}:" if place else "at a place that nobody knows:"
        lines += [here] if here != where else []
        where = here
        shares = ", ".join(map(str, holder.shares))
        seen = ", ".join(f"{count} {_SEEN[status]}" for status, count in sorted(holder.shards.items()))
        lines.append(f"  {holder.name:<10} share {shares}; shards: {seen}; {_look_text(holder, statement.now_s)}")
    return lines


def _look_text(holder: Holder, now_s: float) -> str:
    look = holder.look
    if look is None:
        return f"does not say when it verified: {holder.failure}"
    found = f", last looked {_when(look.checked_s, now_s)} and left it {look.health}" if look.health else ""
    if not look.verified_s:
        return f"not verified yet{found}"
    if look.checked_s > look.verified_s:
        return f"not verified since {_when(look.verified_s, now_s)}{found}"
    return f"verified {_when(look.verified_s, now_s)}"


def may_lose_text(statement: Durability) -> str:
    """What may be lost at once now: so many holders, or which whole sites and organisations."""
    seen = statement.examination
    if seen.spare < 0:
        return seen.spread.words
    apart = all(len(holder.shares) == 1 for holder in statement.holders if holder.holds)
    spread = seen.spread
    # Beside any one site, where that may go; else on their own.
    more = spread.more_peers
    parts: list[str] = []
    if apart or not spread.survives_site:
        peers = seen.spare if apart else more
        parts.append(f"any {peers} of its holders" if peers else "no holder")
    parts.append(_domains_text(statement.sites, "site"))
    if spread.survives_site and more:
        parts[-1] += f" and any {more} holders more"
    if not all(statement.organisations.values()):
        parts.append(_domains_text(statement.organisations, "organisation"))
    return "; ".join(parts)


def _domains_text(readable: Mapping[str, bool], what: str) -> str:
    """``the whole site site-2, but not site-1 or site-3``"""
    good = [name for name, left in readable.items() if left]
    bad = [name for name, left in readable.items() if not left]
    if not bad:
        return f"any one whole {what} ({', '.join(good)})"
    if not good:
        return f"no whole {what}"
    return f"the whole {what} {' or '.join(good)}, but not {' or '.join(bad)}"


def verified_text(statement: Durability) -> str:
    """No more than was verified: by each holder's own word, since the oldest of their times."""
    parts = [f"not verified yet by {_list(statement.never_verified)}"] if statement.never_verified else []
    parts += [f"not known when {_list(statement.untold)} verified it"] if statement.untold else []
    late = statement.overdue
    parts += [f"not verified within its sweep interval by {_list(late)}"] if late else []
    oldest = statement.oldest
    if oldest is None or oldest.look is None:
        return f"last verified: {'; '.join(parts) or 'by nobody who answers'}"
    since = _when(oldest.look.verified_s, statement.now_s)
    if parts:
        return f"last verified: {'; '.join(parts)}; of the others the longest ago by {oldest.name}, {since}"
    return f"last verified: by each holder of good shards, as they say; the longest ago by {oldest.name}, {since}"


def _list(holders: Sequence[Holder]) -> str:
    return ", ".join(holder.name for holder in holders)


def _when(time_s: int, now_s: float) -> str:
    """``2026-11-22 03:10 UTC (2.5 hours ago)``; a time ahead of this clock is taken for now."""
    minutes = max(0.0, now_s - time_s) / 60
    ago = f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
    ago = ago if minutes < 48 * 60 else f"{minutes / 1440:.1f} days"
    return f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(time_s))} ({ago} ago)"


def _loss_lines(statement: Durability) -> list[str]:
    ahead = statement.forecast
    if ahead is None:
        return [f"loss within a year: no figure, since {statement.no_forecast}"]
    lines = [f"loss within a year, from peers and sites: {_probability(ahead.now)}"]
    if ahead.until_whole:
        lines.append(
            f"  {probability_text(ahead.before_whole)} before it is whole again, at the latest in "
            f"{ahead.until_whole / DAY:.1f} days if all is mended in time; "
            f"{probability_text(ahead.yearly)} in a year after that"
        )
    with_common = _nines(ahead.now + ahead.common)
    lines.append(f"  common-mode events come on top: {probability_text(ahead.common)}; {with_common} with them")
    return [*lines, *assuming_lines(statement)]


def _probability(probability: float) -> str:
    return f"{probability_text(probability)}, {_nines(probability)}"


def _nines(probability: float) -> str:
    return f"{nines(probability):.1f} nines" if probability else "never"


def assuming_lines(statement: Durability) -> list[str]:
    hazards = statement.hazards
    unread = "" if statement.examination.full else "that what was not read just now is whole too, "
    lines = [
        f"assuming {unread}a look every {hazards.sweep / DAY:.3g} days, a grace of {hazards.grace / HOUR:.3g} hours, "
        f"a full peer rebuilt in {hazards.repair / HOUR:.3g} hours ({_whose(statement)}),",
        f"  and, measured by nobody here, in a year {_percent(hazards.loud)} of peers and {_percent(hazards.site)} of "
        f"sites lost and replaced within {hazards.replace / DAY:.3g} and {hazards.site_replace / DAY:.3g} days, "
        f"{_percent(hazards.silent)} of shares lost unnoticed, {_percent(hazards.common)} of a common-mode event that "
        f"hits each site with {_percent(hazards.common_hit)}",
    ]
    command = plan_command(statement)
    if not command:
        return [
            *lines,
            "`moorage plan` cannot repeat this: the shares do not lie as placement would put them in this pool",
        ]
    return [*lines, f"to assume otherwise: {command}"]


def _whose(statement: Durability) -> str:
    told, holders = statement.told, len(statement.holders)
    if not told:
        return "defaults, since no holder told its own; no look is known since it was stored"
    if told == holders:
        return "by its holders' settings and last looks"
    return f"by the settings and last looks of {told} of {holders} holders, look and grace no shorter than the defaults"


def plan_command(statement: Durability) -> str:
    """The same figure from ``plan``, for a whole object. Empty where plan would place shares otherwise, or refuse."""
    if too_long(statement.hazards):
        return ""
    scheme, peers = statement.examination.scheme, statement.peers
    try:
        planned = shares_per_site(scheme, peers)
    except NotEnoughPeersError:
        return ""
    same = all(layout.meant == planned for layout in statement.layouts)
    if not same or len({layout.holders for layout in statement.layouts}) != 1:
        return ""
    if not 1 < len(peers) <= sum(peers) <= PEERS_MAX:
        return ""
    hazards = statement.hazards
    words = {
        "scheme": str(scheme),
        "sites": ",".join(map(str, peers)),
        "sweep-days": f"{hazards.sweep / DAY:.6g}",
        "grace-hours": f"{hazards.grace / HOUR:.6g}",
        "repair-hours": f"{max(REPAIR_HOURS_MIN, hazards.repair / HOUR):.6g}",
        "replace-days": f"{hazards.replace / DAY:.6g}",
        "site-replace-days": f"{hazards.site_replace / DAY:.6g}",
        "loud": _percent(hazards.loud),
        "silent": _percent(hazards.silent),
        "site-loss": _percent(hazards.site),
        "common": _percent(hazards.common),
        "common-hit": _percent(hazards.common_hit),
    }
    return "moorage plan " + " ".join(f"--{option} {value}" for option, value in words.items())


def _percent(share: float) -> str:
    return f"{100 * share:g}%"
