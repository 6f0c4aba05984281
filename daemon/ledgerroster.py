"""What a roster means to a ledger peer: which logs there are, which it cosigns, and which is its own."""

from __future__ import annotations

from typing import NamedTuple

from anchor.note import NoteKey
from anchor.policy import Policy, parse_policy
from anchor.roster import Roster
from client.servicekeys import ServiceIdentity
from core.errors import MalformedError


class RosterView(NamedTuple):
    """``policies``: by the origin of the log. ``ours``: our log's; None while it is not on the roster."""

    policies: dict[str, Policy]
    ours: str | None
    faults: list[str]
    """What is wrong with it, in words."""


NO_VIEW = RosterView({}, None, [])


def view_of(roster: Roster, me: ServiceIdentity) -> RosterView:
    found: dict[str, Policy] = {}
    ours: str | None = None
    faults: list[str] = []
    for organisation in roster.organisations:
        try:
            policy = parse_policy(organisation.policy)
        except MalformedError as error:
            faults.append(f"{organisation.name}: {error}")
            continue
        for key in policy.logs:
            found.setdefault(key.name, policy)
        if ours is None and me.log_key in policy.logs:
            ours = organisation.policy
    return RosterView(found, ours, faults)


def logs_cosigned(view: RosterView, me: ServiceIdentity) -> dict[str, list[NoteKey]]:
    """Which logs we are to cosign: those whose policies name one of our keys, and no others."""
    ours = frozenset(cosigner.key for cosigner in me.cosigners)
    return {
        origin: [key for key in policy.logs if key.name == origin]
        for origin, policy in view.policies.items()
        if any(witness.key in ours for witness in policy.witnesses)
    }
