"""Sending leaves to an organisation's ledger peer, wherever its policy says that the log is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import trio

from anchor.log import Anchored
from anchor.policy import Policy
from client.peers import Peers
from core.errors import BusyError, HomeError, MoorageError, PeerUnavailableError, ProtocolError
from wire.messages import LeavesAnchored, SubmitLeaves
from wire.web import WebPlace, parse_url

# One question's patience for a quorum: two groups' time many times over.
QUORUM_PATIENCE_S = 10.0
# A witness that is started anew, or a line that was cut for a moment, is waited for; an outage of hours is not.
ANCHOR_PATIENCE_S = 60.0
ASK_AGAIN_S = 0.5


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
    place = ledger_place(policy)
    if place is None:
        raise HomeError("the organisation's policy does not say where its log is: it has no ledger peer")
    message = SubmitLeaves(int(patience_s * 1000), tuple(leaves))
    remote, answer = await peers.ask(place.address, None, message)
    if not isinstance(answer, LeavesAnchored) or len(answer.indices) != len(leaves):
        raise ProtocolError(f"{remote.name} answered {answer.KIND} to {message.KIND}")
    proofs = zip(answer.indices, leaves, answer.paths, strict=True)
    anchored = tuple(Anchored(index, leaf, path, answer.checkpoint) for index, leaf, path in proofs)
    return Submission(anchored, answer.pending)


async def anchor_leaf(peers: Peers, policy: Policy, leaf: bytes) -> Anchored:
    """As ``submit_leaves``, for one leaf, asked again until a quorum has cosigned it.

    Raises:
        PeerUnavailableError: no quorum, or no ledger peer, for ANCHOR_PATIENCE_S. The same leaf may be given again.
        HomeError, LedgerError, RefusedError, StoreFullError
    """
    failure: MoorageError = PeerUnavailableError("the ledger peer does not answer")
    with trio.move_on_after(ANCHOR_PATIENCE_S):
        while True:
            try:
                submission = await submit_leaves(peers, policy, [leaf])
                if not submission.pending:
                    return submission.anchored[0]
                failure = PeerUnavailableError("the log has the entry, but too few witnesses have cosigned it")
            except (PeerUnavailableError, BusyError) as error:
                failure = error
            await trio.sleep(ASK_AGAIN_S)
    raise PeerUnavailableError(f"{failure}: everything is stored and nothing is anchored; run the same put again later")
