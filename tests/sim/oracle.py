"""The judge: what must hold after any schedule, once everything has healed.

``judge`` raises ViolationError for the first promise that is broken; docs/reliability.md, "Oracle", lists them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from anchor.receipt import check_receipt, parse_receipt
from client.care import CareReport, run_job
from client.context import Client
from client.health import Health
from client.home import load_home
from client.ledger import open_log
from client.progress import Silent
from core.errors import MoorageError
from core.findings import Finding
from core.ids import ObjectId, PeerId, ShardRoot
from core.limits import CONNECTION_IDLE_S
from daemon.node import Node
from tests.sim.chance import derive
from tests.sim.disk import SimDisk
from tests.sim.drive import SimDrive
from tests.sim.examination import plant_damage
from tests.sim.pool import SimPool
from tests.sim.profiles import Profile
from tests.sim.truth import Truth, ViolationError
from tests.sim.work import check_restore, look_at
from wire.messages import StartJob

# A quiet daemon has as many tasks, whatever it has been through: its own, and those of one connection to each other.
TASKS_PER_PEER_MAX = 20
TASKS_PER_CONNECTION_MAX = 8
LOOKS = 3


@dataclass(slots=True)
class Evidence:
    """What the swarm hands to the judge. ``nodes``: daemons that run; ``bug_lines``: what daemons logged of their own
    bugs; ``writes``: shards committed so far."""

    pool: SimPool
    truth: Truth
    profile: Profile
    nodes: dict[str, Node]
    bug_lines: list[str]
    writes: Callable[[], int]
    note: Callable[[str], None]
    checks: Counter[str] = field(default_factory=Counter[str])


async def judge(evidence: Evidence) -> None:
    """Everything has healed: wait until the pool is whole, and hold it to every promise."""
    await _converge(evidence)
    _check_logs(evidence)
    async with evidence.pool.client() as client:
        await _check_objects(evidence, client)
        await _check_quiet(evidence, client, list(evidence.truth.names))
        await _check_planted(evidence, client)
        await _check_quiet(evidence, client, list(evidence.truth.names)[:2])
    _check_ledger(evidence)
    await _check_leaks(evidence)


# --- convergence ------------------------------------------------------------------------------------


def open_faults(truth: Truth) -> list[str]:
    """What keeps the pool from being whole: shards nobody has, damaged copies, papers that holders lack.

    What a put that was given up left at a peer without papers is nobody's copy; it is removed as trash, a day later.
    """
    names = truth.names
    found: list[str] = []
    for acked in truth.objects.values():
        found += [
            f"object {acked.object.short} extent {place.extent} share {place.share} is nowhere whole"
            for place in truth.places(acked)
            if not truth.holders(place.root)
        ]
        found += [
            f"object {acked.object.short}: {names[peer]} lacks papers"
            for peer in acked.manifest.holders()
            if not truth.has_papers(names[peer], acked)
        ]
        found += [
            f"object {acked.object.short} extent {place.extent} share {place.share} is damaged at {name}"
            for place in truth.places(acked)
            for name in truth.damaged(place.root)
            if truth.has_papers(name, acked)
        ]
    return found


async def _converge(evidence: Evidence) -> None:
    """By the daemons' own sweeps alone."""
    truth, profile = evidence.truth, evidence.profile
    deadline_s = trio.current_time() + profile.settle_s
    step_s = profile.sweep.period_s / 6
    while True:
        await trio.sleep(step_s)
        open_now = open_faults(truth)
        if not open_now:
            break
        if trio.current_time() >= deadline_s:
            raise ViolationError(f"not whole {profile.settle_s:g} s after everything healed: {'; '.join(open_now[:4])}")
    evidence.note("converged")
    evidence.checks["converged"] += 1
    # What was repaired twice is tidied up, who was away has heard of everybody.
    await trio.sleep(profile.sweep.period_s)


# --- objects ----------------------------------------------------------------------------------------


async def _check_objects(evidence: Evidence, client: Client) -> None:
    for acked in evidence.truth.objects.values():
        try:
            await check_restore(client, acked)
        except MoorageError as error:
            raise ViolationError(f"object {acked.object.short} does not come back: {error}") from error
        evidence.checks["restored"] += 1
        found = await look_at(client, acked.object)
        if found.health is not Health.FULL:
            told = "; ".join(str(finding) for finding in found.findings[:4])
            raise ViolationError(f"object {acked.object.short} is {found.health} after all was repaired: {told}")
        evidence.checks["verified"] += 1


async def _sweep(evidence: Evidence, client: Client, peer: PeerId, names: Sequence[ObjectId]) -> CareReport:
    order = StartJob("sweep", True, True, tuple(names))
    return await run_job(client.peers, peer, order, Silent())


async def _check_quiet(evidence: Evidence, client: Client, peers: Sequence[PeerId]) -> None:
    """Sweeps of a whole pool by these peers find nothing and write no shard."""
    truth = evidence.truth
    writes = evidence.writes()
    for peer in peers:
        name = truth.names[peer]
        held = [acked.object for acked in truth.objects.values() if peer in acked.manifest.holders()]
        if not held:
            continue
        report = await _sweep(evidence, client, peer, held)
        wrong = [*report.findings, *report.repairs]
        if wrong:
            raise ViolationError(f"{name} found in a whole pool: {'; '.join(str(finding) for finding in wrong[:4])}")
        evidence.checks["quiet sweeps"] += 1
    if evidence.writes() != writes:
        raise ViolationError(f"{evidence.writes() - writes} shards were written in quiet sweeps")


# --- planted damage ---------------------------------------------------------------------------------


async def _check_planted(evidence: Evidence, client: Client) -> None:
    """Every fault planted now is exactly one finding of the sweep that follows, and mended after it."""
    truth = evidence.truth
    if not truth.objects:
        return
    acked = next(reversed(truth.objects.values()))
    sweeper = acked.manifest.holders()[0]
    # Nobody else's sweep shall come first: it would mend what is to be found.
    expected = plant_damage(truth, acked, sweeper, derive(evidence.pool.world.seed, "examination"))
    report = await _sweep(evidence, client, sweeper, [acked.object])
    found = Counter(_bare(finding) for finding in report.findings)
    wanted = Counter(_bare(finding) for finding in expected)
    if found != wanted:
        more = [str(finding) for finding in (found - wanted)]
        less = [str(finding) for finding in (wanted - found)]
        raise ViolationError(f"planted faults: not found {less}, found besides {more}")
    evidence.checks["planted faults found"] += len(expected)
    left = open_faults(truth)
    if left or report.unrepaired:
        raise ViolationError(f"planted faults are not mended: {report.unrepaired} {'; '.join(left[:4])}")


def _bare(finding: Finding) -> Finding:
    return Finding(
        finding.kind, finding.object, finding.holder, finding.extent, finding.share, finding.chunk, finding.root
    )


# --- ledger -----------------------------------------------------------------------------------------


def _check_ledger(evidence: Evidence) -> None:
    """Every log reads as one history up to its witness's last cosignature, and every receipt is part of it."""
    pool, truth = evidence.pool, evidence.truth
    for node, folder in [
        (pool.client_node, pool.client_home.folder),
        *((node, pool.homes[name].folder) for name, node in pool.peers.items()),
    ]:
        # A copy of what the drive holds, so that no life of the node is disturbed.
        disk = _copy(node.drive, folder)
        home = load_home(disk, folder, node.clock)
        try:
            log = open_log(disk, home)
            log.publish(int(node.clock.now()))
            size = log.check()
        except MoorageError as error:
            raise ViolationError(f"{node.name}'s log: {error}") from error
        evidence.checks["logs checked"] += 1
        if node is not pool.client_node:
            continue
        leaves = log.leaves(0, size)
        for acked in truth.objects.values():
            receipt = parse_receipt(acked.receipt)
            told = check_receipt(receipt, manifest_file=acked.manifest_file, pinned_pool=home.roster.pool)
            if told.index >= size or f"object {acked.object}".encode() not in leaves[told.index]:
                raise ViolationError(f"the log does not have object {acked.object.short} where its receipt says")
            evidence.checks["receipts checked"] += 1


def _copy(drive: SimDrive, folder: str) -> SimDisk:
    copy = SimDrive()
    for path in drive.durable_paths(folder):
        data = drive.durable_bytes(path)
        if data is not None:
            copy.plant(path, data)
    return SimDisk(copy)


# --- leaks ------------------------------------------------------------------------------------------


def _check_logs(evidence: Evidence) -> None:
    """No daemon, connection or background task met a bug of its own."""
    evidence.pool.world.check()
    if evidence.bug_lines:
        raise ViolationError(f"a daemon met a bug: {evidence.bug_lines[0]}")
    evidence.checks["logs without bugs"] += 1


async def _check_leaks(evidence: Evidence) -> None:
    """Nobody uses the pool: uploads, files on their way, connections and tasks of commands are gone."""
    await trio.sleep(2 * CONNECTION_IDLE_S)
    fewest_tasks, fewest_links = math.inf, math.inf
    for _ in range(LOOKS):
        # Daemons talk to each other now and then: the quietest of a few looks counts.
        fewest_tasks = min(fewest_tasks, trio.lowlevel.current_statistics().tasks_living)
        fewest_links = min(fewest_links, len(evidence.pool.world.fabric.links))
        await trio.sleep(CONNECTION_IDLE_S + 7)
    peers = len(evidence.nodes)
    if fewest_links > peers * peers:
        raise ViolationError(f"{fewest_links} connections of {peers} quiet peers")
    if fewest_tasks > peers * TASKS_PER_PEER_MAX + fewest_links * TASKS_PER_CONNECTION_MAX:
        raise ViolationError(f"{fewest_tasks} tasks of {peers} quiet peers with {fewest_links} connections")
    for name, node in evidence.nodes.items():
        statistics = node.store.statistics()
        # As it is seen: a name whose removal a failed sync left open may come back, and the next start clears it.
        left = sorted(evidence.truth.node(name).drive.folder(evidence.truth.path(name, "incoming")).live)
        if left or statistics.uploads:
            raise ViolationError(f"{name} has {statistics.uploads} uploads and {left} on their way when all is quiet")
    evidence.checks["peers without leaks"] += peers


def shard_of(path: str) -> ShardRoot | None:
    """The shard that a path below some ``shards`` names."""
    folder, _, name = path.rpartition("/")
    if "/shards/" not in folder + "/":
        return None
    try:
        return ShardRoot.parse(name)
    except MoorageError:
        return None
