"""A leaf's way into a consortium's ledger: to the ledger peer of one's own organisation, and back with its proof."""

from __future__ import annotations

from urllib.parse import urlsplit

import trio

from anchor.log import Anchored
from anchor.organisation import Member
from client.peers import Peers
from core.errors import BusyError, LedgerError, MoorageError, PeerUnavailableError, ProtocolError
from core.ports import Address
from wire.ledger import LeavesAnchored, SubmitLeaves

# A witness that was started anew, or a line that was cut for a moment, is waited for; an outage of hours is not.
PATIENCE_S = 60.0
# Each question waits for so long: an answer shows that the ledger peer is there.
WAIT_MS = 10_000
RETRY_S = 0.5


def ledger_address(member: Member) -> Address:
    """Where the ledger peer of an organisation listens. Raises ProtocolError for a URL that names no port."""
    parts = urlsplit(member.log_url)
    if not parts.hostname or not parts.port:
        raise ProtocolError(f"the log {member.log_origin!r} is at {member.log_url!r}, which names no host and port")
    return Address(parts.hostname, parts.port)


async def submit_leaf(peers: Peers, organisation: str, member: Member, leaf: bytes) -> Anchored:
    """Have ``organisation``'s ledger peer anchor the leaf, and wait for the quorum of witnesses.

    The proof is not checked here. A leaf that was submitted before is proved, not added again.

    Raises:
        PeerUnavailableError: the ledger peer does not answer, or too few witnesses sign.
        LedgerError: its log contradicts itself or a witness; nothing more is signed.
        ProtocolError, PeerRefusedError
    """
    address = ledger_address(member)
    failure: MoorageError = PeerUnavailableError(f"the ledger peer of {organisation} at {address} does not answer")
    with trio.move_on_after(PATIENCE_S):
        while True:
            try:
                answer = await _ask(peers, address, organisation, leaf)
                if not answer.pending:
                    return Anchored(answer.indices[0], leaf, answer.paths[0], answer.checkpoint)
                failure = PeerUnavailableError(
                    f"the log of {organisation} has the leaf, but fewer of its witnesses sign than its policy asks for"
                )
            except (PeerUnavailableError, BusyError) as error:
                failure = error
            await trio.sleep(RETRY_S)
    raise PeerUnavailableError(f"{failure}: everything is stored, nothing is anchored; run the same put again later")


async def _ask(peers: Peers, address: Address, organisation: str, leaf: bytes) -> LeavesAnchored:
    remote, answer = await peers.ask(address, None, SubmitLeaves(WAIT_MS, (leaf,)))
    if remote.organisation != organisation:
        raise LedgerError(f"at {address} listens {remote.name} of {remote.organisation}, not of {organisation}")
    if not isinstance(answer, LeavesAnchored) or len(answer.indices) != 1:
        raise ProtocolError(f"{remote.name} answered something else than one leaf's proof")
    return answer
