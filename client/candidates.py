"""Peers as placement sees them: the same for a put and for a repair."""

from __future__ import annotations

from dht.records import PeerRecord
from erasure.placement import Candidate


def candidate_of(record: PeerRecord) -> Candidate:
    """A peer that is full, read-only or draining has weight 0: it counts where it holds shards, and gets no new one.

    It says so itself in its record; a put or a repair that needs it says how many are full.
    """
    identity = record.identity
    return Candidate(record.peer, identity.organisation, identity.site, 0 if record.draining else record.free_bytes)
