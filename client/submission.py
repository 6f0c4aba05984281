"""Sending leaves to an organisation's ledger peer, wherever its policy says that the log is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

import trio

from anchor.log import Anchored
from anchor.policy import Policy, parse_policy
from client.home import Home
from client.peers import Peers
from core.errors import (
    BadSignatureError,
    BusyError,
    HomeError,
    MoorageError,
    PeerUnavailableError,
    PendingError,
    ProtocolError,
)
from wire.messages import LeavesAnchored, SubmitLeaves
from wire.web import WebPlace, parse_url

# One question's patience for a quorum: two groups' time many times over.
QUORUM_PATIENCE_S = 10.0
# A witness that is started anew, or a line that was cut for a moment, is waited for; an outage of hours is not.
ANCHOR_PATIENCE_S = 60.0
ASK_AGAIN_S = 0.5
# A ledger peer and its client learn of a new roster seconds apart, and until then what one signs the other refuses.
ROSTER_SETTLES_S = 15.0

T = TypeVar("T")


class Submission(NamedTuple):
    """Leaves in the order in which they were given, all under one checkpoint.

    ``pending``: they are durable and signed by the log; no quorum has cosigned them yet. Submit them again later.
    """

    anchored: tuple[Anchored, ...]
    pending: bool


def ledger_place(policy: Policy) -> WebPlace | None:
    """Where the policy's log is published, and its ledger peer listens; None for an embedded ledger's policy.

    Raises MalformedError for a URL that is none.
    """
    url = next((policy.log_url(key) for key in policy.logs if policy.log_url(key)), "")
    return parse_url(url) if url else None


def place_of_log(policy: Policy) -> WebPlace:
    """As ``ledger_place``; raises HomeError where there is none."""
    place = ledger_place(policy)
    if place is None:
        raise HomeError("the organisation's policy does not say where its log is: it has no ledger peer")
    return place


def operated_policy(home: Home) -> Policy | None:
    """Of the log of the home's organisation, where a ledger peer operates it."""
    organisation = home.roster.organisation(home.identity.organisation)
    if organisation is None or not organisation.policy:
        return None
    policy = parse_policy(organisation.policy)
    return policy if ledger_place(policy) is not None else None


async def submit_leaves(
    peers: Peers, policy: Policy, leaves: Sequence[bytes], *, patience_s: float = QUORUM_PATIENCE_S
) -> Submission:
    """Anchor the leaves in the log of one's own organisation. Nothing that is answered has been verified.

    Args:
        policy: the organisation's, as on the roster; it says where its log is.
        leaves: at most LEAVES_PER_SUBMIT_MAX.
        patience_s: at most 20 s.

    Raises:
        HomeError: the policy names no place.
        PeerUnavailableError: the ledger peer does not answer, or its witnesses do not and nothing is durable.
        BusyError, LedgerError, RefusedError, StoreFullError: as the ledger peer says.
    """
    place = place_of_log(policy)
    message = SubmitLeaves(int(patience_s * 1000), tuple(leaves))
    remote, answer = await peers.ask(place.address, None, message)
    if not isinstance(answer, LeavesAnchored) or len(answer.indices) != len(leaves):
        raise ProtocolError(f"{remote.name} answered {answer.KIND} to {message.KIND}")
    proofs = zip(answer.indices, leaves, answer.paths, strict=True)
    anchored = tuple(Anchored(index, leaf, path, answer.checkpoint) for index, leaf, path in proofs)
    return Submission(anchored, answer.pending)


async def anchor_leaf(
    peers: Peers,
    policy: Policy,
    leaf: bytes,
    *,
    patience_s: float = ANCHOR_PATIENCE_S,
    pending: Callable[[Anchored], Awaitable[None]] | None = None,
    advice: str = "",
) -> Anchored:
    """As ``submit_leaves``, for one leaf, asked again until a quorum has cosigned it.

    ``pending`` is given, once, what the log itself has signed of it. ``advice`` ends the error's words, if any: what is
    done and what to do.

    Raises:
        PendingError: no quorum, or no ledger peer, for ``patience_s``. The same leaf may be given again.
        HomeError, LedgerError, RefusedError, StoreFullError, and what ``pending`` raises.
    """
    failure: MoorageError = PeerUnavailableError("the ledger peer does not answer")
    quorum_s = min(QUORUM_PATIENCE_S, patience_s / 2)
    is_told = False
    with trio.move_on_after(patience_s):
        while True:
            try:
                submission = await submit_leaves(peers, policy, [leaf], patience_s=quorum_s)
            except (PeerUnavailableError, BusyError) as error:
                failure = error
            else:
                if not submission.pending:
                    return submission.anchored[0]
                failure = PendingError("the log has the entry, but too few witnesses have cosigned it")
                if pending is not None and not is_told:
                    is_told = True
                    await pending(submission.anchored[0])
            await trio.sleep(ASK_AGAIN_S)
    raise PendingError(f"{failure}: {advice}" if advice else str(failure))


async def once_rosters_agree(home: Home, anchor: Callable[[], Awaitable[T]]) -> T:
    """``anchor`` again and again for a while, when what it gets is signed by other keys than the roster has.

    Raises BadSignatureError when it stays so, and whatever else ``anchor`` raises.
    """
    until_s = trio.current_time() + (ROSTER_SETTLES_S if home.roster.is_consortium else 0.0)
    while True:
        try:
            return await anchor()
        except BadSignatureError:
            if trio.current_time() >= until_s:
                raise
            await trio.sleep(ASK_AGAIN_S)
