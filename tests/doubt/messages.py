"""One small message of every kind."""

from __future__ import annotations

from core.ids import ObjectId, PoolId, ShardRoot
from wire import messages as m

DIGEST = bytes(range(32))
OBJECT, ROOT = ObjectId(DIGEST), ShardRoot(DIGEST)

MESSAGES: tuple[m.Message, ...] = (
    m.Hello(PoolId(DIGEST), 1, "moorage/1", 7),
    m.Done(),
    m.Failure("corrupt", "the share of chunk 3 is damaged"),
    m.Ping(),
    m.DhtFind(DIGEST),
    m.DhtFound((b"record one", b"two"), (b"three",)),
    m.DhtStore(b"a record"),
    m.UploadBegin(upload=3, needed=4, total=6, index=2, chunks=5, expected_bytes=1000),
    m.UploadData(3, (4, 6), b"sharesshar"),
    m.UploadCommit(3, ROOT),
    m.UploadAbort(3),
    m.Have((ROOT, ROOT)),
    m.Held((True, False, True)),
    m.Read(ROOT, 2, 3),
    m.Shares((3, 2), (DIGEST, DIGEST * 2), b"share"),
    m.Prove(ROOT),
    m.Leaves((1,), "a problem", DIGEST * 2),
    m.StoreManifest(OBJECT, b"a manifest"),
    m.StoreReceipt(OBJECT, b"a receipt"),
    m.GetManifest(OBJECT),
    m.GetReceipt(OBJECT),
    m.Blob(b"a body"),
    m.ListObjects(DIGEST),
    m.Objects((OBJECT,)),
    m.StartJob("sweep", True, False, (OBJECT,)),
    m.PollJob(9),
    m.Job(9, True, 3, 4, b"a report"),
    m.GetStatus(),
    m.GetEvents(10),
    m.GetCare(OBJECT),
)
