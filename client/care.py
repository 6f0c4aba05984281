"""Ask peers to sweep or repair, and wait for their reports. Needs no key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from client.context import Client
from client.locate import find_manifest
from client.peers import Peers
from client.progress import Progress
from client.tasks import open_crew
from core.encoding import decode
from core.errors import MoorageError, NotEnoughPeersError, ProtocolError
from core.findings import Finding
from core.ids import ObjectId, PeerId
from core.limits import FRAME_BODY_MAX_BYTES, ROOTS_PER_REQUEST_MAX
from core.schema import Fields
from wire.messages import Job, Ping, PollJob, StartJob

POLL_S = 0.1
REPORT_ITEMS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class CareReport:
    """What a job found and did. ``left_off``: findings and repairs that were too many for the report."""

    checked: int
    findings: tuple[Finding, ...]
    repairs: tuple[Finding, ...]
    unrepaired: int
    left_off: int = 0

    def plus(self, other: CareReport) -> CareReport:
        return CareReport(
            self.checked + other.checked,
            self.findings + other.findings,
            self.repairs + other.repairs,
            self.unrepaired + other.unrepaired,
            self.left_off + other.left_off,
        )


NOTHING = CareReport(0, (), (), 0)


def parse_report(data: bytes) -> CareReport:
    """A job's report. Raises MalformedError."""
    fields = Fields(decode(data, max_bytes=FRAME_BODY_MAX_BYTES), what="job report")
    findings, repairs = (
        tuple(Finding.from_value(item) for item in fields.items(key, max_items=REPORT_ITEMS_MAX))
        for key in ("findings", "repairs")
    )
    report = CareReport(
        checked=fields.integer("checked", high=2**40),
        findings=findings,
        repairs=repairs,
        unrepaired=fields.integer("unrepaired", high=2**40),
        left_off=sum(fields.integer(f"{key}_left_off", high=2**40) for key in ("findings", "repairs")),
    )
    fields.end()
    return report


async def run_job(peers: Peers, peer: PeerId, job: StartJob, progress: Progress) -> CareReport:
    """Start a job on a peer and wait for its end, however long it takes, as long as the peer answers.

    Raises PeerUnavailableError, RefusedError, ProtocolError.
    """
    answer = await peers.request(peer, job)
    while True:
        if not isinstance(answer, Job):
            raise ProtocolError(f"peer {peer.short} answered a job with something else")
        if answer.finished:
            return parse_report(bytes(answer.body))
        progress.begin(f"{job.job}: {answer.done} of {answer.of} objects", 0)
        await trio.sleep(POLL_S)
        answer = await peers.request(peer, PollJob(answer.number))


async def first_to_answer(client: Client, peers: Sequence[PeerId]) -> PeerId | None:
    """Whichever of ``peers`` answers first; hung ones are not waited for. None when nobody does."""
    found: list[PeerId] = []

    async with open_crew() as crew:

        async def ask(peer: PeerId) -> None:
            try:
                await client.peers.request(peer, Ping())
            except MoorageError:
                # Then another one does it.
                return
            found.append(peer)
            crew.cancel_scope.cancel()

        for peer in peers:
            crew.start_soon(ask, peer)
    return found[0] if found else None


async def care_for_objects(
    client: Client, objects: Sequence[ObjectId], *, job: str, full: bool, progress: Progress
) -> CareReport:
    """Have holders sweep or repair these objects: each object one holder, of the client's own organisation if it can.

    Raises UnknownObjectError, NotEnoughPeersError (no holder of an object answers).
    """
    ours = client.home.identity.organisation
    own = {item.peer for item in await client.find_peers() if item.identity.organisation == ours}
    work: dict[PeerId, list[ObjectId]] = {}
    for object_id in objects:
        holders = (await find_manifest(client, object_id)).holders()
        # Few peers with many objects each need fewer conversations than the other way round.
        chosen = next((peer for peer in work if peer in holders), None)
        for circle in ([peer for peer in holders if peer in own], [peer for peer in holders if peer not in own]):
            chosen = chosen or await first_to_answer(client, circle)
        if chosen is None:
            raise NotEnoughPeersError(f"no holder of object {object_id.short} answers")
        work.setdefault(chosen, []).append(object_id)
    report = NOTHING
    for peer, theirs in work.items():
        for at in range(0, len(theirs), ROOTS_PER_REQUEST_MAX):
            part = tuple(theirs[at : at + ROOTS_PER_REQUEST_MAX])
            message = StartJob(job, full, job == "sweep", part)
            report = report.plus(await _run_or_note(client, peer, message, progress))
    return report


async def _run_or_note(client: Client, peer: PeerId, message: StartJob, progress: Progress) -> CareReport:
    try:
        return await run_job(client.peers, peer, message, progress)
    except MoorageError as error:
        progress.note(f"peer {peer.short} could not {message.job}: {error}")
        return CareReport(0, (), (), len(message.objects))
