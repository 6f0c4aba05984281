"""What a member proposes to change in a consortium's roster, and the roster that it would make.

A proposal names the version that it changes. From both follows every byte of the next version
(``anchor.draft.draft_of``), so each organisation makes it for itself, sees in words what it is asked to sign, and sends
nothing but signatures. Formats: docs/format.md, "Proposal".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from anchor.leaf import escape_name
from anchor.organisation import Member, Organisation, Roster, with_policies
from anchor.rosterparts import (
    MEMBERS_MAX,
    check_distinct,
    ledger_row,
    members_row,
    parse_organisation,
    parse_reach,
    with_witness_key,
)
from core.encoding import Value, decode, encode
from core.errors import MalformedError, RosterError
from core.identity import NAME_MAX_CHARACTERS
from core.ids import DIGEST_BYTES, derived_digest
from core.limits import PROPOSAL_MAX_BYTES, SECONDS_MAX
from core.ports import Address
from core.schema import Fields

PROPOSAL_VERSION = 1
PROPOSAL_CONTEXT = "moorage 2026 roster proposal v1"
REASON_MAX_CHARACTERS = 200
# A roster lasts a year; a version that outlives its signers' attention by far would keep lost keys alive.
LIFE_MAX_S = 400 * 86400
WITNESS_KEY_MAX_BYTES = 1312


class Change(StrEnum):
    """What a proposal does."""

    JOIN = "join"
    LEAVE = "leave"
    REPLACE = "replace"
    RENEW = "renew"


@dataclass(frozen=True, slots=True)
class Proposal:
    """``base`` and ``contents``: the epoch that it changes, and the 32 bytes that name that version's contents.

    ``name``: the organisation that joins, leaves, or gets new keys (empty: none). ``organisation``: its new entry.
    """

    base: int
    contents: bytes
    change: Change
    name: str
    organisation: Organisation | None
    expires_s: int
    time_s: int
    reason: str = ""

    @property
    def id(self) -> bytes:
        """32 bytes that name it."""
        return derived_digest(PROPOSAL_CONTEXT, encode_proposal(self))


def encode_organisation(organisation: Organisation) -> Value:
    """Its rows of both targets, and its ML-DSA-44 key."""
    member = organisation.member
    assert member is not None, organisation.name
    return [ledger_row(organisation), members_row(organisation), member.witness_mldsa44]


def decode_organisation(value: Value) -> Organisation:
    """Raises MalformedError, CorruptError."""
    match value:
        case [row, reach, bytes(key)] if len(key) <= WITNESS_KEY_MAX_BYTES:
            organisation = with_witness_key(parse_organisation(row), key)
            if organisation.member is None or not organisation.member.is_witness_known:
                raise MalformedError("proposal: the key of a witness is missing")
            return parse_reach(reach, organisation)
        case _:
            raise MalformedError("proposal: an organisation is not [row, row, key]")


def encode_proposal(proposal: Proposal) -> bytes:
    return encode(
        {
            "v": PROPOSAL_VERSION,
            "base": proposal.base,
            "contents": proposal.contents,
            "change": str(proposal.change),
            "name": proposal.name,
            "organisation": None if proposal.organisation is None else encode_organisation(proposal.organisation),
            "expires": proposal.expires_s,
            "time": proposal.time_s,
            "reason": proposal.reason,
        }
    )


def parse_proposal(data: bytes) -> Proposal:
    """Raises MalformedError, CorruptError."""
    fields = Fields(decode(data, max_bytes=PROPOSAL_MAX_BYTES), what="proposal")
    fields.integer("v", low=PROPOSAL_VERSION, high=PROPOSAL_VERSION)
    base = fields.integer("base", low=1, high=2**31)
    contents = fields.exact("contents", DIGEST_BYTES)
    change = fields.member("change", Change, max_characters=20)
    name = fields.text("name", max_characters=NAME_MAX_CHARACTERS)
    row = fields.raw("organisation")
    proposal = Proposal(
        base=base,
        contents=contents,
        change=change,
        name=name,
        organisation=None if row is None else decode_organisation(row),
        expires_s=fields.integer("expires", high=SECONDS_MAX),
        time_s=fields.integer("time", high=SECONDS_MAX),
        reason=fields.text("reason", max_characters=REASON_MAX_CHARACTERS),
    )
    fields.end()
    has_row = proposal.organisation is not None
    if has_row != (change in (Change.JOIN, Change.REPLACE)) or bool(name) != (change is not Change.RENEW):
        raise MalformedError(f"proposal: to {change} takes other fields")
    if proposal.organisation is not None and proposal.organisation.name != name:
        raise MalformedError("proposal: it names one organisation and describes another")
    if not (name + proposal.reason).isprintable():
        raise MalformedError("proposal: a text in it cannot be printed")
    return proposal


def next_roster(roster: Roster, proposal: Proposal) -> Roster:
    """The version that the proposal would make of ``roster``. Raises RosterError, MalformedError."""
    if proposal.base != roster.epoch:
        raise RosterError(f"the proposal changes roster {proposal.base}, and this is {roster.epoch}: propose it anew")
    if not proposal.time_s < proposal.expires_s <= proposal.time_s + LIFE_MAX_S:
        raise RosterError(f"a roster is proposed for at most {LIFE_MAX_S // 86400} days")
    if proposal.organisation is not None:
        _check_origin(roster.pool_name, proposal.organisation)
    organisations = _changed(list(roster.organisations), proposal)
    check_distinct(organisations)
    return Roster(
        pool_name=roster.pool_name,
        epoch=roster.epoch + 1,
        pool_key=b"",
        organisations=with_policies(organisations),
        seeds=doors_of(organisations),
        root=roster.root,
        expires_s=proposal.expires_s,
    )


def _check_origin(pool_name: str, organisation: Organisation) -> None:
    """Nobody's log may pass for another's: an origin is the pool's name, the organisation's, and a number."""
    origin = organisation.member.log_origin if organisation.member is not None else ""
    home, _, number = origin.rpartition("/")
    if home != f"{escape_name(pool_name)}/{escape_name(organisation.name)}" or not number.isdecimal():
        raise RosterError(f"the log of {organisation.name!r} may not be called {origin!r}")


def _number_of(origin: str) -> int:
    return int(origin.rpartition("/")[2])


def _check_log_follows(before: Organisation, after: Organisation) -> None:
    """A log is one key's from its first entry to its end: another key begins the log of a later number."""
    assert before.member is not None, before.name
    assert after.member is not None, after.name
    old, new = before.member, after.member
    if new.log_origin == old.log_origin and new.log_key != old.log_key:
        raise RosterError(f"log {old.log_origin!r} cannot get another key: a new key begins the log of the next number")
    if new.log_origin != old.log_origin and _number_of(new.log_origin) <= _number_of(old.log_origin):
        raise RosterError(f"log {new.log_origin!r} is not after {old.log_origin!r}: a log does not begin again")


def _changed(organisations: list[Organisation], proposal: Proposal) -> list[Organisation]:
    at = next((number for number, item in enumerate(organisations) if item.name == proposal.name), None)
    entry = proposal.organisation
    match proposal.change:
        case Change.JOIN if entry is not None:
            if at is not None:
                raise RosterError(f"{proposal.name!r} is a member already")
            if len(organisations) >= MEMBERS_MAX:
                raise RosterError(f"a consortium has at most {MEMBERS_MAX} members")
            return [*organisations, replace(entry, policy="")]
        case Change.REPLACE if at is not None and entry is not None:
            _check_log_follows(organisations[at], entry)
            organisations[at] = replace(entry, policy="")
            return organisations
        case Change.LEAVE if at is not None:
            if len(organisations) == 1:
                raise RosterError("the last member cannot leave")
            return [*organisations[:at], *organisations[at + 1 :]]
        case Change.RENEW:
            return organisations
        case _:
            raise RosterError(f"{proposal.name!r} is no member")


def doors_of(organisations: Sequence[Organisation]) -> tuple[Address, ...]:
    """Where a newcomer may knock first: at each organisation's ledger peer."""
    found: list[Address] = []
    for item in organisations:
        if item.member is not None:
            host, _, port = item.member.witness_url.removeprefix("https://").partition("/")[0].rpartition(":")
            if host and port.isdigit() and 0 < int(port) < 65536:
                found.append(Address(host.strip("[]"), int(port)))
    return tuple(dict.fromkeys(found))


def words_of(roster: Roster, proposal: Proposal) -> list[str]:
    """What the proposal does, for the person who is to sign it. Raises as ``next_roster``."""
    after = next_roster(roster, proposal)
    name = repr(proposal.name)
    match proposal.change:
        case Change.JOIN:
            lines = [f"{name} joins"]
        case Change.LEAVE:
            lines = [f"{name} leaves: its peers are no longer dialled, believed or given shards"]
        case Change.REPLACE:
            lines = [f"{name} gets new keys: {', '.join(_new_keys(roster, proposal)) or 'none'}"]
        case _:
            lines = ["nothing changes but the expiry"]
    before = {item.name for item in roster.organisations}
    lines.append(f"members: {len(before)} before, {len(after.organisations)} after")
    if proposal.organisation is not None and proposal.organisation.member is not None:
        member = proposal.organisation.member
        lines.append(f"log {member.log_origin} at {member.log_url}")
        lines.append(f"admin key {member.admin_key.hex()}")
        lines += _replaced(roster.organisation(proposal.name), member)
    if proposal.reason:
        lines.append(f"reason given: {proposal.reason}")
    return lines


def _replaced(known: Organisation | None, new: Member) -> list[str]:
    """What those who are asked should hear about a log or a witness that is another one."""
    old = known.member if known is not None else None
    lines: list[str] = []
    if old is not None and old.log_origin != new.log_origin:
        lines.append(f"log {old.log_origin} ends for good; {new.log_origin} begins empty, with key {new.log_key.hex()}")
    if old is not None and old.witness_ed25519 != new.witness_ed25519:
        lines.append(f"witness key {new.witness_ed25519.hex()}, in place of {old.witness_ed25519.hex()}")
    return lines


def _new_keys(roster: Roster, proposal: Proposal) -> list[str]:
    old, new = roster.organisation(proposal.name), proposal.organisation
    if old is None or new is None or old.member is None or new.member is None:
        return []
    pairs = {
        "issuer": (old.issuer, new.issuer),
        "manifest key": (old.manifest_key, new.manifest_key),
        "sealing key": (old.sealing_key, new.sealing_key),
        "admin key": (old.member.admin_key, new.member.admin_key),
        "log key": (old.member.log_key, new.member.log_key),
        "witness key": (
            old.member.witness_ed25519 + old.member.witness_mldsa44,
            new.member.witness_ed25519 + new.member.witness_mldsa44,
        ),
        "log": ((old.member.log_origin, old.member.log_url), (new.member.log_origin, new.member.log_url)),
        "address": (old.member.witness_url, new.member.witness_url),
    }
    return [what for what, (before, after) in pairs.items() if before != after]
