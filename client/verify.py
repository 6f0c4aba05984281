"""Examine an object: every shard at its holder, every copy of its papers, and the rule of placement.

``moorage verify`` shows the result; a peer's sweep repairs by it. Needs no key. Presence is never taken for health: a
holder shows shares with their paths, and with ``full`` the leaves of what it has just re-read.
"""

from __future__ import annotations

from collections.abc import Sequence

from anchor.manifest import Manifest
from client.asker import Asker, Directory
from client.candidates import candidate_of
from client.challenge import Challenger
from client.health import Examination, ShardState, spread_over
from client.look import Look, OwnLook
from client.papers import Papers
from core.findings import Finding, FindingKind
from core.ids import ObjectId
from core.ports import Chance, Threads
from erasure.placement import Candidate
from erasure.spread import Spread

# Sites do not move: a record of yesterday says where a peer stands.
RECORD_AGE_MAX_S = 48 * 3600.0
# Of each shard. Over 12,288 shares of a 500 MB study at 4+2 this sees 32 at every holder.
SAMPLES = 4


async def examine(
    asker: Asker,
    directory: Directory,
    threads: Threads,
    chance: Chance,
    object_id: ObjectId,
    manifest: Manifest,
    *,
    full: bool,
    samples: int = SAMPLES,
    silent_is_loss: bool = False,
    own: OwnLook | None = None,
) -> Examination:
    """Look at one object with all its holders.

    Args:
        full: holders re-read every byte (and one share of each shard is transferred); else ``samples`` random shares
            of each shard are transferred and compared.
        silent_is_loss: whoever does not answer counts as lost at once.
        own: what the caller, a holder itself, has already seen of its own store.

    Never raises for what holders do: a silent one costs one patience, whatever it holds.
    """
    scheme = manifest.scheme
    challenger = Challenger(asker, scheme, chance, full=full, samples=1 if full else samples)
    papers = Papers(asker, threads, object_id, manifest.pool)
    look = Look(asker, directory, threads, object_id, manifest, challenger, papers, own)
    await look.first_holders()
    if look.lost():
        await look.others()
    states = look.states()
    spread = spread_over(manifest, states, await _candidates(directory, states))
    return Examination(
        object=object_id,
        scheme=scheme,
        full=full,
        states=tuple(states),
        findings=tuple(look.all_findings(states) + _misplaced(object_id, states, spread)),
        spread=spread,
        sampled=look.sampled,
        shares=sum(extent.chunks for extent in manifest.all_extents()) * scheme.total,
        least_sampled=look.least_sampled(),
        silent_is_loss=silent_is_loss,
    )


async def _candidates(directory: Directory, states: Sequence[ShardState]) -> list[Candidate]:
    """Where the holders of good shards stand, as far as anybody knows. The rest of the pool may be large."""
    found: list[Candidate] = []
    for peer in sorted({state.holder for state in states if state.ok}):
        record = await directory.resolve(peer, max_age_s=RECORD_AGE_MAX_S)
        if record is not None:
            found.append(candidate_of(record))
    return found


def _misplaced(object_id: ObjectId, states: Sequence[ShardState], spread: Spread) -> list[Finding]:
    """Whole everywhere and yet too close together: the only thing wrong is the placement."""
    if spread.ok or not all(state.ok for state in states):
        return []
    return [Finding(FindingKind.MISPLACED, object=object_id, detail=spread.words)]
