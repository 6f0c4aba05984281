"""Every message in every shape, as hypothesis strategies."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from core.errors import error_classes
from core.ids import ObjectId, PoolId, ShardRoot
from core.limits import DHT_RECORD_MAX_BYTES, EXTENT_CHUNKS, READ_CHUNKS_MAX, TOTAL_SHARES_MAX
from wire import messages as m

digests = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, m.MESSAGE_ID_MAX)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
bodies = st.binary(max_size=100)
objects = digests.map(ObjectId)
roots = digests.map(ShardRoot)
records = st.binary(min_size=1, max_size=40)
pieces = st.lists(st.binary(max_size=30), max_size=READ_CHUNKS_MAX)


def _upload_begin(draw: Any) -> m.UploadBegin:
    total = draw(st.integers(2, TOTAL_SHARES_MAX))
    return m.UploadBegin(
        upload=draw(numbers),
        needed=draw(st.integers(1, total - 1)),
        total=total,
        index=draw(st.integers(0, total - 1)),
        chunks=draw(st.integers(1, EXTENT_CHUNKS)),
        expected_bytes=draw(st.integers(0, m.SHARD_MAX_BYTES)),
    )


def _upload_data(number: int, parts: list[bytes]) -> m.UploadData:
    return m.UploadData(number, tuple(len(part) for part in parts), b"".join(parts))


def _shares(parts: list[tuple[bytes, int]]) -> m.Shares:
    paths = tuple(bytes([nodes]) * 32 * nodes for _, nodes in parts)
    return m.Shares(tuple(len(part) for part, _ in parts), paths, b"".join(part for part, _ in parts))


def _leaves(bad: list[int], problem: str, leaves: list[bytes]) -> m.Leaves:
    return m.Leaves(tuple(bad), problem, b"".join(leaves))


MESSAGES: dict[type[m.Message], st.SearchStrategy[m.Message]] = {
    m.Hello: st.builds(m.Hello, digests.map(PoolId), st.integers(0, 2**16), texts, st.integers(0, 2**31)),
    m.Done: st.builds(m.Done),
    m.Failure: st.builds(m.Failure, st.sampled_from(sorted(error_classes())) | texts, texts),
    m.Ping: st.builds(m.Ping),
    m.DhtFind: st.builds(m.DhtFind, digests),
    m.DhtFound: st.builds(
        m.DhtFound,
        st.lists(records, max_size=m.RECORDS_MAX).map(tuple),
        st.lists(records, max_size=m.RECORDS_MAX).map(tuple),
    ),
    m.DhtStore: st.builds(m.DhtStore, st.binary(min_size=1, max_size=DHT_RECORD_MAX_BYTES)),
    m.UploadBegin: st.composite(_upload_begin)(),
    m.UploadData: st.builds(_upload_data, numbers, pieces),
    m.UploadCommit: st.builds(m.UploadCommit, numbers, roots),
    m.UploadAbort: st.builds(m.UploadAbort, numbers),
    m.Have: st.builds(m.Have, st.lists(roots, max_size=5).map(tuple)),
    m.Held: st.builds(m.Held, st.lists(st.booleans(), max_size=9).map(tuple)),
    m.Read: st.builds(m.Read, roots, st.integers(0, EXTENT_CHUNKS - 1), st.integers(1, READ_CHUNKS_MAX)),
    m.Shares: st.lists(
        st.tuples(st.binary(max_size=30), st.integers(0, m.PATH_MAX_NODES)), min_size=1, max_size=READ_CHUNKS_MAX
    ).map(_shares),
    m.Prove: st.builds(m.Prove, roots),
    m.Leaves: st.builds(
        _leaves, st.lists(st.integers(0, EXTENT_CHUNKS - 1), max_size=9), texts, st.lists(digests, max_size=9)
    ),
    m.StoreManifest: st.builds(m.StoreManifest, objects, bodies),
    m.StoreReceipt: st.builds(m.StoreReceipt, objects, bodies),
    m.GetManifest: st.builds(m.GetManifest, objects),
    m.GetReceipt: st.builds(m.GetReceipt, objects),
    m.Blob: st.builds(m.Blob, bodies),
    m.ListObjects: st.builds(m.ListObjects, digests),
    m.Objects: st.builds(m.Objects, st.lists(objects, max_size=9).map(tuple)),
    m.StartJob: st.builds(
        m.StartJob,
        st.sampled_from(["sweep", "repair"]),
        st.booleans(),
        st.booleans(),
        st.lists(objects, max_size=5).map(tuple),
    ),
    m.PollJob: st.builds(m.PollJob, numbers),
    m.Job: st.builds(m.Job, numbers, st.booleans(), st.integers(0, 2**40), st.integers(0, 2**40), bodies),
    m.GetStatus: st.builds(m.GetStatus),
    m.GetCare: st.builds(m.GetCare, objects),
    m.GetEvents: st.builds(m.GetEvents, st.integers(1, 1000)),
    m.GetRoster: st.builds(m.GetRoster, st.integers(0, 2**31)),
    m.RosterFile: st.builds(m.RosterFile, bodies),
    m.StoreRoster: st.builds(m.StoreRoster, bodies),
    m.GetProposals: st.builds(m.GetProposals),
    m.StoreProposal: st.builds(m.StoreProposal, bodies),
    m.Apply: st.builds(m.Apply, bodies),
}
messages = st.one_of(*MESSAGES.values())
