"""What was promised, and what really lies on the drives: the world's knowledge, which no node has."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from anchor.manifest import Manifest, object_id
from core.ids import ObjectId, PeerId, ShardRoot
from erasure.shardfile import scan_shard
from tests.sim.pool import SimPool
from tests.sim.world import SimNode


class ViolationError(AssertionError):
    """A promise was broken: a bug, of production code or of the simulator."""


@dataclass(frozen=True, slots=True)
class Acked:
    """An object whose put returned."""

    object: ObjectId
    files: dict[str, bytes]
    manifest: Manifest
    manifest_file: bytes
    receipt: bytes


@dataclass(eq=False, slots=True)
class Attempt:
    """A put under way. ``hurt``: peers that were damaged meanwhile: what they acknowledged may be gone."""

    hurt: set[str] = field(default_factory=set[str])


@dataclass(frozen=True, slots=True)
class Place:
    """A shard of an object: its numbers, its name."""

    extent: int
    share: int
    root: ShardRoot


class Truth:
    """Attributes:
    untrusted: peers on which nothing counts for now, and why: liars, and those whose reads deceive them.
    """

    def __init__(self, pool: SimPool) -> None:
        self.pool = pool
        self.objects: dict[ObjectId, Acked] = {}
        self.attempts: dict[Attempt, None] = {}
        self.untrusted: dict[str, str] = {}
        self._digests: dict[ShardRoot, bytes] = {}
        self.names: dict[PeerId, str] = {node.person.identity.peer: name for name, node in pool.peers.items()}

    # --- what was promised ----------------------------------------------------------------------

    def begin(self) -> Attempt:
        attempt = Attempt(set(self.untrusted))
        self.attempts[attempt] = None
        return attempt

    def end(self, attempt: Attempt) -> None:
        self.attempts.pop(attempt, None)

    def hurt(self, peer: str) -> None:
        for attempt in self.attempts:
            attempt.hurt.add(peer)

    def acknowledge(self, acked: Acked, attempt: Attempt) -> None:
        """Raises ViolationError unless all that was promised is on the platters, but for what the world broke."""
        again = acked.object in self.objects
        self.objects[acked.object] = acked
        if again:
            # What was damaged since its first put is for the sweep to find: presence was all that was asked.
            return
        for number, share, root, holder in acked.manifest.shards():
            name = self.names[holder]
            if name not in attempt.hurt and not self.is_whole(name, root):
                raise ViolationError(f"acknowledged and not durable: extent {number} share {share} at {name}")
        papers = [name for name in self.pool.peers if self.has_papers(name, acked) and name not in attempt.hurt]
        if len(papers) + len(attempt.hurt) <= acked.manifest.scheme.spare:
            raise ViolationError(f"acknowledged and its papers are durable at {papers} only")

    @staticmethod
    def places(acked: Acked) -> Iterator[Place]:
        for number, share, root, _ in acked.manifest.shards():
            yield Place(number, share, root)

    # --- what is there --------------------------------------------------------------------------

    def node(self, name: str) -> SimNode:
        return self.pool.peers[name]

    def path(self, name: str, *parts: str) -> str:
        return posixpath.join(self.pool.homes[name].folder, *parts)

    def shard_path(self, name: str, root: ShardRoot) -> str:
        text = str(root)
        return self.path(name, "shards", text[:2], text[2:4], text)

    def manifest_file(self, name: ObjectId) -> bytes:
        """As it lies on some peer's platters, looked at behind everybody's back. Raises ViolationError."""
        for peer in self.pool.peers:
            data = self.node(peer).drive.durable_bytes(self.path(peer, "manifests", str(name)))
            if data is not None and object_id(data) == name:
                return data
        raise ViolationError(f"acknowledged and nobody has the manifest of {name.short} durably")

    def is_whole(self, name: str, root: ShardRoot) -> bool:
        """Whether this peer would still have the shard after a power cut now."""
        return self._is(self.node(name).drive.durable_bytes(self.shard_path(name, root)), root)

    def is_readable(self, name: str, root: ShardRoot) -> bool:
        """Whether it has it now, durable or not."""
        return self._is(self.node(name).drive.live_bytes(self.shard_path(name, root)), root)

    def _is(self, data: bytes | None, root: ShardRoot) -> bool:
        """Whether these bytes are the shard. Equal names are equal files: the first whole one says what all must be."""
        if data is None:
            return False
        if root not in self._digests and _scans_well(data, root):
            self._digests[root] = _digest(data)
        return _digest(data) == self._digests.get(root)

    def has_papers(self, name: str, acked: Acked) -> bool:
        drive = self.node(name).drive
        return (
            drive.durable_bytes(self.path(name, "manifests", str(acked.object))) == acked.manifest_file
            and drive.durable_bytes(self.path(name, "receipts", str(acked.object))) == acked.receipt
        )

    def holders(self, root: ShardRoot, *, without: Collection[str] = ()) -> list[str]:
        return [name for name in self.pool.peers if name not in without and self.is_whole(name, root)]

    def damaged(self, root: ShardRoot) -> list[str]:
        """Who has a file of this name, and it is not what it should be."""
        return [
            name
            for name in self.pool.peers
            if self.node(name).drive.find(self.shard_path(name, root)) is not None and not self.is_readable(name, root)
        ]

    def missing(self, acked: Acked) -> list[Place]:
        """Shards that nobody can read now."""
        return [
            place
            for place in self.places(acked)
            if not any(self.is_readable(name, place.root) for name in self.pool.peers)
        ]

    def may_lose(self, peer: str) -> bool:
        """The fault budget: whether every object stays readable when this peer's copies are lost for good."""
        without = {*self.untrusted, peer}
        for attempt in self.attempts:
            # What is under way may be acknowledged yet: no more than it can spare.
            if len(attempt.hurt | without) > self._spare():
                return False
        for acked in self.objects.values():
            good: dict[int, int] = {}
            for place in self.places(acked):
                good[place.extent] = good.get(place.extent, 0) + bool(self.holders(place.root, without=without))
            if min(good.values()) < acked.manifest.scheme.needed:
                return False
            if not any(self.has_papers(name, acked) for name in self.pool.peers if name not in without):
                return False
        return True

    def _spare(self) -> int:
        return min((acked.manifest.scheme.spare for acked in self.objects.values()), default=2)


def _scans_well(data: bytes, root: ShardRoot) -> bool:
    def read_at(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    return scan_shard(read_at, len(data), root).whole


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
