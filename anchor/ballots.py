"""A proposal with the signatures that it has so far, as it travels and is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from anchor.draft import Ballot, Draft, admin_keys, check_ballot, draft_of
from anchor.organisation import Roster
from anchor.proposal import Proposal, encode_proposal, next_roster, parse_proposal
from core.encoding import Value, decode, encode
from core.errors import MalformedError, RosterError
from core.identity import ED25519_KEY_BYTES, ED25519_SIGNATURE_BYTES, check_issuer
from core.limits import PROPOSAL_MAX_BYTES
from core.schema import Fields, split_column

# Each of 64 members may sign with an old and a new key.
BALLOTS_MAX = 128


class Motion(NamedTuple):
    """``ballots`` by ascending key; unchecked until ``check_motion``."""

    proposal: Proposal
    ballots: tuple[Ballot, ...]


def encode_motion(motion: Motion) -> bytes:
    ballots: list[Value] = [[ballot.admin_key, b"".join(ballot.signatures)] for ballot in motion.ballots]
    return encode({"proposal": encode_proposal(motion.proposal), "ballots": ballots})


def parse_motion(data: bytes) -> Motion:
    """Raises MalformedError, CorruptError."""
    fields = Fields(decode(data, max_bytes=PROPOSAL_MAX_BYTES), what="motion")
    proposal = parse_proposal(fields.blob("proposal", max_bytes=PROPOSAL_MAX_BYTES))
    ballots: list[Ballot] = []
    for item in fields.items("ballots", max_items=BALLOTS_MAX):
        match item:
            case [bytes(key), bytes(signatures)] if len(key) == ED25519_KEY_BYTES:
                ballots.append(Ballot(key, split_column(signatures, ED25519_SIGNATURE_BYTES, what="ballot")))
            case _:
                raise MalformedError("motion: a ballot is not [key, signatures]")
    fields.end()
    return Motion(proposal, tuple(ballots))


def with_ballots(motion: Motion, ballots: Sequence[Ballot]) -> Motion:
    """The motion with these ballots, too; one of each key."""
    both = {ballot.admin_key: ballot for ballot in (*ballots, *motion.ballots)}
    return motion._replace(ballots=tuple(both[key] for key in sorted(both)))


def check_motion(roster: Roster, contents: bytes, motion: Motion) -> Draft:
    """What the proposal would make of ``roster``, whose ``contents`` have that name, if every ballot may count.

    Raises RosterError (for another version, or by a key that has no say), BadSignatureError, MalformedError.
    """
    proposal = motion.proposal
    if proposal.contents != contents:
        raise RosterError(f"the proposal changes another roster than {roster.epoch} of this pool: propose it anew")
    if proposal.organisation is not None:
        check_issuer(proposal.organisation.issuer, proposal.organisation.name)
    draft = draft_of(next_roster(roster, proposal))
    may_sign = {*admin_keys(roster), *admin_keys(draft.roster)}
    for ballot in motion.ballots:
        if ballot.admin_key not in may_sign:
            raise RosterError(f"the key {ballot.admin_key.hex()[:12]} has no say in this")
        check_ballot(draft, ballot)
    return draft
