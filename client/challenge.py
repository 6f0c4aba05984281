"""Ask one holder to show that it has one shard: leaves and shares are checked, its word counts for nothing."""

from __future__ import annotations

from dataclasses import dataclass

from anchor.manifest import Extent, Manifest
from client.asker import Asker
from client.health import Status, Verdict
from core.errors import (
    CorruptError,
    MalformedError,
    MoorageError,
    NewerVersionError,
    NoSuchShardError,
    PeerRefusedError,
    PeerUnavailableError,
    ProtocolError,
)
from core.ids import DIGEST_BYTES, PeerId, ShardRoot
from core.limits import DISK_DEADLINE_S
from core.ports import Chance
from erasure.merkle import check_share, root_of_leaves
from erasure.scheme import Scheme
from wire.messages import Leaves, Message, Prove, Read, Shares

DETAIL_MAX_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Target:
    """One shard at one holder."""

    number: int
    extent: Extent
    share: int
    peer: PeerId

    @property
    def root(self) -> ShardRoot:
        return self.extent.roots[self.share]


def targets_of(manifest: Manifest) -> list[Target]:
    """Every shard of the object at its first holder."""
    return [
        Target(number, extent, share, manifest.groups[extent.group][share])
        for number, extent in enumerate(manifest.all_extents())
        for share in range(manifest.scheme.total)
    ]


def status_of(error: MoorageError) -> Status:
    """What a holder's refusal says about the shard.

    Only "I have it not" and "it is damaged" are losses. A disk that is away, busy or full and a peer that is silent
    may come back with everything.
    """
    match error:
        case NoSuchShardError():
            return Status.MISSING
        case NewerVersionError():
            return Status.NEWER
        case CorruptError() | MalformedError() | ProtocolError():
            return Status.CORRUPT
        case _:
            return Status.SILENT


def is_away(error: MoorageError) -> bool:
    """Whether the peer itself is out of reach, so that asking it for anything else is in vain."""
    return isinstance(error, PeerUnavailableError | PeerRefusedError)


def read_leaves(answer: Message, target: Target, scheme: Scheme) -> Verdict:
    """What a holder's leaves prove about the whole shard."""
    if not isinstance(answer, Leaves):
        return Verdict(Status.CORRUPT, detail="the holder answered a challenge with something else")
    if answer.problem:
        return Verdict(Status.CORRUPT, pinned=True, detail=answer.problem[:DETAIL_MAX_CHARACTERS])
    chunks = tuple(sorted({chunk for chunk in answer.bad if chunk < target.extent.chunks}))
    if chunks:
        return Verdict(Status.CORRUPT, chunks, pinned=True, detail="the share does not match its leaf")
    column = bytes(answer.body)
    leaves = [column[at : at + DIGEST_BYTES] for at in range(0, len(column), DIGEST_BYTES)]
    if len(leaves) != target.extent.chunks or root_of_leaves(scheme, target.share, leaves) != target.root:
        return Verdict(Status.CORRUPT, detail="the holder's leaves do not make the shard's name")
    return Verdict(Status.OK)


class Challenger:
    """Challenges for one object. ``samples`` shares of each shard are transferred; with ``full`` its leaves, too."""

    def __init__(self, asker: Asker, scheme: Scheme, chance: Chance, *, full: bool, samples: int) -> None:
        assert samples >= 1, samples
        self._asker = asker
        self._scheme = scheme
        self._random = chance.stream("challenge")
        self._full = full
        self._samples = samples

    async def check(self, target: Target) -> Verdict:
        """Whether the holder has the shard. Raises PeerUnavailableError, PeerRefusedError when it cannot be asked."""
        verdict = await self.prove(target) if self._full else Verdict(Status.OK)
        if verdict.status is not Status.OK:
            return verdict
        chunks = self._random.sample(range(target.extent.chunks), min(self._samples, target.extent.chunks))
        for seen, chunk in enumerate(chunks):
            bad = await self._compare(target, chunk)
            if bad is not None:
                return await self._pin_down(target, bad, seen)
        return Verdict(Status.OK, sampled=len(chunks))

    async def prove(self, target: Target) -> Verdict:
        """Have the holder re-read the whole shard and show the leaves of what it read. Raises as ``check``."""
        try:
            answer = await self._asker.request(target.peer, Prove(target.root), deadline_s=DISK_DEADLINE_S)
        except MoorageError as error:
            return _verdict(error)
        return read_leaves(answer, target, self._scheme)

    async def _compare(self, target: Target, chunk: int) -> Verdict | None:
        """None when the share of ``chunk`` that the holder sends is the right one."""
        try:
            answer = await self._asker.request(target.peer, Read(target.root, chunk, 1))
            if not isinstance(answer, Shares) or len(answer.lengths) != 1:
                raise ProtocolError("the holder answered a read with something else")
            check_share(
                target.root,
                self._scheme,
                target.share,
                target.extent.chunks,
                chunk,
                answer.body,
                answer.paths[0],
            )
        except CorruptError as error:
            return Verdict(Status.CORRUPT, (chunk,), detail=str(error)[:DETAIL_MAX_CHARACTERS])
        except MoorageError as error:
            return _verdict(error)
        return None

    async def _pin_down(self, target: Target, seen: Verdict, sampled: int) -> Verdict:
        """Damage that a sample met is looked at whole, so that the finding names exactly what is damaged."""
        if seen.status is not Status.CORRUPT or self._full:
            return Verdict(seen.status, seen.chunks, detail=seen.detail, sampled=sampled)
        whole = await self.prove(target)
        # A holder that proves everything and yet sends a wrong share lies, or its disk does.
        found = whole if whole.status is not Status.OK else seen
        return Verdict(found.status, found.chunks, found.pinned, found.detail, sampled)


def _verdict(error: MoorageError) -> Verdict:
    if is_away(error):
        raise error
    return Verdict(status_of(error), detail=str(error)[:DETAIL_MAX_CHARACTERS])
