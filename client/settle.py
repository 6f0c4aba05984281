"""Going on with puts that are pending, without their files: when the quorum is there and all holders have all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import trio

from anchor.manifest import Manifest, parse_manifest
from anchor.pending import index_in_log
from anchor.policy import Policy, parse_policy
from client.again import notes_of
from client.challenge import targets_of
from client.context import Client
from client.finish import finish
from client.holding import reread
from client.ledger import leaf_of
from client.memory import CatalogueEntry
from client.publish import store_on_all
from client.submission import ANCHOR_PATIENCE_S, place_of_log, submit_leaves
from client.unfinished import Unfinished
from core.errors import HomeError, LocalDiskError, MoorageError, PendingError, RosterError
from core.ids import ObjectId, PeerId
from core.limits import MIB
from wire.messages import Ping, StoreManifest

# Witnesses that answer do so at once, and the log asks them by itself all the time.
ASK_PATIENCE_S = 2.0
# For an entry that the log does not have yet.
SETTLE_PATIENCE_S = 20.0
# Of a put for others than its own: it should not wait long for them. Larger ones take longer to read.
PASSING_S = 20.0
PASSING_MAX_BYTES = 256 * MIB
# A younger note may be that of a put that is anchoring still.
PASSING_AGE_S = 2 * ANCHOR_PATIENCE_S


class Still(NamedTuple):
    """What is pending still, and why."""

    entry: CatalogueEntry
    reason: MoorageError


class Settlement(NamedTuple):
    """What came of all that was pending. ``damaged``: paths of notes that nothing can go on from."""

    settled: tuple[CatalogueEntry, ...]
    pending: tuple[Still, ...]
    damaged: tuple[str, ...] = ()


async def settle(client: Client) -> Settlement:
    """Anchor what is pending in this home as far as can be, the oldest first. What fails stays pending."""
    disk, notes = client.ports.threads.disk, notes_of(client)
    found, paths = await disk(notes.survey)
    damaged = tuple(paths)
    settled: list[CatalogueEntry] = []
    pending: list[Still] = []
    if not found:
        return Settlement((), (), damaged)
    try:
        settler = await _begin(client, found)
    except MoorageError as error:
        return Settlement((), tuple(Still(item.entry, error) for item in found), damaged)
    for item in found:
        outcome = await settler.try_one(item.entry)
        if isinstance(outcome, Still):
            pending.append(outcome)
        elif outcome:
            settled.append(item.entry)
    return Settlement(tuple(settled), tuple(pending), damaged)


async def settle_in_passing(client: Client, note: Callable[[str], None]) -> None:
    """After a put of something else: a little of ``settle``, within PASSING_S, and nothing that fails is the put's.

    Only small objects that the log has, long enough for no put to be at them, until one cannot be settled. Each time
    it begins with another one, so that none is in the way of all others.
    """
    if not client.home.roster.is_consortium:
        return
    with trio.move_on_after(PASSING_S) as scope:
        try:
            await _settle_some(client, note)
        except (MoorageError, OSError) as error:
            note(f"what was pending could not be looked at: {error}")
    if scope.cancelled_caught:
        note(f"not all that is pending was looked at within {PASSING_S:.0f} s: `moorage receipt --settle`")


async def _settle_some(client: Client, note: Callable[[str], None]) -> None:
    """Raises MoorageError, OSError when nothing can be settled."""
    now_s = client.ports.clock.now()
    found = [item for item in await client.ports.threads.disk(notes_of(client).all) if _may_pass(item, now_s)]
    if not found:
        return
    settler = await _begin(client, found)
    at = client.ports.chance.stream("pending").randrange(len(found))
    for item in found[at:] + found[:at]:
        outcome = await settler.try_one(item.entry)
        if isinstance(outcome, Still):
            note(f"object {item.entry.object} is pending still: {outcome.reason}")
            return
        if outcome:
            note(f"object {item.entry.object} was pending and is anchored now")


def _may_pass(item: Unfinished, now_s: float) -> bool:
    is_old = now_s - item.entry.created_s > PASSING_AGE_S
    return bool(item.receipt) and is_old and item.entry.stored_bytes <= PASSING_MAX_BYTES


async def _begin(client: Client, found: Sequence[Unfinished]) -> _Settler:
    """Raises MoorageError when nobody can be asked."""
    if client.home.roster.has_expired(client.ports.clock.now()):
        raise RosterError("the pool's roster has expired: its members renew it (`moorage consortium renew`)")
    await client.find_peers()
    settler = _Settler(client)
    try:
        await settler.ask_log([item for item in found if not item.is_anchored])
    except MoorageError as error:
        settler.hindrance = error
    return settler


class _Settler:
    """``hindrance``: why the log cannot anchor anything now, so that no holder is made to read for nothing."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.hindrance: MoorageError | None = None

    async def ask_log(self, found: Sequence[Unfinished]) -> None:
        """Whether the log answers, and has the quorum if it has entries of these.

        Raises PendingError, PeerUnavailableError, HomeError, and as ``submit_leaves``.
        """
        if not found:
            return
        client = self._client
        organisation = client.home.roster.organisation(client.home.identity.organisation)
        if organisation is None:
            raise HomeError("this home's organisation is not on the pool's roster: ask for the current roster")
        policy = parse_policy(organisation.policy)
        place = place_of_log(policy)
        newest = await client.ports.threads.cpu(_newest_in_log, found, policy)
        if newest is None:
            # What the log does not have may not be given to it before its holders have it.
            await client.peers.ask(place.address, None, Ping())
            return
        manifest = parse_manifest(newest.manifest_file, expected=newest.entry.object)
        _, leaf = leaf_of(client, manifest, newest.manifest_file, newest.entry.plain_bytes)
        # A quorum for the last of the entries is one for all.
        if (await submit_leaves(client.peers, policy, [leaf], patience_s=ASK_PATIENCE_S)).pending:
            raise PendingError("the log has the entry, but too few witnesses have cosigned it")

    async def try_one(self, entry: CatalogueEntry) -> Still | bool:
        """Whether it is anchored; False where its note was ended by another put, which began anew."""
        try:
            await self._settle_one(entry.object)
            return await self._client.ports.threads.disk(self._client.memory.entry, entry.object) is not None
        except MoorageError as error:
            return Still(entry, error)
        except OSError as error:
            return Still(entry, LocalDiskError(f"this machine's disk: {error}"))

    async def _settle_one(self, object_id: ObjectId) -> None:
        client = self._client
        disk, notes = client.ports.threads.disk, notes_of(client)
        # Read now: others may have been at work for minutes, and a put of the same content may have begun anew.
        note = await disk(notes.get, object_id)
        if note is None:
            return
        if await disk(_is_done, client, note):
            # The process that anchored it ended before it could say so.
            await disk(notes.end, object_id)
            return
        manifest = parse_manifest(note.manifest_file, expected=object_id)
        # First of all: a day after they were last given it, holders take it for given up.
        failed = await store_on_all(client.peers, manifest.holders(), StoreManifest(object_id, note.manifest_file))
        if not note.is_anchored:
            if self.hindrance is not None:
                raise self.hindrance
            await _check_held(client, manifest, failed)
            note = await disk(notes.get, object_id)
        if note is not None:
            await self._finish(note)

    async def _finish(self, note: Unfinished) -> None:
        try:
            await finish(self._client, note, patience_s=SETTLE_PATIENCE_S)
        except PendingError as error:
            # The quorum was lost meanwhile.
            self.hindrance = error
            raise


def _newest_in_log(found: Sequence[Unfinished], policy: Policy) -> Unfinished | None:
    """Of these the one that came last into the log of this policy."""
    newest, last = None, -1
    for item in found:
        index = index_in_log(item.receipt, policy) if item.receipt else None
        if index is not None and index > last:
            newest, last = item, index
    return newest


def _is_done(client: Client, unfinished: Unfinished) -> bool:
    name = unfinished.entry.object
    return client.memory.entry(name) == unfinished.entry and client.memory.receipt_file(name) is not None


async def _check_held(client: Client, manifest: Manifest, failed: Mapping[PeerId, MoorageError]) -> None:
    """That every holder has the manifest, which protects its shards, and has read all of these again.

    ``failed``: holders that did not take the manifest just now. Raises PendingError.
    """
    if not failed:
        found = await reread(client, manifest, targets_of(manifest))
        if found.gone:
            raise PendingError(
                f"{len(found.gone)} of its shards are lost or damaged, and nothing repairs what is not anchored: "
                "put the same files again, or give it up (`moorage receipt OBJECT --forget`)"
            )
        failed = found.failed
    if failed:
        (peer, error), *_ = sorted(failed.items())
        raise PendingError(
            f"{len(failed)} of its {len(manifest.holders())} holders do not answer: {peer.short}: {error}"
        )
